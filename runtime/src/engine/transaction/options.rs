//! The options of a transaction.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::dialect::{Characteristics, Dialect, IsolationLevel};
use crate::error::Error as PoolhouseError;

/// The options of a transaction: how it begins, how it relates to one around it, and when it is retried. For
/// [`Engine::transaction_with`](crate::Engine::transaction_with) and `#[transactional]`.
///
/// ```
/// use std::time::Duration;
///
/// use poolhouse::{IsolationLevel, TransactionOptions};
///
/// let options = TransactionOptions::new()
///     .isolation(IsolationLevel::Serializable)
///     .timeout(Duration::from_secs(5))
///     .retries(5);
/// # let _ = options;
/// ```
///
/// `R` decides which errors of the closure cause a retry: [`OnConflict`], or the function given to
/// [`retry_if`](Self::retry_if).
#[derive(Clone)]
#[must_use]
pub struct TransactionOptions<R = OnConflict> {
    pub(super) characteristics: Characteristics,
    pub(super) retries: usize,
    pub(super) timeout: Option<Duration>,
    /// Names and values.
    pub(super) local: Vec<(String, String)>,
    pub(super) propagation: Propagation,
    retry: R,
}

/// The relation of a transaction to one of the same engine around the running future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Propagation {
    /// Independent of it.
    New,
    Join,
    Mandatory,
    Durable,
}

impl TransactionOptions {
    /// The server's isolation level, read and write, up to 10 retries, no timeout; independent of a transaction around it.
    pub fn new() -> Self {
        Self {
            characteristics: Characteristics::default(),
            retries: 10,
            timeout: None,
            local: Vec::new(),
            propagation: Propagation::New,
            retry: OnConflict(()),
        }
    }
}

impl<R> TransactionOptions<R> {
    /// The isolation level. Default: the server's, or the session's.
    pub fn isolation(mut self, level: IsolationLevel) -> Self {
        self.characteristics.isolation = Some(level);
        self
    }

    /// Makes the server refuse writes. Postgres, MySQL and MariaDB; an error on SQLite.
    pub fn read_only(mut self) -> Self {
        self.characteristics.read_only = true;
        self
    }

    /// Delays the begin until the transaction can neither fail by a serialization failure nor cause one. It has no effect
    /// unless the transaction is serializable and read-only.
    /// [Postgres](https://www.postgresql.org/docs/current/sql-set-transaction.html) only; elsewhere an error.
    pub fn deferrable(mut self) -> Self {
        self.characteristics.deferrable = true;
        self
    }

    /// The number of retries after conflicts with other transactions. Default: 10; 0 turns retries off. A transaction that
    /// joins another one is never retried by itself.
    pub fn retries(mut self, retries: usize) -> Self {
        self.retries = retries;
        self
    }

    /// The limit of the whole call: the wait for a connection, every try and the pauses between them. Default: no limit. Zero
    /// is an error.
    ///
    /// At the limit the closure's future is dropped, the transaction is rolled back, and the call returns
    /// [`TransactionError::TimedOut`](crate::TransactionError::TimedOut); during the commit it is
    /// [`TransactionError::OutcomeUnknown`](crate::TransactionError::OutcomeUnknown). On Postgres the limit is also the
    /// transaction's `statement_timeout`, unless the session's is lower, so that no statement outlives this program:
    /// <https://www.postgresql.org/docs/current/runtime-config-client.html>. (`transaction_timeout` would end the session.)
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Sets a server setting for this transaction, as `SET LOCAL` does, in the message that begins it. Postgres and
    /// CockroachDB; elsewhere an error.
    ///
    /// For row-level security, use `local("app.tenant", tenant)` and a policy with `current_setting('app.tenant')`. No error
    /// shows the value, but the driver's log of statements (`log_queries`) may: do not pass a secret.
    ///
    /// A transaction that joins another one restores the setting's former value at its end.
    pub fn local(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.local.push((name.into(), value.into()));
        self
    }

    /// Joins the transaction around it, as a savepoint, or begins one where there is none: what
    /// [`scoped_transaction`](crate::Engine::scoped_transaction) does.
    pub fn join(mut self) -> Self {
        self.propagation = Propagation::Join;
        self
    }

    /// Joins the transaction around it. Without one, it is an error:
    /// [`TransactionError::Outside`](crate::TransactionError::Outside).
    pub fn mandatory(mut self) -> Self {
        self.propagation = Propagation::Mandatory;
        self
    }

