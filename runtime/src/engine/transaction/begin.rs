//! `begin`: a transaction on a connection of its own.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use sqlx::SqlSafeStr;

use super::around::Around;
use super::{Transaction, TransactionOptions};
use crate::backend::Backend;
use crate::dialect::{Characteristics, Local};
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

    /// Takes a connection and begins a transaction on it with a statement of its own, such as `BEGIN IMMEDIATE` on SQLite.
    ///
    /// In a test with `isolation = "rollback"` the transaction is a savepoint, and the statement is not run.
    ///
    /// # Errors
    ///
    /// As [`begin`](Engine::begin), and [`sqlx::Error::BeginFailed`] if the statement begins no transaction.
    ///
    /// # Cancellation
    ///
    /// As [`begin`](Engine::begin).
    #[track_caller]
    pub fn begin_with(
        &self,
        statement: impl SqlSafeStr,
    ) -> impl Future<Output = sqlx::Result<Transaction<DB>>> + Send {
        let holder = Holder::Code(Location::caller());
        let engine = self.clone();
        let statement = statement.into_sql_str().as_str().to_owned();
        async move {
            engine.log_beside("a transaction begins");
            let mut connection = engine.checkout(holder).await?;
            // The driver checks only a begin that it counts.
            connection.recount().await?;
            let begin = Begin {
                statement: Some(statement),
                ..Begin::default()
            };
            let dialect = engine.connector().dialect();
            let connection = connection.begin_transaction(dialect, begin, false).await?;
            Ok(Transaction::on(connection, |cell| {
                Around::outermost(engine.clone(), cell, Characteristics::default())
            }))
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
        let (set, restore) = self.settings_sql(&options.local, limit)?;
        self.log_beside("a transaction begins");
        let connection = self.checkout(holder).await?;
        let begin = Begin {
            statement,
            set,
            restore,
        };
        let connection = connection.begin_transaction(dialect, begin, run_again);
        let connection = connection
            .await
            .map_err(|error| self.refused_settings(&options.local, error))?;
        Ok(Transaction::on(connection, |cell| {
            Around::outermost(self.clone(), cell, characteristics)
        }))
    }

    /// Statements that set these settings and this limit for one transaction, and those that restore the former values at the
    /// end of one that is a savepoint.
    fn settings_sql(
        &self,
        local: &[(String, String)],
        limit: Option<Duration>,
    ) -> Result<(String, Option<String>), TransactionError> {
        let dialect = self.connector().dialect();
        let (mut set, mut names) = (Vec::new(), local.to_vec());
        let statement_limit = dialect
            .local
            .as_ref()
            .and_then(|local| local.statement_limit);
        if let (Some(limit), Some(statement_limit)) = (limit, statement_limit) {
            set.push(statement_limit(limit));
            names.push(("statement_timeout".to_owned(), String::new()));
        }
        if !local.is_empty() {
            set.push((self.local_settings(local)?.set)(local));
        }
        let mut restore = None;
        if let Some(sql) = &dialect.local
            && self.connector().settings.held_transactions.is_some()
            && !names.is_empty()
        {
            set.insert(0, (sql.store)(&names, 0));
            restore = Some((sql.restore)(&names, 0));
        }
        Ok((set.join("; "), restore))
    }

    /// How settings are set for one transaction.
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
