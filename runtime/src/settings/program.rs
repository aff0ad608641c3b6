//! The settings of the program that an engine runs in.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::error::SettingsError;
use super::form::Threads;
use super::layers::Layers;
use super::words::RuntimeFlavor;

/// How the program runs, where poolhouse has a say in it. None of it belongs to a pool.
#[derive(Clone, Debug)]
pub(crate) struct ProgramSettings {
    /// The runtime that `main` gets.
    pub(crate) flavor: RuntimeFlavor,
    /// `None`: as tokio decides.
    pub(crate) worker_threads: Option<NonZeroUsize>,
    /// `None`: the position decides; `main` listens, a lifespan function does not.
    pub(crate) signals: Option<bool>,
    pub(crate) shutdown_timeout: Duration,
}

impl ProgramSettings {
    /// The settings of the program itself, which need no database to be configured.
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        Ok(Self {
            flavor: layers
                .get("flavor")?
                .map_or(RuntimeFlavor::MultiThread, |(flavor, _)| flavor),
            worker_threads: layers
                .get("worker_threads")?
                .map(|(Threads(threads), _)| threads),
            signals: layers.get("signals")?.map(|(signals, _)| signals),
            shutdown_timeout: layers
                .get("shutdown_timeout")?
                .map_or(Duration::from_secs(30), |(timeout, _)| timeout),
        })
    }
}
