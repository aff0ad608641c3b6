//! The databases of one test, from lease to return.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kinds::{for_server, server_of};
use super::recipe::Recipe;
use super::retention;
use super::test::Test;
use super::test_server::{Lease, LeaseEnd, Reservation, TestServer};
use crate::error::{Error, TestError};
use crate::settings::{EngineSettings, Held, HeldTransactions, TestIsolation};

/// The leases and reserved connections of one test.
pub(crate) struct Isolated {
    test: Test,
    leases: Vec<EngineLease>,
    /// The test's reserved connections.
    _reserved: Vec<Reservation>,
}

/// The lease of one engine.
struct EngineLease {
    lease: Box<dyn Lease>,
    settings: Arc<EngineSettings>,
    on_private_server: bool,
}

impl Isolated {
    /// Leases a database for each engine of a test, and points the engine's settings to it.
    ///
    /// # Errors
    ///
    /// No server, a missing right, or a failed migration or fixture.
    pub(crate) async fn new<'a>(
        test: &Test,
        engines: impl Iterator<Item = &'a mut Arc<EngineSettings>>,
    ) -> Result<Self, Error> {
        let mut wishes = Vec::new();
        for settings in engines {
            #[cfg(all(feature = "ephemeral", any(feature = "postgres", feature = "mysql")))]
            let on_private_server = super::ephemeral::settle(settings).await?;
            #[cfg(not(all(feature = "ephemeral", any(feature = "postgres", feature = "mysql"))))]
            let on_private_server = false;
            if settings.isolation == TestIsolation::None {
                continue;
            }
            if settings.isolation == TestIsolation::Rollback {
                Arc::make_mut(settings).only_one_connection();
            }
            wishes.push(Wish {
                server: server_of(settings)?,
                settings,
                on_private_server,
            });
        }
        let reserved = reserve(&wishes).await?;
        let mut isolated = Self {
            test: test.clone(),
            leases: Vec::with_capacity(wishes.len()),
            _reserved: reserved,
        };
        for wish in wishes {
            if let Err(error) = isolated.lease(wish).await {
                isolated.give_up().await;
                return Err(error);
            }
        }
        Ok(isolated)
    }

    async fn lease(&mut self, wish: Wish<'_>) -> Result<(), Error> {
        let Wish {
            server,
            settings,
            on_private_server,
        } = wish;
        let recipe = Arc::new(Recipe::new(for_server(settings)).await?);
        let rolls_back = settings.isolation == TestIsolation::Rollback;
        let test = self.test.on_engine(&settings.engine);
        let lease = server.lease(recipe, test, rolls_back).await?;
        let (url, file) = (lease.url().clone(), lease.file());
        Arc::make_mut(settings).isolate(url, file, lease.borrowed(), lease.check());
        self.leases.push(EngineLease {
            lease,
            settings: Arc::clone(settings),
            on_private_server,
        });
        Ok(())
    }

    /// Drops the databases of a test that cannot begin. The engines must be closed.
    pub(crate) async fn give_up(self) {
        for EngineLease { lease, .. } in self.leases {
            lease.end(LeaseEnd::Drop).await;
        }
    }

    /// Returns the databases, or keeps them and prints their locations. The engines must be closed.
    ///
    /// # Errors
    ///
    /// A transaction that was to be rolled back ended before the test did.
    pub(crate) async fn end(self, body_failed: bool) -> Result<(), Error> {
        let failed = self.test.fails(body_failed);
        let kept = retention::is_kept(failed);
        let mut outcome = Ok(());
        for one in self.leases {
            let held = one
                .settings
                .held_transactions
                .as_deref()
                .map(HeldTransactions::outcome);
            let ending = match &held {
                Some(Held::Ended(_) | Held::Unknown) => LeaseEnd::Drop,
                None if kept => LeaseEnd::Retain,
                Some(Held::ToTheEnd) | None => LeaseEnd::Return,
            };
            if let Some(Held::Ended(statement)) = held {
                outcome =
                    Err(TestError::transaction_ended(&one.settings, statement.as_deref()).into());
            }
            // The password of a private server protects nothing that outlives the server.
            let whole_url = one
                .on_private_server
                .then(|| one.lease.url().expose().to_owned());
            if let Some(kept) = one.lease.end(ending).await {
                let how = if failed { "failed" } else { "passed" };
                let kept = match (kept, whole_url) {
                    (Ok(location), None) => format!("is kept: {location}"),
                    (Ok(_), Some(url)) => format!(
                        "is kept until its private server stops, a minute after the last test process \
                         (POOLHOUSE_EPHEMERAL_IDLE sets another number of seconds): {url}"
                    ),
                    (Err(why), _) => format!("cannot be kept: {why}"),
                };
                eprintln!("poolhouse: test `{}` {how}; its database {kept}", self.test);
            }
        }
        outcome
    }
}

/// An engine that gets a database.
struct Wish<'a> {
    server: Arc<dyn TestServer>,
    settings: &'a mut Arc<EngineSettings>,
    on_private_server: bool,
}

/// The connections that a test needs on one server, through one or more of its users and addresses.
#[derive(Default)]
struct Need {
    servers: Vec<Arc<dyn TestServer>>,
    connections: u32,
}

/// Reserves the connections of a test: all of one server at once, and the servers in one order, so that two tests cannot wait
/// for each other.
async fn reserve(wishes: &[Wish<'_>]) -> Result<Vec<Reservation>, Error> {
    let mut needs: BTreeMap<String, Need> = BTreeMap::new();
    for Wish {
        server, settings, ..
    } in wishes
    {
        // One engine alone waits for no second server.
        let identity = match wishes {
            [_] => String::new(),
            _ => Arc::clone(server).identity().await?,
        };
        let need = needs.entry(identity).or_default();
        need.connections = need.connections.saturating_add(settings.max_size);
        if !need.servers.iter().any(|known| Arc::ptr_eq(known, server)) {
            need.servers.push(Arc::clone(server));
        }
    }
    let mut reserved = Vec::new();
    for need in needs.into_values() {
        let mut connections = need.connections;
        // All through the first user or address. The others only count the test.
        for server in need.servers {
            reserved.push(server.reserve(connections).await?);
            connections = 0;
        }
    }
    Ok(reserved)
}
