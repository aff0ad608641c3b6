//! One database server and user in this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::kept::Kept;
use super::kind::Kind;
use super::session::ServerSession;
use super::templates::Templates;
use crate::error::Error;
use crate::lock::lock;
use crate::settings::EngineSettings;
use crate::testing::options;

/// The state of one server and user in this process.
pub(in crate::testing) struct DatabaseServer<K: Kind> {
    pub(super) session: ServerSession<K>,
    pub(super) templates: Templates<K>,
    pub(super) budget_turn: tokio::sync::Mutex<()>,
    /// Notifies that slots or databases were returned.
    pub(super) freed: Notify,
    /// Notifies that a test has begun.
    pub(super) begun: Notify,
    /// Tests of this process that wait for a database.
    pub(super) waiting: AtomicUsize,
    /// Databases on their way: clones in progress, and databases being returned.
    pub(super) coming: AtomicUsize,
    /// Databases that tests have returned, and that are neither kept yet nor to be dropped.
    pub(super) returning: AtomicUsize,
    /// Databases that are being returned by tests that rolled back.
    pub(super) rolling_back: AtomicUsize,
    pub(super) kept: Kept<K>,
    pub(super) reaped: AtomicBool,
}

/// The servers of one kind that this process tests on.
pub(in crate::testing) struct Servers<K: Kind>(Mutex<HashMap<String, Arc<DatabaseServer<K>>>>);

impl<K: Kind> Default for Servers<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Kind> Servers<K> {
    /// The server and user of these settings.
    pub(in crate::testing) fn of(
        &self,
        settings: &EngineSettings,
    ) -> Result<Arc<DatabaseServer<K>>, Error> {
        let key = options::server_key::<K::DB>(settings)?;
        let mut servers = lock(&self.0);
        let server = servers.entry(key).or_insert_with(|| {
            Arc::new(DatabaseServer {
                session: ServerSession::new(settings),
                templates: Templates::default(),
                budget_turn: tokio::sync::Mutex::default(),
                freed: Notify::new(),
                begun: Notify::new(),
                waiting: AtomicUsize::new(0),
                coming: AtomicUsize::new(0),
                returning: AtomicUsize::new(0),
                rolling_back: AtomicUsize::new(0),
                kept: Kept::default(),
                reaped: AtomicBool::new(false),
            })
        });
        Ok(Arc::clone(server))
    }
}
