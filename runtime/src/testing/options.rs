//! The driver's connect options that decide the content of a template.

use sqlx::ConnectOptions;

use crate::backend::{Backend, OptionsOf};
use crate::error::Error;
use crate::pool::Connector;
use crate::settings::{DatabaseUrl, EngineSettings};
#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::testing::url;

/// Connect options of a kind of database.
pub(super) trait DecidesContent: Backend {
    /// The options without those that do not decide what a script writes: where the server and the database are, who connects,
    /// the password, and what the driver keeps in memory.
    fn without_location(options: OptionsOf<Self>) -> OptionsOf<Self>;
}

/// Connect options for a server.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) trait LeadsToServer: Backend {
    /// The server that the options lead to, and who connects.
    fn location(options: &OptionsOf<Self>) -> String;
}

/// The part of a recipe's fingerprint that covers the options of connections: those of the URL, of the environment
/// (`PGOPTIONS`) and of `connect_with`. They may set a `search_path` or a time zone.
///
/// The result of `before_connect` cannot be known, and may differ with each call. A recipe differs from those with other functions,
/// by their types.
pub(super) fn of_fingerprint<DB: DecidesContent>(
    settings: &EngineSettings,
    url: DatabaseUrl,
) -> Result<String, Error> {
    let function = settings.before_connect_type::<OptionsOf<DB>>()?;
    let mut settings = settings.clone();
    settings.url = url;
    let connector = Connector::<DB>::new(settings)?;
    let options = DB::without_location(connector.options().clone()).disable_statement_logging();
    Ok(format!("{function:?} {options:?}"))
}

/// Distinguishes the server and user of these settings from others in this process: the URL without its database, and where
/// `connect_with` leads instead.
///
/// # Errors
///
/// `connect_with` does not fit. A process keeps the settings with which it first comes to a server, and why a template cannot
/// be made, and one test's wrong function must not fail the other tests there.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn server_key<DB: LeadsToServer>(settings: &EngineSettings) -> Result<String, Error> {
    let mut key = url::server(settings)?;
    if settings.connect_source::<OptionsOf<DB>>().is_some() {
        let mut settings = settings.clone();
        // The function may change the database of a URL that names none.
        settings.url = url::of_database(&settings, "poolhouse")?;
        let connector = Connector::<DB>::new(settings)?;
        for options in connector.options_of_hosts() {
            key.push('\n');
            key.push_str(&DB::location(options));
        }
    }
    Ok(key)
}
