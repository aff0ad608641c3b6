//! `begin`: a transaction on a connection of its own.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use super::around::Around;
use super::{Transaction, TransactionOptions};
use crate::backend::Backend;
use crate::dialect::Local;
use crate::engine::Engine;
use crate::error::TransactionError;
use crate::pool::{Begin, Holder};

impl<DB: Backend> Engine<DB> {
    /// Takes a connection and begins a transaction on it. See [`Transaction`].
    ///
    /// # Errors
    ///
    /// As [`acquire`](Engine::acquire), or the server's error for `BEGIN`.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point: a half-begun transaction is rolled back before its connection is used
    /// again.
    #[track_caller]
    pub fn begin(&self) -> impl Future<Output = sqlx::Result<Transaction<DB>>> + Send + use<DB> {
        let holder = Holder::Code(Location::caller());
        let engine = self.clone();
        async move {
            let options = TransactionOptions::new();
            engine.begin_on(holder, &options, None, false).await
        }
    }

    /// Takes a connection and begins a transaction on it.
    pub(in crate::engine) async fn begin_on<R>(
        &self,
        holder: Holder,
        options: &TransactionOptions<R>,
        limit: Option<Duration>,
        run_again: bool,
    ) -> sqlx::Result<Transaction<DB>> {
        let dialect = self.connector().dialect();
        let characteristics = options.characteristics;
        let statement = (dialect.begin)(&characteristics).map_err(|option| {
            let engine = self.name().to_owned();
            let database = dialect.name;
            TransactionError::Unsupported {
                engine,
                database,
                option,
            }
        })?;
        let mut set = Vec::new();
        if let Some(limit) = limit
            && let Some(statement_limit) = dialect.local.as_ref().and_then(|l| l.statement_limit)
        {
            set.push(statement_limit(limit));
        }
        if !options.local.is_empty() {
            set.push((self.local_settings(&options.local)?.set)(&options.local));
        }
        self.log_beside("a transaction begins");
        let connection = self.checkout(holder).await?;
        let begin = Begin {
            statement,
            set: set.join("; "),
        };
        let connection = connection.begin_transaction(dialect, begin, run_again);
        let connection = connection
            .await
            .map_err(|error| self.refused_settings(&options.local, error))?;
        Ok(Transaction::on(connection, |cell| {
            Around::outermost(self.clone(), cell, characteristics)
        }))
    }

    /// The statements that set these settings for one transaction.
    ///
    /// # Errors
    ///
    /// The database has no such settings, or one of these cannot be sent.
    pub(super) fn local_settings(
        &self,
        settings: &[(String, String)],
    ) -> Result<&'static Local, TransactionError> {
        let dialect = self.connector().dialect();
        let engine = || self.name().to_owned();
        let zero = |(name, value): &&(String, String)| name.contains('\0') || value.contains('\0');
        if let Some((name, _)) = settings.iter().find(zero) {
            return Err(TransactionError::Setting {
                engine: engine(),
                names: name.escape_debug().to_string(),
                cause: sqlx::Error::Protocol("a setting cannot hold the character NUL".to_owned()),
            });
        }
        dialect
            .local
            .as_ref()
            .ok_or_else(|| TransactionError::Unsupported {
                engine: engine(),
                database: dialect.name,
                option: "SET LOCAL",
            })
    }

    /// Adds the names of the settings to an error by which the server may have refused them.
    pub(super) fn refused_settings(
        &self,
        settings: &[(String, String)],
        error: sqlx::Error,
    ) -> sqlx::Error {
        let dialect = self.connector().dialect();
        if settings.is_empty() || error.as_database_error().is_none() || dialect.is_conflict(&error)
        {
            return error;
        }
        let names: Vec<&str> = settings.iter().map(|(name, _)| &**name).collect();
        TransactionError::Setting {
            engine: self.name().to_owned(),
            names: names.join("`, `"),
            cause: error,
        }
        .into()
    }
}
