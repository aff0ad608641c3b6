//! A connection in the hands of a task, and its way back.

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;

use super::connecting::Connector;
use super::connection::{Connection, SlotOf};
use super::driver_state::{depth, recount};
use super::recovery;
use super::registry::{Holder, Record};
use crate::backend::{Backend, Pooled};
use crate::background;
use crate::dialect::{Dialect, Mark, message};
use crate::error::TransactionError;
use crate::settings::EngineSettings;

/// One connection out of the pool, held by a task.
///
/// It is an executor (`query.execute(&mut checkout)`), and it dereferences to the driver's connection
/// (`&mut *checkout`, as with sqlx's `PoolConnection`) for everything that wants one.
///
/// # Drop
///
/// Dropping it never waits and never loses its slot of the pool, inside a runtime or outside of any.
///
/// - Used as an executor, with every query finished and no transaction open: it goes back at once.
/// - Otherwise its state is not known: a dropped query or half-read stream, an open or half-begun transaction, or use
///   through [`DerefMut`], which the pool cannot watch. It is then drained, rolled back and checked with the server in
///   a task of the pool, within two seconds, or closed. Nobody gets it in between.
///
/// A checkout that is leaked (`std::mem::forget`) keeps its slot until the pool is closed.
#[must_use = "a checkout that is dropped at once goes back to the pool"]
pub struct Checkout<DB: Backend> {
    source: Source<DB>,
    state: State,
    watch: Option<Watch>,
    /// The driver counts a transaction that has ended with a message of our own. It stays so in the pool, because only a
    /// message to the server would let the driver count right; the next transaction takes the count over.
    counts_ended: bool,
}

/// What a transaction wants to know of its statements.
struct Watch {
    dialect: &'static Dialect,
    /// What the database said about a conflict with another transaction.
    conflict: Option<String>,
    /// Whether the server has left the transaction.
    over: bool,
}

impl Watch {
    fn see<DB: Backend>(&mut self, error: Option<&sqlx::Error>) {
        if let Some(error) = error {
            self.over |= DB::ends_transaction(error);
            if self.dialect.is_conflict(error) {
                self.conflict = Some(message(error));
            }
        }
    }
}

/// Where the connection comes from, and so where it goes back to.
enum Source<DB: Backend> {
    /// `None` only in `Drop`, the slot itself never empty.
    Pool(Option<SlotOf<DB>>),
    Sqlx {
        connection: PoolConnection<DB>,
        record: Arc<Record>,
        settings: Arc<EngineSettings>,
    },
    /// Opened for one use, before the pool was started. `None` only in `Drop`.
    Alone {
        connection: Option<DB::Connection>,
        record: Arc<Record>,
        connector: Arc<Connector<DB>>,
    },
}

/// What is known of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Idle and outside any transaction, unless the driver itself counts one.
    Clean,
    /// It may be in the middle of something.
    Unverified,
    /// Of no further use, although nothing is wrong with the session.
    Spoilt,
    /// The session has ended.
    Broken,
}

impl<DB: Backend> Checkout<DB> {
    pub(super) fn of_pool(slot: SlotOf<DB>, holder: Holder, now: Instant) -> Self {
        let connection = connection_of(&slot);
        connection.record.take(now, holder);
        // Idle connections are in no transaction but those that they are held in.
        let counts_ended = depth::<DB>(connection.parts().0) > connection.shared().idle_depth();
        let mut checkout = Self::new(Source::Pool(Some(slot)));
        checkout.counts_ended = counts_ended;
        checkout
    }

    pub(super) fn of_sqlx(
        connection: PoolConnection<DB>,
        holder: Holder,
        settings: &Arc<EngineSettings>,
    ) -> Self {
        Self::new(Source::Sqlx {
            connection,
            record: Record::alone(holder),
            settings: Arc::clone(settings),
        })
    }

    /// A connection opened for this use alone, and closed after it.
    pub(crate) fn alone(
        connection: DB::Connection,
        connector: Arc<Connector<DB>>,
        holder: Holder,
    ) -> Self {
        Self::new(Source::Alone {
            connection: Some(connection),
            record: Record::alone(holder),
            connector,
        })
    }

    fn new(source: Source<DB>) -> Self {
        Self {
            source,
            state: State::Clean,
            watch: None,
            counts_ended: false,
        }
    }

