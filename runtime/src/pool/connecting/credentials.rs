//! `before_connect`: connect options that are made anew for each connection.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::time::SystemTime;

use futures_util::FutureExt;

use crate::backend::{Backend, OptionsOf};
use crate::dialect::{Diagnosis, Dialect, diagnosed, message};
use crate::settings::{EngineSettings, Prepare, SettingsError};

/// What a function over connect options does that leads a test to a database which is not its own.
pub(super) const OTHER_DATABASE: &str =
    "returns options with another database than that of the options it gets";

/// The cure of [`OTHER_DATABASE`].
pub(super) const KEEP_OPTIONS: &str = "Return the options that the function gets with changes, and keep their database; \
     a test of the configured database needs isolation = \"none\"";

/// The program's `before_connect` function, if there is one.
pub(in crate::pool) struct Credentials<DB: Backend> {
    prepare: Option<Prepare<OptionsOf<DB>>>,
    /// Where the function was given.
    origin: String,
    /// Whether the function must keep the database, because it is a test's.
    keeps_database: bool,
}

/// Connect options for one connection.
pub(super) struct Prepared<'a, O: Clone> {
    pub(super) options: Cow<'a, O>,
    /// When the program made the options.
    fetched: Option<SystemTime>,
}

impl<DB: Backend> Credentials<DB> {
    /// # Errors
    ///
    /// The function is for another driver.
    pub(super) fn new(settings: &EngineSettings) -> Result<Self, SettingsError> {
        let (prepare, origin) = settings.before_connect()?.unzip();
        Ok(Self {
            prepare,
            origin: origin.unwrap_or_default(),
            keeps_database: settings.keeps_database,
        })
    }

    pub(in crate::pool) fn are_fetched(&self) -> bool {
        self.prepare.is_some()
    }

    /// The options for the next connection.
    ///
    /// # Errors
    ///
    /// The error of the program's function, which counts as temporary; its panic; or it changes the database of a test.
    pub(super) async fn fetch<'a>(
        &self,
        options: &'a OptionsOf<DB>,
    ) -> sqlx::Result<Prepared<'a, OptionsOf<DB>>> {
        let Some(prepare) = &self.prepare else {
            return Ok(Prepared {
                options: Cow::Borrowed(options),
                fetched: None,
            });
        };
        let prepared = async { prepare(options.clone()).await };
        let Ok(prepared) = AssertUnwindSafe(prepared).catch_unwind().await else {
            let diagnosis = Diagnosis::fatal("before_connect panicked", "see the panic's message");
            return Err(diagnosed(
                format!("a panic in before_connect ({})", self.origin),
                diagnosis,
            ));
        };
        let prepared = prepared.map_err(|error| {
            let diagnosis = Diagnosis::retry(
                "before_connect failed",
                "check what it depends on, such as the secrets service",
            );
            diagnosed(
                format!("{error}; before_connect ({})", self.origin),
                diagnosis,
            )
        })?;
        let database = DB::database_of(options).filter(|_| self.keeps_database);
        if database.is_some() && DB::database_of(&prepared) != database {
            return Err(diagnosed(
                format!("before_connect ({}) {OTHER_DATABASE}", self.origin),
                Diagnosis::fatal(
                    "before_connect changes the database of a test",
                    KEEP_OPTIONS,
                ),
            ));
        }
        Ok(Prepared {
            options: Cow::Owned(DB::corrected(prepared)),
            fetched: Some(SystemTime::now()),
        })
    }

    /// Adds to a server's refusal the time when the refused credentials were fetched.
    pub(super) fn explain<O: Clone>(
        &self,
        dialect: &Dialect,
        prepared: &Prepared<'_, O>,
        error: sqlx::Error,
    ) -> sqlx::Error {
        let (sqlx::Error::Database(_), Some(fetched)) = (&error, prepared.fetched) else {
            return error;
        };
        let diagnosis = dialect.diagnosis(&error);
        // A server that is full or starting has not refused the credentials.
        if diagnosis.retry {
            return error;
        }
        let words = format!(
            "{}; the credentials were fetched at {} by before_connect ({})",
            message(&error),
            humantime::format_rfc3339_seconds(fetched),
            self.origin
        );
        diagnosed(words, diagnosis)
    }
}
