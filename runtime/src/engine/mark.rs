//! Read your writes: a mark of what was written, and a reader that has replayed it.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::str::FromStr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;

use super::Engine;
use crate::backend::Backend;
use crate::dialect::{LogPosition, Replayed, message};
use crate::error::Error;
use crate::pool::Holder;
use crate::settings::ParseError;

/// The first pause before a replica is asked again. Most replicas lag by less than that.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause. It bounds the delay added to a replica's lag, and the rate of questions to a replica that stands still.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The delay before the next replica is asked. An up-to-date replica answers within it, so that the others are not asked.
const BETWEEN: Duration = Duration::from_millis(20);

/// How far the engine's server had written at one moment, from [`Engine::write_mark`].
///
/// Its text ([`Display`](fmt::Display), [`FromStr`]) has only letters, digits and `.:-_`, so that a cookie or a header can hold
/// it and another process can use it. A forged text can at most make [`reader_after`](Engine::reader_after) wait for its limit.
pub struct WriteMark<DB: Backend> {
    position: LogPosition,
    database: PhantomData<fn() -> DB>,
}

impl<DB: Backend> WriteMark<DB> {
    fn of(position: LogPosition) -> Self {
        Self {
            position,
            database: PhantomData,
        }
    }
}

impl<DB: Backend> Clone for WriteMark<DB> {
    fn clone(&self) -> Self {
        Self::of(self.position.clone())
    }
}

impl<DB: Backend> PartialEq for WriteMark<DB> {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position
    }
}

impl<DB: Backend> Eq for WriteMark<DB> {}

impl<DB: Backend> fmt::Debug for WriteMark<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteMark({})", self.position)
    }
}

impl<DB: Backend> fmt::Display for WriteMark<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.position.fmt(f)
    }
}

impl<DB: Backend> FromStr for WriteMark<DB> {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self::of)
    }
}

impl<DB: Backend> Engine<DB> {
    /// Asks the server for its write position: everything committed before the call is up to this mark. Call it after the
    /// commit, on the engine and not on a node, and give the mark to [`reader_after`](Engine::reader_after).
    ///
    /// It takes one round trip on a connection of the pool. On Postgres the mark is a position in the write-ahead log, on MariaDB
    /// and MySQL the GTIDs of the binary log. SQLite and CockroachDB are not asked; their mark is `unknown`, and so is that of a
    /// server without a binary log or GTIDs.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Engine::acquire), and the server's error: a Postgres standby has no such position.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point.
    #[track_caller]
    pub fn write_mark(
        &self,
    ) -> impl Future<Output = Result<WriteMark<DB>, Error>> + Send + use<DB> {
        let location = Location::caller();
        let engine = self.clone();
        async move {
            if engine.connector().dialect().written.is_none() {
                return Ok(WriteMark::of(LogPosition::Unknown));
            }
            let mut checkout = engine.checkout(Holder::Code(location)).await?;
            // The first connection may have found another database than the URL names.
            let Some(query) = engine.connector().dialect().written else {
                return Ok(WriteMark::of(LogPosition::Unknown));
            };
            let answer = checkout
                .run(|connection, _| DB::text(connection, query))
                .await?;
            // A position that cannot be parsed cannot be compared with a node's.
            Ok(WriteMark::of(
                answer.parse().unwrap_or(LogPosition::Unknown),
            ))
        }
    }

    /// Returns a node that has replayed everything up to the mark, or this engine, after at most `limit`. Call it on the
    /// primary. Everything written before the mark can be read on the result.
    ///
    /// The result is this engine at once when no node can be asked: there is none, none was reachable at the last attempt, the
    /// mark is `unknown` or another database's, or the nodes are known to be no replicas of the server that wrote: on Postgres
    /// always, on MariaDB the server itself. (A MySQL server, and a MariaDB one that replicates nothing, can only be asked
    /// again until `limit`.) The same holds for a
    /// node with several hosts, whose next connection may reach another server, and on Postgres for a replica that is not yet
    /// known to have followed a promotion. A node's URL must lead to one server: behind a load balancer, the server that
    /// answers and the server that is read from may differ.
    ///
    /// Nodes are asked one after the other, 20 ms apart, and again after pauses that grow from 1 to 50 ms. No connection is
    /// held between the questions. With a limit of zero no node is asked.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn add(db: poolhouse::PgEngine) -> Result<(), Box<dyn std::error::Error>> {
    /// sqlx::query("INSERT INTO band (name) VALUES ('Pythonistas')").execute(&db).await?;
    /// let mark = db.write_mark().await?;
    /// // Perhaps in another request, which got the mark's text as a cookie.
    /// let mark: poolhouse::WriteMark<sqlx::Postgres> = mark.to_string().parse()?;
    /// let reader = db.reader_after(&mark, Duration::from_millis(500)).await;
    /// let n: i64 = sqlx::query_scalar("SELECT count(*) FROM band").fetch_one(&reader).await?;
    /// # let _ = n;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point.
    #[track_caller]
    pub fn reader_after(
        &self,
        mark: &WriteMark<DB>,
        limit: Duration,
    ) -> impl Future<Output = Self> + Send + use<DB> {
        let location = Location::caller();
        let engine = self.clone();
        let question = mark.position.question();
        async move {
            let Some(question) = question.filter(|_| !limit.is_zero()) else {
                return engine;
            };
            let nodes = engine.0.nodes.in_turn();
            let nodes = nodes.filter(|node| node.connector().has_one_host());
            let mut later = Duration::ZERO;
            let mut asked: FuturesUnordered<_> = nodes
                .map(|node| {
                    let after = later;
                    later += BETWEEN;
                    node.replayed(location, &question, after)
                })
                .collect();
            let first = async {
                while let Some(node) = asked.next().await {
                    if node.is_some() {
                        return node;
                    }
                }
                None
            };
            if Handle::try_current().is_err() {
                return engine;
            }
            let found = tokio::time::timeout(limit, first).await;
            found.ok().flatten().unwrap_or(engine)
        }
    }

    /// Returns this node once it has replayed the position in the question; `None` when a wait is pointless.
    async fn replayed(
        self,
        location: &'static Location<'static>,
        question: &str,
        after: Duration,
    ) -> Option<Self> {
        tokio::time::sleep(after).await;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.ask_replayed(location, question).await {
                Ok(Replayed::Yes) => return Some(self),
                Ok(Replayed::Never) => return None,
                Ok(Replayed::NotYet) => {}
                Err(error) => {
                    let is_refusal = matches!(error, sqlx::Error::Database(_));
                    let is_away = !self.pool().is_some_and(|pool| pool.is_reachable());
                    if is_away || (is_refusal && !DB::ends_session(&error)) {
                        tracing::debug!(engine = %self.name(), "the node does not say what it has replayed: {}", message(&error));
                        return None;
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn ask_replayed(
        &self,
        location: &'static Location<'static>,
        question: &str,
    ) -> sqlx::Result<Replayed> {
        let mut checkout = self.checkout(Holder::Code(location)).await?;
        let answer = checkout
            .run(|connection, _| DB::text_of(connection, question.to_owned()))
            .await?;
        Ok(Replayed::read(&answer))
    }
}