    /// Runs one piece of driver work. If its future is dropped half-way, the connection counts as unverified.
    pub(crate) async fn run<'c, T, F>(
        &'c mut self,
        work: impl FnOnce(&'c mut DB::Connection, Arc<Record>) -> F,
    ) -> sqlx::Result<T>
    where
        F: Future<Output = sqlx::Result<T>>,
    {
        let Self {
            source,
            state,
            watch,
            ..
        } = self;
        let before = std::mem::replace(state, State::Unverified);
        #[cfg(feature = "testing")]
        source.parts().1.recorder.begin(source.settings());
        let (connection, record) = source.parts_mut();
        let result = work(connection, Arc::clone(record)).await;
        #[cfg(feature = "testing")]
        record.recorder.end(result.as_ref().err());
        if let Some(watch) = watch {
            watch.see::<DB>(result.as_ref().err());
        }
        *state = after::<DB>(before, result.as_ref().err(), record);
        result
    }

    /// Begins a stream, which reports its end with [`end_stream`](Self::end_stream). Until then the connection counts as
    /// unverified.
    pub(crate) fn begin_stream(&mut self) -> (State, &mut DB::Connection, Arc<Record>) {
        let before = std::mem::replace(&mut self.state, State::Unverified);
        #[cfg(feature = "testing")]
        self.source.parts().1.recorder.begin(self.source.settings());
        let (connection, record) = self.source.parts_mut();
        (before, connection, Arc::clone(record))
    }

    /// A stream was read to its end, or to an error.
    pub(crate) fn end_stream(&mut self, before: State, error: Option<&sqlx::Error>) {
        #[cfg(feature = "testing")]
        self.source.parts().1.recorder.end(error);
        self.state = after::<DB>(before, error, self.source.parts().1);
        if let Some(watch) = &mut self.watch {
            watch.see::<DB>(error);
        }
    }

    /// Remembers from now on how statements end, for a transaction.
    pub(crate) fn watch(&mut self, dialect: &'static Dialect) {
        self.watch = Some(Watch {
            dialect,
            conflict: None,
            over: false,
        });
    }

    /// What the database said about a conflict with another transaction, if a statement met one.
    pub(crate) fn conflict(&self) -> Option<String> {
        self.watch.as_ref()?.conflict.clone()
    }

