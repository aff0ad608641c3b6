//! A watched engine: its pool, its sessions on the server, and its database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use futures_util::future::join_all;
use sqlx::Connection;

use super::rows::DatabaseRows;
use super::tables::{self, Tables};
use crate::engine::{Engine, ErasedEngine};
use crate::pool::{CheckedOut, Holder};

/// How long a pool may take to get all its connections back. The recovery of one may take two seconds.
const LIMIT: Duration = Duration::from_secs(5);

/// The pause between two checks of the pool and the server meanwhile.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// The least number of connections to acquire for the check, if `max_size` allows so many.
const AT_LEAST: usize = 10;

/// A watched engine.
pub(super) struct Watched {
    name: String,
    watch: Box<dyn WatchEngine>,
}

impl Watched {
    /// Watches those of the engines that are started.
    pub(super) async fn all(engines: Vec<Arc<dyn ErasedEngine>>) -> Vec<Self> {
        let mut watched = Vec::new();
        for engine in engines {
            if let Some(watch) = watch(engine.as_ref()).await {
                watched.push(Self {
                    name: engine.name().to_owned(),
                    watch,
                });
            }
        }
        assert!(
            !watched.is_empty(),
            "no engine is started in this runtime, so there is nothing to watch"
        );
        watched
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The current state of the database.
    pub(super) async fn state(&mut self) -> DatabaseRows {
        let state = self.watch.state().await;
        state.unwrap_or_else(|error| {
            panic!("the rows of engine `{}` cannot be read: {error}", self.name)
        })
    }

    pub(super) async fn put_back(
        &mut self,
        before: &DatabaseRows,
        state: &DatabaseRows,
        what: &str,
    ) {
        if let Err(why) = self.watch.put_back(before, state).await {
            panic!(
                "{what}, and the rows of engine `{}` cannot be put back as they were: {why}",
                self.name
            );
        }
    }

    /// Waits until the pool has its connections back, and checks each of them.
    pub(super) async fn settles(&mut self, what: &str) {
        if let Err(why) = self.watch.settles().await {
            panic!(
                "{what}, the future leaves its mark on the pool of engine `{}`: {why}",
                self.name
            );
        }
    }

    pub(super) async fn leave(self) {
        self.watch.leave().await;
    }
}

/// A watched engine of any kind.
trait WatchEngine: Send {
    fn state(&mut self) -> BoxFuture<'_, sqlx::Result<DatabaseRows>>;
    fn put_back<'a>(
        &'a mut self,
        before: &'a DatabaseRows,
        state: &'a DatabaseRows,
    ) -> BoxFuture<'a, Result<(), String>>;
    fn settles(&mut self) -> BoxFuture<'_, Result<(), String>>;
    fn leave(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Watches an engine if it is started.
async fn watch(engine: &dyn ErasedEngine) -> Option<Box<dyn WatchEngine>> {
    #[cfg(feature = "postgres")]
    if let Some(engine) = engine.as_any().downcast_ref::<Engine<sqlx::Postgres>>() {
        return Typed::open(engine.clone()).await;
    }
    #[cfg(feature = "mysql")]
    if let Some(engine) = engine.as_any().downcast_ref::<Engine<sqlx::MySql>>() {
        return Typed::open(engine.clone()).await;
    }
    #[cfg(feature = "sqlite")]
    if let Some(engine) = engine.as_any().downcast_ref::<Engine<sqlx::Sqlite>>() {
        return Typed::open(engine.clone()).await;
    }
    panic!(
        "engine `{}` is an `AnyEngine`, whose rows cannot be compared: take an engine of its kind as a parameter",
        engine.name()
    );
}

struct Typed<DB: Tables> {
    engine: Engine<DB>,
    /// The watcher's own session.
    connection: DB::Connection,
    /// Checkouts that existed when the watch began.
    held: usize,
    /// Sessions in the database, as the server counts them, that were not the pool's when the watch began.
    foreign: usize,
}

impl<DB: Tables> Typed<DB> {
    async fn open(engine: Engine<DB>) -> Option<Box<dyn WatchEngine>> {
        if engine.status().max == 0 {
            // Not started.
            return None;
        }
        let name = engine.name();
        assert!(
            engine.connector().settings.isolated
                && engine.connector().settings.held_transactions.is_none(),
            "engine `{name}` has no database of the test's own: write isolation = \"database\""
        );
        let connection = tables::open::<DB>(engine.connect_options()).await;
        let connection =
            connection.unwrap_or_else(|error| panic!("engine `{name}` cannot be watched: {error}"));
        let mut typed = Self {
            held: engine.status().in_use,
            engine,
            connection,
            foreign: 0,
        };
        let size = typed.engine.status().size;
        let (sessions, _) = typed
            .sessions()
            .await
            .unwrap_or_else(|why| panic!("engine `{}`: {why}", typed.engine.name()));
        typed.foreign = sessions.saturating_sub(size);
        Some(Box::new(typed))
    }

    /// Counts the other sessions in the database, and those of them that are idle in a transaction.
    async fn sessions(&mut self) -> Result<(usize, usize), String> {
        let Some(query) = DB::SESSIONS else {
            return Ok((0, 0));
        };
        let rows = DB::ask(&mut self.connection, query.to_owned())
            .await
            .map_err(|error| error.to_string())?;
        let mut numbers = rows
            .into_iter()
            .flatten()
            .flatten()
            .map(|number| number.parse().unwrap_or_default());
        Ok((
            numbers.next().unwrap_or_default(),
            numbers.next().unwrap_or_default(),
        ))
    }

    /// Describes the first fault of the pool and its sessions, if there is one.
    async fn wrong(&mut self) -> Result<Option<String>, String> {
        let status = self.engine.status();
        if status.in_use > self.held {
            let lost = status.in_use - self.held;
            return Ok(Some(format!(
                "{lost} of its connections do not come back ({status})"
            )));
        }
        let (sessions, in_transaction) = self.sessions().await?;
        if in_transaction > 0 {
            return Ok(Some(format!(
                "the server has {in_transaction} of its sessions idle in a transaction"
            )));
        }
        let status = self.engine.status();
        if sessions > status.size + self.foreign {
            let known = status.size + self.foreign;
            return Ok(Some(format!(
                "the server has {sessions} sessions, and {known} are known"
            )));
        }
        Ok(None)
    }

    /// Acquires many connections at the same time, and checks that none is in a transaction.
    ///
    /// All open connections are acquired, and at least `AT_LEAST`, as far as `max_size` and earlier checkouts allow.
    async fn take_all(&mut self) -> Result<(), String> {
        let status = self.engine.status();
        let wanted = status
            .max
            .saturating_sub(self.held)
            .min(status.size.max(AT_LEAST));
        let taking =
            (0..wanted).map(|_| tokio::time::timeout(LIMIT, self.engine.checkout(Holder::Engine)));
        let mut taken: Vec<CheckedOut<DB>> = Vec::new();
        for checkout in join_all(taking).await {
            let had = taken.len();
            let checkout = checkout
                .map_err(|_| format!("only {had} of {wanted} connections can be had ({status})"))?;
            taken.push(checkout.map_err(|error| {
                format!("only {had} of {wanted} connections can be had: {error}")
            })?);
        }
        for checkout in &mut taken {
            let asked = checkout
                .run(|connection, _| tables::in_transaction::<DB>(connection))
                .await;
            if asked.map_err(|error| error.to_string())? {
                return Err("a checkout is inside a transaction".to_owned());
            }
        }
        Ok(())
    }
}

impl<DB: Tables> WatchEngine for Typed<DB> {
    fn state(&mut self) -> BoxFuture<'_, sqlx::Result<DatabaseRows>> {
        Box::pin(tables::read::<DB>(&mut self.connection))
    }

    fn put_back<'a>(
        &'a mut self,
        before: &'a DatabaseRows,
        state: &'a DatabaseRows,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(tables::put_back::<DB>(&mut self.connection, before, state))
    }

    fn settles(&mut self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let begun = Instant::now();
            while let Some(wrong) = self.wrong().await? {
                if begun.elapsed() > LIMIT {
                    return Err(wrong);
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
            self.take_all().await
        })
    }

    fn leave(self: Box<Self>) -> BoxFuture<'static, ()> {
        // Nothing depends on a clean close.
        Box::pin(async move { drop(self.connection.close().await) })
    }
}
