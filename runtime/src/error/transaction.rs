//! A transaction that failed by itself, and not by its statements.

use std::io;
use std::time::Duration;

/// An error of a transaction itself, and not of its statements.
///
/// It is wrapped in a [`sqlx::Error`], from which [`find`](Self::find) returns it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// Each try met a conflict with another transaction. Nothing was written.
    #[error(
        "engine `{engine}`: the transaction was run {attempts} times and met a conflict with another one each time, at last: \
         {last}. Make it shorter, touch rows in the same order everywhere, or raise its retries"
    )]
    #[non_exhaustive]
    RetriesRanOut {
        /// The engine's name.
        engine: String,
        /// The number of tries.
        attempts: usize,
        /// The database's last message.
        last: String,
    },
    /// The outcome of `COMMIT` is unknown: the connection ended or the timeout was reached during it, or the server does not
    /// know the outcome (40003 on CockroachDB, some errors 1180 on MySQL and MariaDB). Not retried, because that might write
    /// twice.
    #[error(
        "engine `{engine}`: the outcome of COMMIT is unknown: the transaction may or may not be committed. Check what it would \
         have written before you run it again"
    )]
    #[non_exhaustive]
    OutcomeUnknown {
        /// The engine's name.
        engine: String,
        /// The error of the driver or the server, or [`TransactionError::TimedOut`].
        #[source]
        cause: sqlx::Error,
    },
    /// The database does not support an option of the transaction.
    #[error("engine `{engine}`: {database} has no {option} transactions. Leave the option out")]
    #[non_exhaustive]
    Unsupported {
        /// The engine's name.
        engine: String,
        /// The database's name.
        database: &'static str,
        /// The option, in SQL.
        option: &'static str,
    },
    /// The limit of [`TransactionOptions::timeout`](crate::TransactionOptions::timeout) was reached. Nothing was written.
    #[error(
        "engine `{engine}`: the transaction was not over within its timeout of {timeout:?}, so it is rolled back. Make it shorter, or raise the timeout"
    )]
    #[non_exhaustive]
    TimedOut {
        /// The engine's name.
        engine: String,
        /// The limit.
        timeout: Duration,
    },
    /// The timeout is zero.
    #[error(
        "engine `{engine}`: a transaction with a timeout of zero would never run. Raise it, or leave it out for no limit"
    )]
    #[non_exhaustive]
    NoTime {
        /// The engine's name.
        engine: String,
    },
    /// The server refused a setting of [`TransactionOptions::local`](crate::TransactionOptions::local), or it cannot be sent.
    /// Nothing was written.
    #[error(
        "engine `{engine}`: the transaction did not begin with `{names}` as asked. A setting of your own has a dot in its name (`app.tenant`), and others need the right to set them"
    )]
    #[non_exhaustive]
    Setting {
        /// The engine's name.
        engine: String,
        /// The names of the settings.
        names: String,
        /// The server's error, or why the setting cannot be sent.
        #[source]
        cause: sqlx::Error,
    },
    /// A transaction with [`mandatory`](crate::TransactionOptions::mandatory) has none around it.
    #[error(
        "engine `{engine}`: this must be part of a transaction, and the code that called it is in none. Call it inside of `Engine::transaction`, or leave `mandatory` out"
    )]
    #[non_exhaustive]
    Outside {
        /// The engine's name.
        engine: String,
    },
    /// A transaction with [`durable`](crate::TransactionOptions::durable) has one around it.
    #[error(
        "engine `{engine}`: this must be the outermost transaction, so that its end is a commit, and the code that called it is inside of one. Call it after that, or leave `durable` out"
    )]
    #[non_exhaustive]
    Inside {
        /// The engine's name.
        engine: String,
    },
    /// An option is asked for that the transaction around it began without.
    #[error(
        "engine `{engine}`: the outer transaction began without `{option}`, and a savepoint cannot add it. Set it on the \
         outermost transaction"
    )]
    #[non_exhaustive]
    CannotJoin {
        /// The engine's name.
        engine: String,
        /// The option, in SQL.
        option: String,
    },
    /// A nested transaction was cancelled while it began or while it was kept, and everything is rolled back.
    #[error(
        "the transaction is over: a nested one was cancelled at its begin or its end, and both are rolled back. Begin again"
    )]
    CancelledInside,
    /// At the commit, the server's answers were not those to the statements: one was not read to its end, such as that of a `COPY`.
    /// No `COMMIT` was sent.
    #[error(
        "engine `{engine}`: the transaction is not committed: an answer of the server was not read to its end, such as that of \
         a COPY. Read it, or roll back after the error"
    )]
    #[non_exhaustive]
    UnreadAnswer {
        /// The engine's name.
        engine: String,
    },
    /// A statement or a commit after a conflict with another transaction, in one that is retried, or that the server has rolled
    /// back and left. MySQL would commit such a statement by itself.
    #[error(
        "the transaction met a conflict with another one ({last}), so it is rolled back as a whole and nothing more is run in \
         it. Pass the error of the conflict on: `Engine::transaction` then runs its closure again"
    )]
    #[non_exhaustive]
    AfterConflict {
        /// The database's message.
        last: String,
    },
    /// At the `COMMIT` or a savepoint, the transaction was not open any more: the server, or a proxy, had ended it without an error that was
    /// received. It was mostly rolled back; statements after its end may have been committed one by one. Not retried, because
    /// that might write twice.
    #[error(
        "engine `{engine}`: the transaction had already ended at its COMMIT, without an error: the server, a proxy, or a \
         statement on the driver's connection ended it (COMMIT; on MySQL also CREATE). Statements may be lost, and later ones \
         may be committed one by one. Check what was written before you run it again"
    )]
    #[non_exhaustive]
    Lost {
        /// The engine's name.
        engine: String,
    },
    /// At the `COMMIT`, a conflict, a timeout or a savepoint, the transaction was not open any more, because of a statement inside
    /// that ends transactions: `COMMIT` and `ROLLBACK` everywhere, `CREATE`, `ALTER`, `DROP` and others on MySQL and MariaDB, where they
    /// commit the statements before them; and there `CALL` and `EXECUTE`, which may run such a statement. Not retried, because
    /// that might write twice.
    #[error(
        "engine `{engine}`: the statement `{statement}` ended the transaction, or may have. Earlier statements are committed or \
         rolled back by it; later ones may be committed one by one. On {database}, run `{statement}` outside a transaction"
    )]
    #[non_exhaustive]
    EndedInside {
        /// The engine's name.
        engine: String,
        /// The database's name.
        database: &'static str,
        /// The first word of the statement, or its first two.
        statement: &'static str,
    },
    /// Two parts of one task use the transaction at the same time.
    #[error(
        "engine `{engine}`: the transaction is in use by another part of this task: a stream that is not read to its end, a \
         `scoped_transaction` in a future beside this one or forgotten, or the driver's connection that was borrowed from it, \
         which the next query on the transaction gives back. Let that end first"
    )]
    #[non_exhaustive]
    InUse {
        /// The engine's name.
        engine: String,
    },
    /// The transaction of a web request was still held when the response was ready, so it was rolled back.
    #[cfg(feature = "web")]
    #[error(
        "engine `{engine}`: the transaction of the request `{request}` is still held when the response leaves, by the body that \
         is still to be sent, a spawned task or a future that was kept, so it is rolled back. Read what the body needs before \
         the handler returns, and give a task a transaction of its own (`Engine::transaction`)"
    )]
    #[non_exhaustive]
    Held {
        /// The engine's name.
        engine: String,
        /// The request's method and route.
        request: String,
    },
    /// A web request has written on several engines, and a commit failed after those on other engines. The answer to it is 500,
    /// also after a conflict, because a second request would write on the other engines twice.
    #[cfg(feature = "web")]
    #[error(
        "engine `{engine}`: the request's transaction failed at its commit, after those on other engines were committed: {}. \
         Look for what was written there before the request is run again",
        .committed.join(", ")
    )]
    #[non_exhaustive]
    PartlyCommitted {
        /// The name of the engine whose commit failed.
        engine: String,
        /// The names of the engines whose transactions are committed, in this order.
        committed: Vec<String>,
        /// The error of the failed commit.
        #[source]
        cause: sqlx::Error,
    },
    /// A statement in the transaction of a web request that is over.
    #[cfg(feature = "web")]
    #[error(
        "engine `{engine}`: the request `{request}` is over, and its transaction with it. Use it before the handler returns"
    )]
    #[non_exhaustive]
    RequestOver {
        /// The engine's name.
        engine: String,
        /// The request's method and route.
        request: String,
    },
}

impl TransactionError {
    /// The error inside a [`sqlx::Error`], if it is one of these.
    pub fn find(error: &sqlx::Error) -> Option<&Self> {
        match error {
            sqlx::Error::Io(error) => error.get_ref()?.downcast_ref(),
            _ => None,
        }
    }

    pub(crate) fn outcome_unknown(engine: &str, cause: sqlx::Error) -> Self {
        Self::OutcomeUnknown {
            engine: engine.to_owned(),
            cause,
        }
    }
}

impl From<TransactionError> for sqlx::Error {
    /// As [`sqlx::Error::Io`], whose text is ours; [`TransactionError::find`] gets it back.
    fn from(error: TransactionError) -> Self {
        Self::Io(io::Error::other(error))
    }
}
