//! `transaction`: a closure that is committed or rolled back, and run again after a conflict.

use std::future::Future;
use std::panic::Location;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::around::Around;
use super::nested::{self, NestedOptions};
use super::options::Propagation;
use super::work::{Again, Tries};
use super::{Retry, Transaction, TransactionOptions, Work, hooks};
use crate::backend::Backend;
use crate::dialect::message;
use crate::engine::Engine;
use crate::error::TransactionError;
use crate::pool::{self, Holder};

/// The first pause: about as long as a short transaction, so that the other one can end meanwhile.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause, compared with which a transaction's own time is short.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How one try failed.
enum Failed<E> {
    /// With an error for the caller.
    With(E),
    /// In a conflict with another transaction: the database's message, and the closure's error, if any.
    Conflict(String, Option<E>),
}

/// The limit of a whole call.
#[derive(Clone, Copy)]
struct Limit {
    timeout: Option<Duration>,
    /// `None` for no limit, and for a limit beyond the clock's range.
    deadline: Option<Instant>,
}

impl Limit {
    /// # Errors
    ///
    /// The limit is zero.
    fn new<DB: Backend>(
        engine: &Engine<DB>,
        timeout: Option<Duration>,
    ) -> Result<Self, TransactionError> {
        if timeout == Some(Duration::ZERO) {
            return Err(TransactionError::NoTime {
                engine: engine.name().to_owned(),
            });
        }
        let deadline = timeout.and_then(|limit| Instant::now().checked_add(limit));
        Ok(Self { timeout, deadline })
    }

    /// The future's output; `None` at the limit.
    async fn keep<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self.deadline {
            None => Some(work.await),
            Some(deadline) => timeout_at(deadline, work).await.ok(),
        }
    }

    fn remaining(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    fn timed_out<DB: Backend>(&self, engine: &Engine<DB>) -> sqlx::Error {
        TransactionError::TimedOut {
            engine: engine.name().to_owned(),
            timeout: self.timeout.unwrap_or_default(),
        }
        .into()
    }
}

impl<DB: Backend> Engine<DB> {
    /// Runs an async closure in a transaction: commits when it returns `Ok`, and rolls back when it returns `Err`, panics or is
    /// dropped half-way. Code inside that only has the engine joins it through
    /// [`scoped_transaction`](Engine::scoped_transaction).
    ///
    /// After a conflict with another transaction, at a statement or at the commit, a clone of the closure is run, up to 10
    /// times after pauses that grow from 5 ms to 1 s with jitter. Conflicts are a serialization failure or a deadlock on
    /// Postgres (40001, 40P01), a retryable error on CockroachDB (40001), a deadlock or a lock wait timeout on MySQL and
    /// MariaDB (1213, 1205), a rollback by MySQL's Group Replication (3101), an outdated snapshot on MariaDB and SQLite (1020,
    /// 517), and on SQLite a write that is refused after a read (5). Nothing else is retried. Side effects of the closure
    /// outside of the database must therefore be safe to repeat, or be given to [`Transaction::on_commit`].
    ///
    /// Conflicts are detected in statements on `tx` and `&mut *tx`, even if the closure ignores their errors. The pool cannot
    /// watch the driver's connection; a conflict there is known only from the closure's error
    /// ([`TransactionOptions::retry_if`]).
    ///
    /// The closure may borrow its surroundings. With `move`, each try gets a clone of what the closure owns. Its futures are
    /// `Send` when everything that they use is.
    ///
    /// ```no_run
    /// # #[derive(Debug, thiserror::Error)]
    /// # enum AppError { #[error("no such account")] NoAccount, #[error(transparent)] Database(#[from] sqlx::Error) }
    /// async fn pay(db: &poolhouse::SqliteEngine, from: String, to: &[String], each: i64) -> Result<(), AppError> {
    ///     db.transaction(async |tx| {
    ///         let sum = each * to.len() as i64;
    ///         let paid = sqlx::query("UPDATE account SET balance = balance - ? WHERE name = ? AND balance >= ?")
    ///             .bind(sum)
    ///             .bind(&from)
    ///             .bind(sum)
    ///             .execute(&mut *tx)
    ///             .await?;
    ///         if paid.rows_affected() == 0 {
    ///             return Err(AppError::NoAccount); // rolled back
    ///         }
    ///         for name in to {
    ///             sqlx::query("UPDATE account SET balance = balance + ? WHERE name = ?")
    ///                 .bind(each)
    ///                 .bind(name)
    ///                 .execute(&mut *tx)
    ///                 .await?;
    ///         }
    ///         Ok(()) // committed
    ///     })
    ///     .await
    /// }
    /// # let _ = pay;
    /// ```
    ///
    /// # Errors
    ///
    /// The closure's own; as [`begin`](Engine::begin) and [`Transaction::commit`]; and a [`TransactionError`] when retries ran
    /// out, or when the connection ended during the commit.
    ///
    /// # Cancellation
    ///
    /// Dropping the future rolls back; during the commit, the server may have committed already.
    #[track_caller]
    pub fn transaction<T, E, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<DB, T, E, F>
    where
        T: Send,
        E: From<sqlx::Error> + Send + 'static,
        F: Clone + Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
    {
        self.transaction_with(TransactionOptions::new(), work)
    }

