//! The servers that this process tests on: one site for each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::{background, url};
use crate::error::Error;
use crate::settings::EngineSettings;

/// The sites of one kind of database.
pub(super) struct Sites<S>(Mutex<HashMap<String, Arc<S>>>);

impl<S> Default for Sites<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S> Sites<S> {
    /// The site of these settings' server and user, which is made of its key when it is asked for the first time.
    pub(super) fn of(
        &self,
        settings: &EngineSettings,
        make: impl FnOnce(String) -> S,
    ) -> Result<Arc<S>, Error> {
        let key = url::server(settings)?;
        // Nothing panics while the lock is held.
        let mut sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let site = sites
            .entry(key.clone())
            .or_insert_with(|| Arc::new(make(key)));
        Ok(Arc::clone(site))
    }
}

/// The settings of the session in which a site keeps its leases.
pub(super) fn for_leases(settings: &EngineSettings) -> EngineSettings {
    let mut settings = settings.clone();
    settings.session = None;
    settings.application_name = Some("poolhouse".to_owned());
    settings
}

/// Looks for remains in the background, once in the life of this process.
pub(super) fn reap_once<F>(reaped: &AtomicBool, reap: impl FnOnce() -> F)
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    if reaped.swap(true, Relaxed) {
        return;
    }
    let reaping = reap();
    // The background runtime is there: it has leased a database.
    let _ = background::spawn(async move {
        if let Err(error) = reaping.await {
            tracing::debug!(%error, "what other test runs have left could not be removed");
        }
    });
}
