//! Errors as responses: the part of an error that a client may see.

use std::time::Duration;

use crate::dialect::is_conflict;
use crate::error::{AcquireError, AcquireKind, Error, TransactionError, UsageError};

/// The status of the response to an error, and when to try again. Nothing else of an error is for a client.
///
/// | error | status | `Retry-After` |
/// |---|---|---|
/// | the pool is exhausted ([`AcquireKind::TimedOut`]), closed, or not started; the server does not answer ([`AcquireKind::NoAnswer`]); no engine of this name is started ([`UsageError::NoEngine`]) | 503 | 5 s |
/// | a conflict with another transaction, at the commit or before ([`TransactionError::AfterConflict`], [`TransactionError::RetriesRanOut`], the database's own codes) | 503 | 1 s |
/// | everything else | 500 | – |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The HTTP status: 500 or 503.
    pub status: u16,
    /// The value of the header `Retry-After`, in whole seconds.
    pub retry_after: Option<Duration>,
}

/// An exhausted pool has already let the request wait for `acquire_timeout`, and a closed pool belongs to a process that ends.
/// 5 s are enough for the load to pass, or for another process to take over.
const POOL: Answer = Answer::unavailable(5);

/// 1 s is enough for the other transaction to end, because conflicts are between short transactions.
const CONFLICT: Answer = Answer::unavailable(1);

const FAILED: Answer = Answer {
    status: 500,
    retry_after: None,
};

impl Answer {
    const fn unavailable(seconds: u64) -> Self {
        Self {
            status: 503,
            retry_after: Some(Duration::from_secs(seconds)),
        }
    }

    /// The answer to an error.
    pub fn to(error: &Error) -> Self {
        match error {
            Error::Acquire(error) => Self::to_acquire(error),
            Error::Usage(UsageError::NoEngine { .. }) => POOL,
            Error::Database(error) => Self::to_database(error),
            _ => FAILED,
        }
    }

    fn to_acquire(error: &AcquireError) -> Self {
        match error.kind() {
            AcquireKind::TimedOut
            | AcquireKind::NoAnswer
            | AcquireKind::Closed
            | AcquireKind::NotStarted => POOL,
            AcquireKind::Connect => FAILED,
        }
    }

    fn to_database(error: &sqlx::Error) -> Self {
        if let Some(error) = AcquireError::find(error) {
            return Self::to_acquire(error);
        }
        match (TransactionError::find(error), error) {
            (
                Some(
                    TransactionError::AfterConflict { .. } | TransactionError::RetriesRanOut { .. },
                ),
                _,
            ) => CONFLICT,
            (_, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) => POOL,
            // One of our errors, converted into sqlx's type.
            (_, sqlx::Error::Configuration(error)) => error.downcast_ref().map_or(FAILED, Self::to),
            _ if is_conflict(error) => CONFLICT,
            _ => FAILED,
        }
    }

    /// The text of the response's body.
    #[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
    pub(crate) fn text(self) -> &'static str {
        if self.status == 503 {
            "Service Unavailable"
        } else {
            "Internal Server Error"
        }
    }

    /// The value of `Retry-After`.
    #[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
    pub(crate) fn retry_after(self) -> Option<u64> {
        self.retry_after.map(|after| after.as_secs())
    }

    /// Logs an error, and returns the answer to it.
    #[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
    pub(crate) fn log(error: &Error) -> Self {
        let answer = Self::to(error);
        let status = answer.status;
        let cause = cause(error);
        if answer == FAILED {
            tracing::error!(status, "a request fails: {cause:?}");
        } else {
            tracing::warn!(status, "a request fails: {cause:?}");
        }
        answer
    }
}

/// An error of ours that was converted into sqlx's, which says that it is one of the network, and which does not show its cause.
#[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
fn cause(error: &Error) -> &dyn std::fmt::Debug {
    let Error::Database(database) = error else {
        return error;
    };
    match (
        TransactionError::find(database),
        AcquireError::find(database),
    ) {
        (Some(found), _) => found,
        (_, Some(found)) => found,
        _ => error,
    }
}

/// Whether a response of this status keeps what its request has written: 2xx and 3xx do, and so does 101, with which a request
/// for a WebSocket succeeds.
#[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
pub(crate) fn commits(status: u16) -> bool {
    status == 101 || (200..400).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_can_wait_for_is_unavailable_and_all_else_an_error() {
        let database = |error: TransactionError| Error::Database(error.into());
        let conflict = TransactionError::AfterConflict {
            last: String::new(),
        };
        let partly = TransactionError::PartlyCommitted {
            engine: String::new(),
            committed: Vec::new(),
            cause: TransactionError::AfterConflict {
                last: String::new(),
            }
            .into(),
        };
        let over = || TransactionError::RequestOver {
            engine: String::new(),
            request: String::new(),
        };
        let no_engine = || {
            Error::from(UsageError::NoEngine {
                engine: String::new(),
                line: "",
            })
        };
        let cases = [
            (database(conflict), CONFLICT),
            (database(partly), FAILED),
            (database(over()), FAILED),
            (no_engine(), POOL),
            (Error::Database(sqlx::Error::from(no_engine())), POOL),
            (Error::Database(sqlx::Error::PoolTimedOut), POOL),
            (Error::Database(sqlx::Error::RowNotFound), FAILED),
        ];
        for (error, answer) in cases {
            assert_eq!(Answer::to(&error), answer, "{error}");
        }
    }

    #[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
    #[test]
    fn a_success_a_redirect_and_a_switch_of_protocols_commit() {
        for (status, expected) in [
            (100, false),
            (101, true),
            (102, false),
            (199, false),
            (200, true),
            (399, true),
            (400, false),
            (500, false),
        ] {
            assert_eq!(commits(status), expected, "{status}");
        }
    }
}
