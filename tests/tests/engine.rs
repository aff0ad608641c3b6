//! The engine: look-up, behaviour before and after its start, and settings.

mod before_start;
mod idioms;
mod keeper;
mod life;
mod migrations;
mod outage;
mod readiness;
mod settings;

use poolhouse::{Engine, Settings, engine_finder_with};
use poolhouse_tests::{CaseDatabase, Sql};

/// Settings of an engine that no environment variable configures.
fn settings(case_database: &CaseDatabase) -> Settings {
    Settings::new()
        .engine("engine_test")
        .url(case_database.url())
}

/// Starts an engine with these settings.
async fn started<DB: Sql>(settings: &Settings) -> anyhow::Result<Engine<DB>> {
    let engine = engine_finder_with(settings)?;
    engine.start_connection_pool().await?;
    Ok(engine)
}
