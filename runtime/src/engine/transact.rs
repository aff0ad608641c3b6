//! `transaction`: a closure that is committed or rolled back, and run again after a conflict.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_core::future::BoxFuture;

use super::{Engine, Transaction, scope};
use crate::backend::Backend;
use crate::dialect::{TransactionOptions, message as words};
use crate::error::TransactionError;
use crate::pool::Holder;

/// The first pause: about as long as a short transaction, so that the other one can end meanwhile.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause, beside which a transaction's own time counts for little.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How one try ended, if not well.
enum Failed<E> {
    /// With an error of its own.
    With(E),
    /// In a conflict with another transaction: what the database said, and what the closure made of that.
    Conflict(String, Option<E>),
}

impl<DB: Backend> Engine<DB> {
    /// Runs a closure in a transaction: commits when it returns `Ok`, and rolls back when it returns `Err`, panics or is
    /// dropped half-way. Code inside that only has the engine joins it through
    /// [`scoped_transaction`](Engine::scoped_transaction).
    ///
    /// When a conflict with another transaction ends it, at a statement or at the commit, the closure is run again, up to
    /// 10 times after pauses that grow from 5 ms to 1 s with jitter: a serialization failure or a deadlock on Postgres
    /// (40001, 40P01), a retryable error on CockroachDB (40001), a deadlock or a lock that was waited for too long on MySQL
    /// and MariaDB (1213, 1205), an outdated snapshot on SQLite (517). Nothing else is retried. So what the closure does
    /// outside of the database should bear to happen twice.
    ///
    /// Conflicts are noticed in queries on `transaction` itself, whatever becomes of their errors. The pool cannot watch
    /// the driver's connection `&mut **transaction`; a conflict there is an error like any other.
    ///
    /// The closure gives its future in a box, as with `sqlx::Connection::transaction`: an async closure cannot say yet that
    /// its futures are `Send`, which spawned tasks and the handlers of web servers ask for. So it owns what it uses of what
    /// is around it.
    ///
    /// ```no_run
    /// # async fn pay(db: poolhouse::SqliteEngine) -> sqlx::Result<()> {
    /// db.transaction(|transaction| Box::pin(async move {
    ///     sqlx::query("UPDATE account SET balance = balance - 5 WHERE id = 1").execute(&mut *transaction).await?;
    ///     sqlx::query("UPDATE account SET balance = balance + 5 WHERE id = 2").execute(&mut *transaction).await?;
    ///     Ok(())
    /// }))
    /// .await
    /// # }
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
        E: From<sqlx::Error> + Send,
        F: for<'t> FnMut(&'t mut Transaction<DB>) -> BoxFuture<'t, Result<T, E>> + Send,
    {
        self.transaction_with(TransactionOptions::new(), work)
    }

    /// [`transaction`](Engine::transaction) with an isolation level, read-only, or with another number of retries.
    ///
    /// In a test with `isolation = "rollback"` it is a savepoint, so the level is the test's own, and it is not retried.
    ///
    /// ```no_run
    /// # async fn count(db: poolhouse::SqliteEngine) -> sqlx::Result<i64> {
    /// use poolhouse::{IsolationLevel, TransactionOptions};
    ///
    /// let options = TransactionOptions::new().isolation(IsolationLevel::Serializable).retries(3);
    /// db.transaction_with(options, |transaction| Box::pin(async move {
    ///     sqlx::query_scalar("SELECT count(*) FROM band").fetch_one(transaction).await
    /// }))
    /// .await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`transaction`](Engine::transaction), and when the database does not have what is asked for.
    ///
    /// # Cancellation
    ///
    /// As [`transaction`](Engine::transaction).
    #[track_caller]
    pub fn transaction_with<T, E, F>(
        &self,
        options: TransactionOptions,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<DB, T, E, F>
    where
        T: Send,
        E: From<sqlx::Error> + Send,
        F: for<'t> FnMut(&'t mut Transaction<DB>) -> BoxFuture<'t, Result<T, E>> + Send,
    {
        let place = Location::caller();
        let engine = self.clone();
        async move { engine.run_again_after_conflicts(place, options, work).await }
    }

    /// Runs a closure inside of the transaction that this task is in, or in a new one: for code that only has the engine.
    ///
    /// Inside of [`transaction`](Engine::transaction), of another `scoped_transaction`, or of [`Transaction::transaction`] it
    /// is a savepoint of that transaction: kept when the closure returns `Ok`, rolled back when it returns `Err`, panics or is
    /// dropped half-way; what is around it decides whether anything is committed. After a conflict with another
    /// transaction the outermost one is run again, and never this one alone. Elsewhere it is
    /// [`transaction`](Engine::transaction) itself.
    ///
    /// ```no_run
    /// # use poolhouse::SqliteEngine;
    /// async fn log(db: &SqliteEngine, what: &'static str) -> sqlx::Result<()> {
    ///     db.scoped_transaction(|transaction| Box::pin(async move {
    ///         sqlx::query("INSERT INTO log VALUES (?)").bind(what).execute(transaction).await.map(drop)
    ///     }))
    ///     .await
    /// }
    ///
    /// # async fn pay(db: SqliteEngine) -> sqlx::Result<()> {
    /// db.transaction(|transaction| {
    ///     let db = db.clone();
    ///     Box::pin(async move {
    ///         sqlx::query("UPDATE account SET balance = balance - 5 WHERE id = 1").execute(&mut *transaction).await?;
    ///         log(&db, "paid").await // written together with the payment, or not at all
    ///     })
    /// })
    /// .await
    /// # }
    /// ```
    ///
    /// In a handler of a web framework it joins the request's transaction, if the handler or code around it has asked for one
    /// (a `RequestTransaction` of the features `axum`, `actix-web` and `rocket`).
    ///
    /// The transaction is found through the running future, as the closure's own: a task that is spawned inside of it
    /// begins one of its own, and so does one on another engine, a node included. A transaction from
    /// [`begin`](Engine::begin) is a value, of which nobody knows who does not hold it.
    ///
    /// To join is always said: a query on `&db` inside of a transaction runs on another connection, as everywhere, and does
    /// not see what the transaction has written. The log says so at the level debug.
    ///
    /// # Errors
    ///
    /// As [`transaction`](Engine::transaction). [`TransactionError::InUse`] when the transaction is in use in this moment by
    /// another future of the same task, such as one beside this one in a `join!`, or by a stream that is still read from: it
    /// does not wait, because what it waited for might be waiting for it.
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
        E: From<sqlx::Error> + Send,
        F: for<'t> FnMut(&'t mut Transaction<DB>) -> BoxFuture<'t, Result<T, E>> + Send,
    {
        let place = Location::caller();
        let engine = self.clone();
        async move {
            if let Some(desk) = engine.open_transaction() {
                return scope::nested(desk, work).await;
            }
            #[cfg(feature = "web")]
            if let Some(connection) = engine.connection_of_request().await {
                return scope::nested(connection.map_err(E::from)?, work).await;
            }
            let options = TransactionOptions::new();
            engine.run_again_after_conflicts(place, options, work).await
        }
    }

    async fn run_again_after_conflicts<T, E, F>(
        &self,
        place: &'static Location<'static>,
        options: TransactionOptions,
        mut work: F,
    ) -> Result<T, E>
    where
        T: Send,
        E: From<sqlx::Error> + Send,
        F: for<'t> FnMut(&'t mut Transaction<DB>) -> BoxFuture<'t, Result<T, E>> + Send,
    {
        let retries = if self.connector().settings.held {
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
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (last, error) = match self.try_once(place, options, &mut work).await {
                Ok(value) => return Ok(value),
                Err(Failed::With(error)) => return Err(error),
                Err(Failed::Conflict(last, error)) => (last, error),
            };
            if let Some(pause) = pauses.next() {
                tracing::debug!(engine = %self.name(), attempts, ?pause, "a transaction met a conflict: {last}");
                tokio::time::sleep(pause).await;
            } else {
                let ran_out = || {
                    let engine = self.name().to_owned();
                    E::from(
                        TransactionError::RetriesRanOut {
                            engine,
                            attempts,
                            last,
                        }
                        .into(),
                    )
                };
                // Without retries the closure's own error says more than that there were none.
                return Err(error.filter(|_| retries == 0).unwrap_or_else(ran_out));
            }
        }
    }

    /// Runs the closure in one transaction.
    async fn try_once<T, E, F>(
        &self,
        place: &'static Location<'static>,
        options: TransactionOptions,
        work: &mut F,
    ) -> Result<T, Failed<E>>
    where
        T: Send,
        E: From<sqlx::Error> + Send,
        F: for<'t> FnMut(&'t mut Transaction<DB>) -> BoxFuture<'t, Result<T, E>> + Send,
    {
        let dialect = self.connector().dialect();
        let begun = self.begin_with(Holder::Code(place), options).await;
        let mut transaction = match begun {
            Ok(transaction) => transaction,
            Err(error) if dialect.is_conflict(&error) => {
                return Err(Failed::Conflict(words(&error), Some(error.into())));
            }
            Err(error) => return Err(Failed::With(error.into())),
        };
        if let Ok(begun) = transaction.pick_up() {
            begun.run_again_after_conflicts();
        }
        let outcome = transaction.enter(work).await;
        let conflict = transaction.conflict();
        // A conflict ends the whole transaction on some databases and only the statement on others; what the closure made
        // of its error counts on none of them.
        if let Some(last) = conflict {
            transaction.give_up().await;
            return Err(Failed::Conflict(last, outcome.err()));
        }
        let value = match outcome {
            Ok(value) => value,
            Err(error) => {
                transaction.give_up().await;
                return Err(Failed::With(error));
            }
        };
        match transaction.commit().await {
            Ok(()) => Ok(value),
            Err(error) if dialect.is_conflict(&error) => {
                Err(Failed::Conflict(words(&error), Some(error.into())))
            }
            Err(error)
                if dialect.leaves_outcome_unknown(&error)
                    || (TransactionError::find(&error).is_none() && DB::ends_session(&error)) =>
            {
                let unknown = TransactionError::outcome_unknown(self.name(), error);
                Err(Failed::With(sqlx::Error::from(unknown).into()))
            }
            Err(error) => Err(Failed::With(error.into())),
        }
    }
}
