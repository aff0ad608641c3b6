//! Clones of templates: made, leased, and made ahead as spare clones.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use super::adaptor::Adaptor;
use super::connection::KeptConnection;
use super::database_server::DatabaseServer;
use super::kept::Clean;
use super::kind::{CloneName, DatabaseState, Found, Kind, OF_NUMBER};
use super::lease::ServerLease;
use super::leased::Leased;
use super::session::InUse;
use super::template::Template;
use crate::error::{Error, TestError, TestKind};
use crate::testing::background;
use crate::testing::recipe::Recipe;
use crate::testing::test::Test;

/// The pause between two looks for a database, which another process may have returned.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// How long a test waits for a database that is being rolled back. It may be a clone of another template.
const ROLLBACK_LIMIT: Duration = Duration::from_millis(10);

/// How many new clones in sequence may be unusable. Each may have the number of another one, or get a visitor before its lease.
const MOST_UNUSABLE: u32 = 20;

/// A database for a test.
struct FoundDatabase<K: Kind> {
    leased: Leased<K>,
    kept: Option<KeptConnection<K>>,
    /// The number of clones of its template, unless this process has kept it.
    clones: Option<usize>,
}

impl<K: Kind> FoundDatabase<K> {
    fn not_kept(leased: Leased<K>, clones: usize) -> Self {
        Self {
            leased,
            kept: None,
            clones: Some(clones),
        }
    }
}

impl<K: Adaptor> DatabaseServer<K> {
    /// Leases a clone of a template: one that this process has kept, one that is ready, or a new one.
    pub(super) async fn lease_database(
        self: &Arc<Self>,
        recipe: &Arc<Recipe>,
        template: Arc<Template<K>>,
        test: Test,
        rolls_back: bool,
    ) -> Result<ServerLease<K>, Error> {
        let rolled_back = if rolls_back {
            self.wait_for_rolled_back(&template.fingerprint).await
        } else {
            None
        };
        let (leased, kept) = match rolled_back {
            Some(found) => found,
            None => self.lease_clone(recipe, &template).await?,
        };
        let (server, recipe) = (Arc::clone(self), Arc::clone(recipe));
        ServerLease::open(server, recipe, template, test, rolls_back, leased, kept).await
    }

    /// Takes a database in which tests of this process have rolled back. Waits for one whose test has just ended, because
    /// connecting to another database takes longer.
    async fn wait_for_rolled_back(
        self: &Arc<Self>,
        fingerprint: &str,
    ) -> Option<(Leased<K>, Option<KeptConnection<K>>)> {
        let begun = Instant::now();
        loop {
            let freed = self.freed.notified();
            let found = self.take_rolled_back(fingerprint).await;
            let left = ROLLBACK_LIMIT.saturating_sub(begun.elapsed());
            if found.is_some() || left.is_zero() || self.rolling_back.load(SeqCst) == 0 {
                return found;
            }
            let _ = tokio::time::timeout(left, freed).await;
        }
    }

    /// Takes a database in which tests of this process have rolled back, and no other session has been since.
    async fn take_rolled_back(
        self: &Arc<Self>,
        fingerprint: &str,
    ) -> Option<(Leased<K>, Option<KeptConnection<K>>)> {
        while let Some(Clean {
            leased, mut kept, ..
        }) = self.kept.take_database(fingerprint, true)
        {
            if !matches!(self.session.has(&leased.lock).await, Ok(true)) {
                // Another process may have it by now.
                continue;
            }
            let connection = kept.as_mut().map(|kept| &mut kept.connection);
            match K::is_alone(&self.session, &leased, connection).await {
                Ok(true) => return Some((leased, kept)),
                outcome => {
                    tracing::debug!(
                        ?outcome,
                        database = leased.name,
                        "a kept database is not used again"
                    );
                    self.drop_in_background(leased);
                }
            }
        }
        None
    }

