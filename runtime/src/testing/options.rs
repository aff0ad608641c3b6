//! The driver's connect options that decide the content of a template.

use sqlx::ConnectOptions;

use crate::backend::{Backend, OptionsOf};
use crate::error::Error;
use crate::pool::Connector;
use crate::settings::{DatabaseUrl, EngineSettings};

/// Connect options of a kind of database.
pub(super) trait DecidesContent: Backend {
    /// The options without those that do not decide what a script writes: where the server and the database are, who connects,
    /// the password, and what the driver keeps in memory.
    fn without_location(options: OptionsOf<Self>) -> OptionsOf<Self>;
}

/// The part of a recipe's fingerprint that covers the options of connections: those of the URL, of the environment
/// (`PGOPTIONS`) and of `connect_with`. They may set a `search_path` or a time zone.
///
/// The result of `before_connect` cannot be known, so a recipe with such a function only differs from one without.
pub(super) fn of_fingerprint<DB: DecidesContent>(
    settings: &EngineSettings,
    url: DatabaseUrl,
) -> Result<String, Error> {
    let has_hook = settings.before_connect::<OptionsOf<DB>>()?.is_some();
    let mut settings = settings.clone();
    settings.url = url;
    let connector = Connector::<DB>::new(settings)?;
    let options = DB::without_location(connector.options().clone()).disable_statement_logging();
    Ok(format!("{has_hook} {options:?}"))
}