    /// Requires the outermost transaction, so that its end is a commit. Inside another one of the same engine it is an error:
    /// [`TransactionError::Inside`](crate::TransactionError::Inside).
    pub fn durable(mut self) -> Self {
        self.propagation = Propagation::Durable;
        self
    }

    /// Decides which errors of the closure cause a retry, besides the conflicts that the pool detects.
    ///
    /// The pool sees the statements on the transaction, and not those on the driver's connection
    /// (`fn f(c: &mut PgConnection)`): a conflict there is known only from the closure's error. [`OnConflict`] finds it in
    /// [`sqlx::Error`], [`poolhouse::Error`](crate::Error) and boxed errors. For another error type, give a function:
    ///
    /// ```
    /// # use poolhouse::{SqliteEngine, TransactionOptions};
    /// # #[derive(Debug, thiserror::Error)]
    /// # #[error("application")]
    /// # struct AppError(#[from] sqlx::Error);
    /// # fn options(db: SqliteEngine) {
    /// let options = TransactionOptions::new().retry_if(move |error: &AppError| db.is_conflict(error));
    /// # let _ = options;
    /// # }
    /// ```
    pub fn retry_if<E, F>(self, again: F) -> TransactionOptions<RetryIf<F>>
    where
        F: Fn(&E) -> bool,
    {
        TransactionOptions {
            characteristics: self.characteristics,
            retries: self.retries,
            timeout: self.timeout,
            local: self.local,
            propagation: self.propagation,
            retry: RetryIf(again),
        }
    }

    /// Whether the closure's error causes a retry.
    pub(super) fn is_retried<E>(&self, dialect: &Dialect, error: &E) -> bool
    where
        R: Retry<E>,
    {
        self.retry.is_retried(&Conflicts(dialect), error)
    }
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> fmt::Debug for TransactionOptions<R> {
    /// Without the values of settings, which may be confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local: Vec<&str> = self.local.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("TransactionOptions")
            .field("characteristics", &self.characteristics)
            .field("retries", &self.retries)
            .field("timeout", &self.timeout)
            .field("local", &local)
            .field("propagation", &self.propagation)
            .finish_non_exhaustive()
    }
}

/// Decides which errors of a transaction's closure cause a retry.
///
/// It is implemented for [`OnConflict`] and [`RetryIf`], and for nothing else.
pub trait Retry<E>: sealed::Sealed {
    #[doc(hidden)]
    fn is_retried(&self, conflicts: &Conflicts<'_>, error: &E) -> bool;
}

/// Retries after a conflict in a [`sqlx::Error`], a [`poolhouse::Error`](crate::Error), or a boxed error with a `sqlx::Error`
/// among its sources.
#[derive(Clone, Copy, Debug)]
pub struct OnConflict(());

/// Retries as the function given to [`TransactionOptions::retry_if`] decides.
#[derive(Clone, Copy)]
pub struct RetryIf<F>(F);

impl<F> fmt::Debug for RetryIf<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RetryIf(..)")
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::OnConflict {}
    impl<F> Sealed for super::RetryIf<F> {}
}

/// Recognizes the conflicts of one database.
#[doc(hidden)]
#[derive(Debug)]
pub struct Conflicts<'d>(&'d Dialect);

impl Conflicts<'_> {
    /// Whether an error, or one of its sources, is a conflict with another transaction.
    fn among_sources(&self, error: &(dyn Error + 'static)) -> bool {
        self.0.conflict_among_sources(error)
    }
}

impl<E: 'static> Retry<E> for OnConflict {
    fn is_retried(&self, conflicts: &Conflicts<'_>, error: &E) -> bool {
        let error: &dyn Any = error;
        if let Some(error) = error.downcast_ref::<sqlx::Error>() {
            conflicts.among_sources(error)
        } else if let Some(error) = error.downcast_ref::<PoolhouseError>() {
            conflicts.among_sources(error)
        } else if let Some(error) = error.downcast_ref::<Box<dyn Error + Send + Sync>>() {
            conflicts.among_sources(&**error)
        } else if let Some(error) = error.downcast_ref::<Box<dyn Error + Send>>() {
            conflicts.among_sources(&**error)
        } else {
            false
        }
    }
}

impl<E, F: Fn(&E) -> bool> Retry<E> for RetryIf<F> {
    fn is_retried(&self, _: &Conflicts<'_>, error: &E) -> bool {
        (self.0)(error)
    }
}