    /// Whether a conflict has ended the transaction on the server.
    pub(crate) fn lost_its_transaction(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.over)
    }

    /// Whether the connection is held in a transaction, for a test that rolls back.
    pub(crate) fn is_held(&self) -> bool {
        self.source.idle_depth() > 0
    }

    /// Says that the server has just confirmed the end of the transaction.
    pub(crate) fn settled(&mut self) {
        if self.state == State::Unverified {
            self.state = State::Clean;
        }
    }

    /// Whether the connection is in no transaction but those that it is held in.
    pub(crate) fn is_idle(&self) -> bool {
        depth::<DB>(self.source.parts().0) == self.counted_while_idle()
    }

    /// How many transactions the driver counts while the connection is in none but those that it is held in.
    fn counted_while_idle(&self) -> usize {
        self.source.idle_depth() + usize::from(self.counts_ended)
    }

    /// How statements go through a pooler; `None` when there is none.
    pub(crate) fn pooled(&self) -> Option<Pooled> {
        let settings = self.source.settings();
        settings.pooler?;
        Some(Pooled {
            settings: Arc::clone(settings),
            begun_by_hand: self.source.parts().1.saw_transaction_control(),
            counts_ended: self.counts_ended,
        })
    }

    /// Begins a transaction of the caller's own, and marks it where the database has marks.
    pub(crate) async fn begin(&mut self, statement: Option<String>) -> sqlx::Result<()> {
        let first = self.may_be_inside().then_some("ROLLBACK");
        let clear = self.pooled().and(DB::CLEAR_POOLED);
        let mark = self.mark().and_then(|mark| mark.set);
        let statement = if first.or(clear).or(mark).is_some() || self.counts_ended {
            let begin = statement.as_deref().unwrap_or("BEGIN");
            let parts: Vec<&str> = [first, Some(begin), clear, mark]
                .into_iter()
                .flatten()
                .collect();
            Some(parts.join("; "))
        } else {
            statement
        };
        if std::mem::take(&mut self.counts_ended)
            && let Some(statement) = statement
        {
            // The driver counts it already.
            return self.execute(statement).await;
        }
        let statement = statement.map(|sql| AssertSqlSafe(sql).into_sql_str());
        self.run(|connection, _| DB::TransactionManager::begin(connection, statement))
            .await
    }

    /// Whether a transaction may be open that others have left, and that a `BEGIN` would commit. sqlx's pool looks at the
    /// driver's count alone; ours asks the server.
    fn may_be_inside(&self) -> bool {
        let begin_commits = |watch: &Watch| watch.dialect.begin_commits;
        matches!(self.source, Source::Sqlx { .. }) && self.watch.as_ref().is_some_and(begin_commits)
    }

    /// What marks the transactions of this checkout. In one that the connection is held in, each is a savepoint, which is a
    /// mark itself.
    fn mark(&self) -> Option<&'static Mark> {
        let watch = self.watch.as_ref().filter(|_| !self.is_held())?;
        watch.dialect.mark.as_ref()
    }

    /// Commits the transaction, or releases the savepoint, that [`begin`](Self::begin) has begun. It must be the only one
    /// that the driver counts.
    pub(crate) async fn commit(&mut self) -> sqlx::Result<()> {
        let committed = match self.mark() {
            None => self.commit_by_driver().await,
            // Connections of sqlx's pool go where the driver must count right.
            Some(mark) if matches!(self.source, Source::Sqlx { .. }) => {
                match self.execute(mark.check.to_owned()).await {
                    Ok(()) => self.commit_by_driver().await,
                    Err(error) => Err(error),
                }
            }
            Some(mark) => {
                let committed = self.execute(mark.commit.to_owned()).await;
                self.counts_ended = committed.is_ok();
                committed
            }
        };
        committed.map_err(|error| self.if_lost(error))
    }

    async fn commit_by_driver(&mut self) -> sqlx::Result<()> {
        self.run(|connection, _| DB::TransactionManager::commit(connection))
            .await
    }

    /// Makes an error of a commit say that the transaction was not open any more, if that is what it says.
    fn if_lost(&self, error: sqlx::Error) -> sqlx::Error {
        let Some(watch) = self.watch.as_ref() else {
            return error;
        };
        if !watch.dialect.is_lost(&error) {
            return error;
        }
        let engine = self.source.settings().engine.clone();
        let controls = self.source.parts().1.controls();
        let lost = match controls.first_of(watch.dialect.ends_transaction) {
            Some(statement) => TransactionError::EndedInside {
                engine,
                database: watch.dialect.name,
                statement,
            },
            None => TransactionError::Lost { engine },
        };
        lost.into()
    }

    /// Lets the driver count right, for whoever gets its connection.
    pub(crate) async fn recount(&mut self) -> sqlx::Result<()> {
        if self.counts_ended {
            recount::<DB>(self.source.parts_mut().0).await?;
            self.counts_ended = false;
        }
        Ok(())
    }

    /// Runs statements of the pool's own in one message.
    async fn execute(&mut self, sql: String) -> sqlx::Result<()> {
        self.run(|connection, _| DB::execute(connection, sqlx::raw_sql(AssertSqlSafe(sql))))
            .await
            .map(drop)
    }

    /// Closes what the driver has prepared, where the next transaction is in another session.
    pub(crate) async fn forget_statements(&mut self) -> sqlx::Result<()> {
        if self.pooled().is_none() {
            return Ok(());
        }
        self.run(|connection, _| DB::forget_statements(connection))
            .await
    }

    /// Lets the connection end with this checkout, because something of its session must not outlive it.
    pub(crate) fn discard(mut self) {
        self.state = State::Broken;
    }
}

/// The state after a piece of work that ran to its end, or to an error.
fn after<DB: Backend>(before: State, error: Option<&sqlx::Error>, record: &Record) -> State {
    if let Some(error) = error.filter(|error| DB::ends_session(error)) {
        return if DB::spoils_connection(error) {
            State::Spoilt
        } else if may_be_of_the_client(error) {
            State::Unverified
        } else {
            State::Broken
        };
    }
    if record.saw_transaction_control() || error.is_some_and(DB::refuses_writes) {
        State::Unverified
    } else {
        before
    }
}

