//! The engine: how it is found, what it does before and after its start, and what its settings do.

mod before_start;
mod keeper;
mod life;
mod outage;
mod readiness;
mod settings;

use poolhouse::{Engine, Settings, engine_finder_with};
use poolhouse_tests::{CaseDatabase, Sql};

/// Settings of an engine that nobody's environment knows.
fn settings(case_database: &CaseDatabase) -> Settings {
    Settings::new()
        .engine("engine_test")
        .url(case_database.url())
}

/// An engine with these settings, started.
async fn started<DB: Sql>(settings: &Settings) -> anyhow::Result<Engine<DB>> {
    let engine = engine_finder_with(settings)?;
    engine.start_connection_pool().await?;
    Ok(engine)
}
