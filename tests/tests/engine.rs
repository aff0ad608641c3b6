//! The engine: how it is found, what it does before and after its start, and what its settings do.

mod before_start;
mod keeper;
mod life;
mod outage;
mod readiness;
mod settings;

use poolhouse::{Engine, Settings, engine_finder_with};
use poolhouse_tests::{Ground, Sql};

/// Settings of an engine that nobody's environment knows.
fn settings(ground: &Ground) -> Settings {
    Settings::new().engine("engine_test").url(ground.url())
}

/// An engine with these settings, started.
async fn started<DB: Sql>(settings: &Settings) -> anyhow::Result<Engine<DB>> {
    let engine = engine_finder_with(settings)?;
    engine.start_connection_pool().await?;
    Ok(engine)
}