/// Whether an error may have been made by the driver alone, from what it was given, with nothing wrong on the way to the
/// server: too many parameters, a value that cannot be sent. The server is asked then, before anything is suspected.
fn may_be_of_the_client(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Protocol(_) => true,
        sqlx::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidData
                | io::ErrorKind::Unsupported
                | io::ErrorKind::OutOfMemory
                | io::ErrorKind::Other
        ),
        _ => false,
    }
}

impl<DB: Backend> Source<DB> {
    fn settings(&self) -> &Arc<EngineSettings> {
        match self {
            Self::Pool(Some(slot)) => &connection_of(slot).shared().connector.settings,
            Self::Sqlx { settings, .. } => settings,
            Self::Alone { connector, .. } => &connector.settings,
            Self::Pool(None) => unreachable!("only `Drop` takes the slot"),
        }
    }

    fn idle_depth(&self) -> usize {
        self.settings().idle_depth()
    }

    fn parts(&self) -> (&DB::Connection, &Arc<Record>) {
        match self {
            Self::Pool(Some(slot)) => connection_of(slot).parts(),
            Self::Sqlx {
                connection, record, ..
            } => (connection, record),
            Self::Alone {
                connection: Some(connection),
                record,
                ..
            } => (connection, record),
            Self::Pool(None) | Self::Alone { .. } => unreachable!("only `Drop` takes the slot"),
        }
    }

    fn parts_mut(&mut self) -> (&mut DB::Connection, &Arc<Record>) {
        match self {
            Self::Pool(Some(slot)) => match &mut slot.value {
                Some(connection) => connection.parts_mut(),
                None => unreachable!("{FULL}"),
            },
            Self::Sqlx {
                connection, record, ..
            } => (connection, record),
            Self::Alone {
                connection: Some(connection),
                record,
                ..
            } => (connection, record),
            Self::Pool(None) | Self::Alone { .. } => unreachable!("only `Drop` takes the slot"),
        }
    }
}

impl<DB: Backend> Drop for Checkout<DB> {
    fn drop(&mut self) {
        match &mut self.source {
            Source::Pool(slot) => {
                if let Some(slot) = slot.take() {
                    take_back(slot, self.state, self.counts_ended);
                }
            }
            Source::Sqlx {
                connection,
                settings,
                ..
            } => {
                // sqlx only pings on its own way back. What is queued here goes to the server before that ping.
                for _ in
                    settings.idle_depth()..DB::TransactionManager::get_transaction_depth(connection)
                {
                    DB::TransactionManager::start_rollback(connection);
                }
            }
            Source::Alone {
                connection,
                connector,
                ..
            } => {
                let Some(connection) = connection.take() else {
                    return;
                };
                let connector = Arc::clone(connector);
                background::spawn(async move { connector.goodbye(connection).await });
            }
        }
    }
}

const FULL: &str = "a slot is handed out with a connection in it";

/// The connection in a slot that was handed out.
fn connection_of<DB: Backend>(slot: &SlotOf<DB>) -> &Connection<DB> {
    match &slot.value {
        Some(connection) => connection,
        None => unreachable!("{FULL}"),
    }
}

/// Puts a slot back as it is, or lets a task of the pool see to its connection first.
fn take_back<DB: Backend>(slot: SlotOf<DB>, state: State, counts_ended: bool) {
    let connection = connection_of(&slot);
    let idle_depth = connection.shared().idle_depth() + usize::from(counts_ended);
    let in_transaction = depth::<DB>(connection.parts().0) != idle_depth;
    match state {
        State::Clean if !in_transaction => recovery::give_back(slot),
        State::Clean | State::Unverified => recovery::give_back_unverified(slot, counts_ended),
        State::Spoilt => recovery::close_spoilt(slot),
        State::Broken => recovery::close_broken(slot),
    }
}

impl<DB: Backend> Deref for Checkout<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.source.parts().0
    }
}

impl<DB: Backend> DerefMut for Checkout<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        if self.state == State::Clean {
            self.state = State::Unverified;
        }
        #[cfg(feature = "testing")]
        super::recording::note_borrowed(self.source.settings(), self.source.parts().1.location());
        self.source.parts_mut().0
    }
}

impl<DB: Backend> fmt::Debug for Checkout<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkout")
            .field("database", &DB::KIND)
            .field("session", &self.source.parts().1.session)
            .finish_non_exhaustive()
    }
}