    async fn lease_clone(
        self: &Arc<Self>,
        recipe: &Arc<Recipe>,
        template: &Arc<Template<K>>,
    ) -> Result<(Leased<K>, Option<KeptConnection<K>>), Error> {
        self.waiting.fetch_add(1, SeqCst);
        let leased = self.wait_for_database(recipe, template).await;
        self.waiting.fetch_sub(1, SeqCst);
        let found = leased?;
        if let Some(clones) = found.clones {
            self.make_spare_clone(recipe, template, clones);
        }
        Ok((found.leased, found.kept))
    }

    async fn wait_for_database(
        self: &Arc<Self>,
        recipe: &Recipe,
        template: &Template<K>,
    ) -> Result<FoundDatabase<K>, Error> {
        let mut unusable = 0;
        loop {
            let freed = self.freed.notified();
            if let Some((leased, kept)) = self.take_kept(&template.fingerprint).await? {
                return Ok(FoundDatabase {
                    leased,
                    kept,
                    clones: None,
                });
            }
            let too_few = self.coming.load(SeqCst) < self.waiting.load(SeqCst);
            let mut clones = 0;
            if too_few || template.is_to_ask(ASK_AGAIN) {
                let ready;
                (ready, clones) = self.lease_ready(&template.fingerprint).await?;
                if let Some(leased) = ready {
                    return Ok(FoundDatabase::not_kept(leased, clones));
                }
                template.found_none();
            }
            if !too_few {
                let _ = tokio::time::timeout(ASK_AGAIN, freed).await;
            } else if let Some(leased) = self.clone_template(recipe, template, true).await? {
                return Ok(FoundDatabase::not_kept(leased, clones + 1));
            } else {
                unusable += 1;
                if unusable == MOST_UNUSABLE {
                    let what = "another program connects to each new database before the test";
                    let cure = "Let no other program connect to databases of tests";
                    return Err(
                        TestError::new(&recipe.settings, TestKind::NotMade, what, cure).into(),
                    );
                }
            }
        }
    }

    /// Takes a clean database that this process has kept, if the server was not restarted since.
    async fn take_kept(
        self: &Arc<Self>,
        fingerprint: &str,
    ) -> Result<Option<(Leased<K>, Option<KeptConnection<K>>)>, Error> {
        while let Some(Clean {
            leased, mut kept, ..
        }) = self.kept.take_database(fingerprint, false)
        {
            if !self.session.has(&leased.lock).await? {
                // Another process may have it by now.
                continue;
            }
            let connection = kept.as_mut().map(|kept| &mut kept.connection);
            match K::begin_lease_of_kept(&self.session, &leased, connection).await {
                Ok(()) => return Ok(Some((leased, kept))),
                Err(error) => {
                    tracing::debug!(%error, database = leased.name, "a kept database is not used again");
                    self.drop_in_background(leased);
                }
            }
        }
        Ok(None)
    }

    /// Drops a leased database and releases its lock, in the background.
    pub(super) fn drop_in_background(self: &Arc<Self>, leased: Leased<K>) {
        let server = Arc::clone(self);
        // The background runtime exists, because it has leased the database.
        let _ = background::spawn(async move {
            if let Err(error) = server
                .session
                .drop_database(&leased.name, &leased.lock)
                .await
            {
                tracing::debug!(%error, database = leased.name, "a database is left to the next run");
            }
        });
    }

    /// Leases a clone that is ready, and counts the clones of this template that are ready or leased.
    async fn lease_ready(&self, fingerprint: &str) -> Result<(Option<Leased<K>>, usize), Error> {
        let mut session = self.session.take().await?;
        let current = session.incarnation().to_owned();
        let found = session.list().await?;
        let is_clone = |one: &&Found| {
            // One that a session has visited has another incarnation, and is not leased any more.
            let is_clone = match &one.state {
                DatabaseState::Ready { incarnation } => *incarnation == current,
                state => matches!(state, DatabaseState::Leased),
            };
            is_clone && one.fingerprint == fingerprint
        };
        let clones = found.iter().filter(is_clone).count();
        for found in found {
            let is_ready = matches!(&found.state, DatabaseState::Ready { incarnation } if *incarnation == current);
            if !is_ready || found.fingerprint != fingerprint {
                continue;
            }
            let lock = found.lock();
            if !session.try_lock(&lock).await? {
                continue;
            }
            let name = CloneName {
                fingerprint,
                incarnation: &current,
                number: &found.number,
            };
            let leased = begin_lease(&mut session, &found.name, &name, lock).await?;
            // Another process may have leased it between our look and our lock.
            if leased.is_some() {
                return Ok((leased, clones));
            }
        }
        Ok((None, clones))
    }