    /// [`transaction`](Engine::transaction) with [`TransactionOptions`]: isolation, read-only, timeout, server settings,
    /// retries, or joining the transaction around it.
    ///
    /// In a test with `isolation = "rollback"` the outermost transaction is a savepoint: its level is that of the test's
    /// transaction, and it is not retried.
    ///
    /// ```no_run
    /// # async fn count(db: poolhouse::SqliteEngine) -> sqlx::Result<i64> {
    /// use poolhouse::{IsolationLevel, TransactionOptions};
    ///
    /// let options = TransactionOptions::new().isolation(IsolationLevel::Serializable).retries(3);
    /// db.transaction_with(options, async |tx| {
    ///     sqlx::query_scalar("SELECT count(*) FROM band").fetch_one(&mut *tx).await
    /// })
    /// .await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`transaction`](Engine::transaction), and a [`TransactionError`] when the database does not support an option, or the
    /// transaction around it began without one.
    ///
    /// # Cancellation
    ///
    /// As [`transaction`](Engine::transaction).
    #[track_caller]
    pub fn transaction_with<T, E, R, F>(
        &self,
        options: TransactionOptions<R>,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<DB, T, E, R, F>
    where
        T: Send,
        E: From<sqlx::Error> + Send,
        R: Retry<E> + Send + Sync,
        F: Clone + Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
    {
        let location = Location::caller();
        let engine = self.clone();
        // Boxed, so that the futures of nested transactions do not grow with each level.
        async move { Box::pin(engine.run(location, options, Again(work))).await }
    }

    /// Runs a closure in the transaction around the running future, or in a new one. For code that only has the engine.
    ///
    /// Inside [`transaction`](Engine::transaction), another `scoped_transaction` or [`Transaction::transaction`], it is a
    /// savepoint of that transaction. The savepoint is kept when the closure returns `Ok`, and rolled back when it returns
    /// `Err`, panics or is dropped half-way; the transaction around it decides whether anything is committed. After a conflict
    /// with another transaction the outermost one is retried, and never this one alone. Elsewhere it is
    /// [`transaction`](Engine::transaction) itself. For options, use [`transaction_with`](Engine::transaction_with) with
    /// [`TransactionOptions::join`].
    ///
    /// ```no_run
    /// # use poolhouse::SqliteEngine;
    /// async fn log(db: &SqliteEngine, what: &str) -> sqlx::Result<()> {
    ///     db.scoped_transaction(async |tx| {
    ///         sqlx::query("INSERT INTO log VALUES (?)").bind(what).execute(&mut *tx).await?;
    ///         Ok(())
    ///     })
    ///     .await
    /// }
    ///
    /// # async fn pay(db: SqliteEngine) -> sqlx::Result<()> {
    /// db.transaction(async |tx| {
    ///     sqlx::query("UPDATE account SET balance = balance - 5 WHERE id = 1").execute(&mut *tx).await?;
    ///     log(&db, "paid").await // written together with the payment, or not at all
    /// })
    /// .await
    /// # }
    /// ```
    ///
    /// In a handler of a web framework it joins the request's transaction, if the handler or code around it has asked for one
    /// (a `RequestTransaction` of the features `axum`, `actix-web` and `rocket`).
    ///
    /// The transaction is found through the running future. A spawned task begins its own, and so does a call on another
    /// engine, a node included. A transaction from [`begin`](Engine::begin) is not found: only code that holds it can use it.
    ///
    /// A query on `&db` inside a transaction does not join it: the query runs on another connection and does not see what the
    /// transaction has written. The log reports it at the level debug.
    ///
    /// # Errors
    ///
    /// As [`transaction`](Engine::transaction). [`TransactionError::InUse`] when the transaction is in use by another future of
    /// the same task, such as a sibling in a `join!`, or by a stream that is not read to its end: it does not wait, because
    /// that could deadlock. After a borrow of the driver's connection from the transaction, run a statement on it, or a
    /// [`Transaction::transaction`], before nested code joins.
    ///
    /// # Cancellation
    ///
    /// As [`transaction`](Engine::transaction) and [`Transaction::transaction`].
    #[track_caller]
    pub fn scoped_transaction<T, E, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<DB, T, E, F>
    where
        T: Send,
        E: From<sqlx::Error> + Send + 'static,
        F: Clone + Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
    {
        self.transaction_with(TransactionOptions::new().join(), work)
    }

    /// Whether an error, or one of its sources, is a conflict with another transaction, which
    /// [`transaction`](Engine::transaction) retries. For [`TransactionOptions::retry_if`]. Not the refusal of a write after a read
    /// on SQLite (5), which is one only inside of a transaction.
    pub fn is_conflict(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        self.connector().dialect().conflict_among_sources(error)
    }

    /// Runs the tries, each in a transaction, until one succeeds or fails for good, or no retry is left.
    pub(super) async fn run<T, E, R, W, F>(
        &self,
        location: &'static Location<'static>,
        options: TransactionOptions<R>,
        mut tries: W,
    ) -> Result<T, E>
    where
        T: Send,
        E: From<sqlx::Error> + Send,
        R: Retry<E> + Send + Sync,
        W: Tries<F> + Send,
        F: Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
    {
        let limit = Limit::new(self, options.timeout).map_err(sqlx::Error::from)?;
        // A request's transaction begins here, at its first use.
        let Some(around) = limit.keep(self.around(options.propagation)).await else {
            return Err(limit.timed_out(self).into());
        };
        if let Some(around) = around? {
            let outcome = limit.keep(nested::nested(around, options.asked(), next(&mut tries)));
            let timed_out = || Err(limit.timed_out(self).into());
            return outcome.await.unwrap_or_else(timed_out);
        }
        let retries = if self.connector().settings.held_transactions.is_some() {
            0
        } else {
            options.retries
        };
        let mut pauses = ExponentialBuilder::new()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_max_times(retries)
            .with_jitter()
            .build();
        let span = pool::transaction_span(self.connector().settings.query_spans, self.name());
        let mut attempts = 0;
        loop {
            let work = next(&mut tries);
            attempts += 1;
            span.record("tries", attempts);
            let one = self.try_once(location, &options, limit, work);
            let (last, error) = match one.instrument(span.clone()).await {
                Ok(value) => return Ok(value),
                Err(Failed::With(error)) => return Err(error),
                Err(Failed::Conflict(last, error)) => (last, error),
            };
            let Some(pause) = pauses.next() else {
                return Err(self.ran_out(retries, attempts, last, error));
            };
            tracing::debug!(engine = %self.name(), attempts, ?pause, "a transaction met a conflict: {last}");
            if limit.keep(tokio::time::sleep(pause)).await.is_none() {
                return Err(limit.timed_out(self).into());
            }
        }
    }

    /// Runs the work as a savepoint of the transaction that the caller has passed.
    pub(super) async fn run_inside<T, E, R, W, F>(
        &self,
        transaction: &mut Transaction<DB>,
        options: &TransactionOptions<R>,
        mut tries: W,
    ) -> Result<T, E>
    where
        T: Send,
        E: From<sqlx::Error> + Send,
        R: Send + Sync,
        W: Tries<F> + Send,
        F: Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
    {
        let limit = Limit::new(self, options.timeout).map_err(sqlx::Error::from)?;
        if options.propagation == Propagation::Durable {
            let engine = self.name().to_owned();
            return Err(sqlx::Error::from(TransactionError::Inside { engine }).into());
        }
        let outcome = limit.keep(transaction.nested(options.asked(), next(&mut tries)));
        let timed_out = || Err(limit.timed_out(self).into());
        outcome.await.unwrap_or_else(timed_out)
    }

    fn ran_out<E: From<sqlx::Error>>(
        &self,
        retries: usize,
        attempts: usize,
        last: String,
        error: Option<E>,
    ) -> E {
        // Without retries, the closure's own error says more than `RetriesRanOut`.
        error.filter(|_| retries == 0).unwrap_or_else(|| {
            let engine = self.name().to_owned();
            sqlx::Error::from(TransactionError::RetriesRanOut {
                engine,
                attempts,
                last,
            })
            .into()
        })
    }

    /// The transaction that one with this propagation joins, if any.
    async fn around(&self, propagation: Propagation) -> sqlx::Result<Option<Around<DB>>> {
        let engine = || self.name().to_owned();
        match propagation {
            Propagation::New => {
                if self.is_inside() && !self.0.warned_inside.swap(true, Relaxed) {
                    tracing::warn!(
                        engine = %self.name(),
                        "a transaction begins on a second connection, inside of another one of the same engine: neither sees what \
                         the other has written, and with all connections in use they wait for each other. \
                         `scoped_transaction` or `TransactionOptions::join` joins the one around it. Said once"
                    );
                }
                Ok(None)
            }
            Propagation::Durable if self.in_transaction() => {
                Err(TransactionError::Inside { engine: engine() }.into())
            }
            Propagation::Durable => Ok(None),
            Propagation::Join | Propagation::Mandatory => {
                let around = self.transaction_around().await?;
                if around.is_none() && propagation == Propagation::Mandatory {
                    return Err(TransactionError::Outside { engine: engine() }.into());
                }
                Ok(around)
            }
        }
    }

    #[cfg_attr(
        not(feature = "web"),
        expect(
            clippy::unused_async,
            reason = "a request's transaction begins at its first use"
        )
    )]
    async fn transaction_around(&self) -> sqlx::Result<Option<Around<DB>>> {
        if let Some(around) = self.open_transaction() {
            return Ok(Some(around));
        }
        #[cfg(feature = "web")]
        if let Some(around) = self.transaction_of_request().await {
            return around.map(Some);
        }
        Ok(None)
    }

    /// Runs the closure in one transaction.
    async fn try_once<T, E, R, F>(
        &self,
        location: &'static Location<'static>,
        options: &TransactionOptions<R>,
        limit: Limit,
        work: F,
    ) -> Result<T, Failed<E>>
    where
        T: Send,
        E: From<sqlx::Error> + Send,
        R: Retry<E> + Send + Sync,
        F: Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
    {
        let dialect = self.connector().dialect();
        let timed_out = || Failed::With(limit.timed_out(self).into());
        let begun = self.begin_on(Holder::Code(location), options, limit.remaining(), true);
        let mut transaction = match limit.keep(begun).await.ok_or_else(timed_out)? {
            Ok(transaction) => transaction,
            Err(error) if dialect.is_conflict(&error) => {
                return Err(Failed::Conflict(message(&error), Some(error.into())));
            }
            Err(error) => return Err(Failed::With(error.into())),
        };
        // At the limit, dropping the transaction rolls back what a statement inside has not committed.
        let Some(outcome) = limit.keep(transaction.enter(work)).await else {
            let ended = transaction.ended_inside().map(sqlx::Error::from);
            return Err(ended.map_or_else(timed_out, |ended| Failed::With(ended.into())));
        };
        let conflict = transaction.conflict();
        // A conflict ends the whole transaction on some databases and only the statement on others. On all of them the try has
        // failed, whatever the closure returned.
        if let Some(last) = conflict {
            return Err(match transaction.give_up().await {
                Some(ended) => Failed::With(sqlx::Error::from(ended).into()),
                None => Failed::Conflict(last, outcome.err()),
            });
        }
        let value = match outcome {
            Ok(value) => value,
            Err(error) => {
                let is_retried = options.is_retried(dialect, &error);
                return Err(match transaction.give_up().await {
                    Some(ended) if is_retried => Failed::With(sqlx::Error::from(ended).into()),
                    _ if is_retried => {
                        let last = "the closure's error says so".to_owned();
                        Failed::Conflict(last, Some(error))
                    }
                    _ => Failed::With(error),
                });
            }
        };
        let ended = transaction.ended_inside();
        match limit.keep(transaction.commit_only()).await {
            Some(Ok(after)) => {
                hooks::run(self.name(), after).await;
                Ok(value)
            }
            Some(Err(error)) if dialect.is_conflict(&error) => Err(match ended {
                Some(ended) => Failed::With(sqlx::Error::from(ended).into()),
                None => Failed::Conflict(message(&error), Some(error.into())),
            }),
            Some(Err(error)) => Err(Failed::With(self.failed_commit(error).into())),
            None => {
                let cause = limit.timed_out(self);
                let unknown = TransactionError::outcome_unknown(self.name(), cause);
                Err(Failed::With(sqlx::Error::from(unknown).into()))
            }
        }
    }

    /// Wraps an error of a commit if the outcome of the transaction is unknown.
    pub(in crate::engine) fn failed_commit(&self, error: sqlx::Error) -> sqlx::Error {
        let dialect = self.connector().dialect();
        if dialect.is_conflict(&error) {
            return error;
        }
        let is_unknown = dialect.leaves_outcome_unknown(&error)
            || (TransactionError::find(&error).is_none() && DB::ends_session(&error));
        if is_unknown {
            TransactionError::outcome_unknown(self.name(), error).into()
        } else {
            error
        }
    }
}

/// The work of the next try.
fn next<F>(tries: &mut impl Tries<F>) -> F {
    // `Again` always has work. `Once` has it for one try, and is run without retries.
    tries
        .next()
        .unwrap_or_else(|| unreachable!("there is work for each try"))
}

impl<R> TransactionOptions<R> {
    /// The options that apply when it joins another one.
    pub(super) fn asked(&self) -> NestedOptions {
        NestedOptions {
            characteristics: self.characteristics,
            local: self.local.clone(),
        }
    }
}
