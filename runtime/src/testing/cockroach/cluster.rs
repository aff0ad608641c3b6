//! One cluster and user in this process, and the databases that the process makes there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use sqlx::Postgres;
use tokio::sync::OnceCell;

use super::database::Database;
use super::session::{ClusterSession, database_name};
use crate::error::Error;
use crate::lock::lock;
use crate::settings::EngineSettings;
use crate::testing::recipe::Recipe;
use crate::testing::{options, url};

/// The state of one cluster and user in this process.
pub(super) struct Cluster {
    pub(super) key: String,
    pub(super) session: Arc<ClusterSession>,
    /// The next database's number.
    number: AtomicU64,
    /// The databases of tests that roll back, by their fingerprints.
    rollbacks: Mutex<HashMap<String, Arc<OnceCell<Arc<Database>>>>>,
    pub(super) reaped: AtomicBool,
}

impl Cluster {
    pub(super) fn new(key: String, settings: &EngineSettings) -> Self {
        Self {
            key,
            session: Arc::new(ClusterSession::new(settings)),
            number: AtomicU64::new(0),
            rollbacks: Mutex::default(),
            reaped: AtomicBool::new(false),
        }
    }

    /// Makes a database with the recipe's content. A database that cannot be filled is dropped.
    pub(super) async fn make(&self, recipe: &Recipe) -> Result<Arc<Database>, Error> {
        let mut session = self.session.take().await?;
        let number = self.number.fetch_add(1, Relaxed);
        let name = database_name(&session.id(), number);
        session.execute(format!("CREATE DATABASE {name}")).await?;
        drop(session);
        let url = url::of_database(&recipe.settings, &name)?;
        let database = Arc::new(Database::new(Arc::clone(&self.session), name));
        recipe.fill(url).await?;
        Ok(database)
    }

    /// The database of this process's tests that roll back, made if it does not exist.
    pub(super) async fn for_rollback(&self, recipe: &Recipe) -> Result<Arc<Database>, Error> {
        let anywhere = url::of_database(&recipe.settings, "")?;
        let options = options::of_fingerprint::<Postgres>(&recipe.settings, anywhere)?;
        let fingerprint = recipe.fingerprint("CockroachDB", &options);
        let known = Arc::clone(lock(&self.rollbacks).entry(fingerprint).or_default());
        let database = known.get_or_try_init(|| self.make(recipe)).await?;
        Ok(Arc::clone(database))
    }

    /// Stops the use of this database by further tests that roll back.
    pub(super) fn take_out_of_use(&self, name: &str) {
        let is_another = |known: &Arc<OnceCell<Arc<Database>>>| {
            known.get().is_none_or(|database| database.name() != name)
        };
        lock(&self.rollbacks).retain(|_, known| is_another(known));
    }
}
