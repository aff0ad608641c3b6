//! The settings of the program that an engine runs in.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::error::SettingsError;
use super::form::Threads;
use super::layers::Layers;
use super::words::RuntimeFlavor;

/// The settings of the program itself. None of them belongs to a pool.
#[derive(Clone, Debug)]
pub(crate) struct ProgramSettings {
    /// The runtime that `main` gets.
    pub(crate) flavor: RuntimeFlavor,
    /// `None`: as tokio decides.
    pub(crate) worker_threads: Option<NonZeroUsize>,
    /// `None`: the position decides; `main` listens, a lifespan function does not.
    pub(crate) signals: Option<bool>,
    pub(crate) drain_delay: Duration,
    pub(crate) shutdown_timeout: Duration,
}

/// The default of `shutdown_timeout`. Together with the default of `close_timeout` and the seconds that a close may take
/// beyond it, less than the 30 s after which Kubernetes kills:
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination>.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

impl ProgramSettings {
    /// Reads the settings of the program. No database needs to be configured.
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        Ok(Self {
            flavor: layers
                .get("flavor")?
                .map_or(RuntimeFlavor::MultiThread, |(flavor, _)| flavor),
            worker_threads: layers
                .get("worker_threads")?
                .map(|(Threads(threads), _)| threads),
            signals: layers.get("signals")?.map(|(signals, _)| signals),
            drain_delay: layers
                .get("drain_delay")?
                .map_or(Duration::ZERO, |(delay, _)| delay),
            shutdown_timeout: layers
                .get("shutdown_timeout")?
                .map_or(SHUTDOWN_TIMEOUT, |(timeout, _)| timeout),
        })
    }
}