    /// Makes a clone, and leases it if `leases`. Else it stays ready for the first process that leases it, and this returns `None`.
    async fn clone_template(
        &self,
        recipe: &Recipe,
        template: &Template<K>,
        leases: bool,
    ) -> Result<Option<Leased<K>>, Error> {
        self.coming.fetch_add(1, SeqCst);
        let cloned = self.clone_now(recipe, template, leases).await;
        self.coming.fetch_sub(1, SeqCst);
        self.freed.notify_waiters();
        if cloned.is_err() {
            // The template may have been removed. The next test then makes it again.
            self.templates.forget(&template.fingerprint);
        }
        cloned
    }

    async fn clone_now(
        &self,
        recipe: &Recipe,
        template: &Template<K>,
        leases: bool,
    ) -> Result<Option<Leased<K>>, Error> {
        let number = format!("{:0OF_NUMBER$x}", fastrand::u32(..));
        let incarnation = self.session.identity().await?.incarnation;
        if incarnation != template.incarnation {
            // The restart may have changed the template. The next test looks for it again.
            let what = "the server was started anew while a test's database was made";
            let cure = "Run the test again";
            return Err(TestError::new(&recipe.settings, TestKind::NotMade, what, cure).into());
        }
        let name = CloneName {
            fingerprint: &template.fingerprint,
            incarnation: &incarnation,
            number: &number,
        };
        let lock = name.lock();
        if !self.session.take().await?.try_lock(&lock).await? {
            // Another process has the same number; the next try has another.
            return Ok(None);
        }
        let cloned = K::clone(&self.session, recipe, template, &name).await;
        let mut session = self.session.take().await?;
        match cloned {
            // The session may have been replaced since, and the server started anew.
            Ok(database)
                if leases && session.has(&lock) && session.incarnation() == incarnation =>
            {
                begin_lease(&mut session, &database, &name, lock).await
            }
            cloned => {
                session.unlock(&[lock]).await?;
                cloned.map(|_| None)
            }
        }
    }

    /// Makes a spare clone while the body of a test runs, if there are fewer `clones` than tests can use at a time.
    fn make_spare_clone(
        self: &Arc<Self>,
        recipe: &Arc<Recipe>,
        template: &Arc<Template<K>>,
        clones: usize,
    ) {
        // As many tests as there are processors run at a time; with one more, the next one need not wait.
        let enough = available_parallelism().map_or(2, usize::from) + 1;
        if clones >= enough || self.coming.load(SeqCst) > 0 {
            return;
        }
        let (server, recipe, template) =
            (Arc::clone(self), Arc::clone(recipe), Arc::clone(template));
        let _ = background::spawn(async move {
            match server.clone_template(&recipe, &template, false).await {
                Ok(_) => template.made_one(),
                Err(error) => tracing::debug!(%error, "no spare clone was made"),
            }
        });
    }
}

/// Leases a ready clone whose lock is held. `None` when it is no longer ready; its lock is then released.
async fn begin_lease<K: Kind>(
    session: &mut InUse<'_, K>,
    database: &str,
    name: &CloneName<'_>,
    lock: String,
) -> Result<Option<Leased<K>>, Error> {
    let begun = K::begin_lease(session.connection(), database, name).await;
    match session.seen(begun) {
        Ok(Some((database, since))) => Ok(Some(Leased {
            name: database,
            incarnation: name.incarnation.to_owned(),
            lock,
            since,
        })),
        Ok(None) => {
            session.unlock(&[lock]).await?;
            Ok(None)
        }
        Err(error) => {
            let _ = session.unlock(&[lock]).await;
            Err(error.into())
        }
    }
}
