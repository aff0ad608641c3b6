//! A test's database, from lease to return.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_core::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::adaptor::Adaptor;
use super::connection::{BorrowedConnection, CLEAR_LIMIT, KeptConnection, options};
use super::database_server::DatabaseServer;
use super::finish::one_test_per_process;
use super::kept::Clean;
use super::leased::Leased;
use super::template::Template;
use crate::dialect::{Diagnosis, diagnosed, leading_word};
use crate::error::Error;
use crate::settings::{BorrowedByAny, DatabaseUrl, LeaseCheck};
use crate::testing::background;
use crate::testing::recipe::Recipe;
use crate::testing::test::Test;
use crate::testing::test_server::{Lease, LeaseEnd, Retained};
use crate::testing::url;

/// How long a test that cannot begin waits until its database is dropped.
const DROP_LIMIT: Duration = Duration::from_secs(1);

/// How long the last test of a process may take to prepare the next run.
const END_LIMIT: Duration = Duration::from_secs(5);

/// The check of a lease, which the connections of its test run.
struct Check<K: Adaptor> {
    server: Arc<DatabaseServer<K>>,
    incarnation: String,
    lock: String,
}

impl<K: Adaptor> LeaseCheck for Check<K> {
    /// Fails when the server was restarted, or the lock was lost, since the lease. The database may have lost data then,
    /// and another process may have leased it.
    fn check(&self) -> BoxFuture<'_, sqlx::Result<()>> {
        let server = Arc::clone(&self.server);
        let (incarnation, lock) = (self.incarnation.clone(), self.lock.clone());
        // The connection that holds the lock belongs to the background runtime.
        let asked = background::run(async move { server.session.holds(&lock, &incarnation).await });
        Box::pin(async move {
            match asked.await {
                Ok(true) => Ok(()),
                Ok(false) => Err(diagnosed(
                    "the server was started anew while the test had its database, which may not be what it was".to_owned(),
                    Diagnosis::fatal(
                        "a test's server was started anew",
                        "run the test again; a test that is to restart its server needs isolation = \"none\"",
                    ),
                )),
                Err(error) => Err(diagnosed(
                    error.to_string(),
                    Diagnosis::retry(
                        "it cannot be asked whether the test still has its database",
                        "see the server's log",
                    ),
                )),
            }
        })
    }
}

/// The lease of one test.
pub(super) struct ServerLease<K: Adaptor> {
    server: Arc<DatabaseServer<K>>,
    template: Arc<Template<K>>,
    test: Test,
    url: DatabaseUrl,
    /// Whether the test holds its connections in a transaction, which is rolled back.
    rolls_back: bool,
    /// Whether `session`, which runs before that transaction, may write.
    session_writes: bool,
    /// `None` once the database is returned.
    leased: Option<Leased<K>>,
    /// `None` if the kind keeps no connections, before the connection is open, and once it is returned.
    borrowed: Option<BorrowedConnection<K>>,
}

impl<K: Adaptor> ServerLease<K> {
    /// Makes the lease of a database, with a connection to the database if the kind keeps one.
    pub(super) async fn open(
        server: Arc<DatabaseServer<K>>,
        recipe: Arc<Recipe>,
        template: Arc<Template<K>>,
        test: Test,
        rolls_back: bool,
        leased: Leased<K>,
        kept: Option<KeptConnection<K>>,
    ) -> Result<Self, Error> {
        let mut lease = Self {
            url: url::of_database(&recipe.settings, &leased.name)?,
            server,
            template,
            test,
            rolls_back,
            session_writes: may_write(recipe.settings.session.as_deref().unwrap_or_default()),
            leased: Some(leased),
            borrowed: None,
        };
        match lease.connect(&recipe, kept).await {
            Ok(()) => Ok(lease),
            Err(error) => {
                Box::new(lease).end(LeaseEnd::Drop).await;
                Err(error)
            }
        }
    }

    /// Opens the connection to the database, if the kind keeps one and `kept` does not fit.
    async fn connect(
        &mut self,
        recipe: &Recipe,
        kept: Option<KeptConnection<K>>,
    ) -> Result<(), Error> {
        let (true, Some(leased)) = (K::KEEPS_CONNECTIONS, &mut self.leased) else {
            return Ok(());
        };
        let options = options::<K>(recipe)?;
        let fitting = match kept {
            Some(kept) if kept.fits(options.as_deref()) => kept,
            kept => {
                if let Some(kept) = kept {
                    kept.close().await;
                }
                KeptConnection::open(recipe, options, &leased.name, &mut leased.since).await?
            }
        };
        self.borrowed = Some(fitting.lend());
        Ok(())
    }

    /// Starts to return or drop the database; the receiver ends when that is done. `None` when it was started before.
    fn give_back(&mut self, ending: LeaseEnd) -> Option<oneshot::Receiver<()>> {
        let leased = self.leased.take()?;
        let borrowed = self.borrowed.take();
        let (server, template) = (Arc::clone(&self.server), Arc::clone(&self.template));
        server.coming.fetch_add(1, SeqCst);
        server.returning.fetch_add(1, SeqCst);
        let is_restored = self.rolls_back
            && ending == LeaseEnd::Return
            && K::rollback_restores(&template.content);
        if is_restored {
            server.rolling_back.fetch_add(1, SeqCst);
        }
        let session_writes = self.session_writes;
        let (over, ended) = oneshot::channel();
        // The background runtime exists, because it has leased the database.
        let _ = background::spawn(async move {
            let _over: oneshot::Sender<()> = over;
            let name = leased.name.clone();
            let returned = async {
                if is_restored {
                    server
                        .take_back_rolled_back(template, leased, borrowed, session_writes)
                        .await
                } else {
                    server.take_back(template, leased, borrowed, ending).await
                }
            };
            if let Err(error) = returned.await {
                tracing::warn!(%error, database = name, "a test's database could not be taken back");
            }
            server.coming.fetch_sub(1, SeqCst);
            if is_restored {
                server.rolling_back.fetch_sub(1, SeqCst);
            }
            server.freed.notify_waiters();
        });
        Some(ended)
    }

    async fn keep(mut self) -> Option<Retained> {
        let leased = self.leased.take()?;
        if let Some(borrowed) = self.borrowed.take() {
            for connection in borrowed.take_all() {
                connection.close().await;
            }
        }
        let (server, test) = (Arc::clone(&self.server), self.test.clone());
        let marked = background::run(async move {
            let mut session = server.session.take().await?;
            let kept = K::keep(session.connection(), &leased.name, &test).await;
            session.seen(kept)?;
            session.unlock(&[leased.lock]).await?;
            Ok(())
        });
        let marked = marked.await.map(|()| url::for_people(&self.url));
        // The next run removes a database without a mark.
        Some(marked.map_err(|error| error.to_string()))
    }
}

/// Whether `session` statements may write rows: some are not `SET`.
fn may_write(session: &str) -> bool {
    let mut statements = session.split(';').map(str::trim);
    statements.any(|one| !one.is_empty() && !leading_word(one).eq_ignore_ascii_case("SET"))
}

impl<K: Adaptor> DatabaseServer<K> {
    /// Takes a database back from a test, and cleans it for another one or drops it.
    async fn take_back(
        self: &Arc<Self>,
        template: Arc<Template<K>>,
        mut leased: Leased<K>,
        borrowed: Option<BorrowedConnection<K>>,
        ending: LeaseEnd,
    ) -> Result<(), Error> {
        let kept = match borrowed {
            Some(borrowed) => borrowed.take_back(&mut leased).await,
            None => None,
        };
        let (kept, is_clean) = match ending {
            LeaseEnd::Return => self.clean(&template, &mut leased, kept).await,
            LeaseEnd::Retain | LeaseEnd::Drop => (kept, false),
        };
        let clean = Clean {
            template,
            leased,
            kept,
        };
        if is_clean {
            return self.keep_clean(clean, false).await;
        }
        self.has_returned();
        self.drop_clean(clean).await
    }

    /// Takes a database back from a test whose transaction has lasted. Its content is unchanged except for sequences, so
    /// that other tests of this process that roll back can use it. If the `session` statements may have written, it is cleaned as
    /// after any other test.
    async fn take_back_rolled_back(
        self: &Arc<Self>,
        template: Arc<Template<K>>,
        mut leased: Leased<K>,
        borrowed: Option<BorrowedConnection<K>>,
        session_writes: bool,
    ) -> Result<(), Error> {
        let mut kept = None;
        if let Some(borrowed) = borrowed {
            K::opened_by_engine(&mut leased.since, borrowed.borrowed.opened());
            for mut connection in borrowed.take_all() {
                let ended = K::end_rollback(&mut connection.connection);
                match timeout(CLEAR_LIMIT, ended).await {
                    Ok(Ok(true)) if kept.is_none() => kept = Some(connection),
                    Ok(Ok(_)) => connection.close().await,
                    // The connection is dropped without a clean close, and the server rolls back.
                    Ok(Err(_)) | Err(_) => {}
                }
            }
        }
        let mut is_clean = kept.is_some();
        if session_writes && is_clean {
            (kept, is_clean) = self.clean(&template, &mut leased, kept).await;
        }
        let clean = Clean {
            template,
            leased,
            kept,
        };
        if is_clean {
            return self.keep_clean(clean, !session_writes).await;
        }
        self.has_returned();
        self.drop_clean(clean).await
    }

    /// Keeps a clean database for the next test of this process, or gives it up.
    async fn keep_clean(self: &Arc<Self>, clean: Clean<K>, rolled_back: bool) -> Result<(), Error> {
        if one_test_per_process() {
            // Without a next test, no test takes the connection.
            let kept = self.keep_database(clean, rolled_back).await;
            // Not before, because the last test of the process gives up only what is kept by now.
            self.has_returned();
            return kept;
        }
        // The test's slots are free by the time that the database is kept, which takes them again.
        self.has_returned();
        let clean = clean.check_connection().await;
        self.keep_database(clean, rolled_back).await
    }

    /// Notes that a returned database is kept, or that it has to be dropped.
    fn has_returned(&self) {
        self.returning.fetch_sub(1, SeqCst);
        self.freed.notify_waiters();
    }

    /// Drops a database, and closes its kept connection.
    async fn drop_clean(&self, clean: Clean<K>) -> Result<(), Error> {
        let Clean { leased, kept, .. } = clean;
        if let Some(kept) = kept {
            kept.close().await;
        }
        self.session.drop_database(&leased.name, &leased.lock).await
    }

    /// Shows that a database is clean, over a cleared connection if there is one.
    async fn clean(
        &self,
        template: &Template<K>,
        leased: &mut Leased<K>,
        mut kept: Option<KeptConnection<K>>,
    ) -> (Option<KeptConnection<K>>, bool) {
        if !matches!(self.session.has(&leased.lock).await, Ok(true)) {
            // Another process may have it by now.
            return (kept, false);
        }
        let connection = kept.as_mut().map(|kept| &mut kept.connection);
        let is_clean = K::clean(&self.session, template, leased, connection).await;
        let is_clean = is_clean.unwrap_or_else(|error| {
            tracing::debug!(%error, database = leased.name, "a used database cannot be shown to be clean");
            false
        });
        (kept, is_clean)
    }

    /// Gives up a kept database to all processes. Drops the database if it is not clean or a session stays in it.
    pub(super) async fn give_up(&self, kept: Clean<K>, rolled_back: bool) -> Result<(), Error> {
        let Clean {
            template,
            mut leased,
            mut kept,
        } = kept;
        if rolled_back {
            let is_clean;
            (kept, is_clean) = self.clean(&template, &mut leased, kept).await;
            if !is_clean {
                let dirty = Clean {
                    template,
                    leased,
                    kept,
                };
                return self.drop_clean(dirty).await;
            }
        }
        if !self.session.has(&leased.lock).await? {
            // Another process may have it by now.
            if let Some(kept) = kept {
                kept.close().await;
            }
            return Ok(());
        }
        if let Some(mut kept) = kept {
            // A task of an ended test may have been in it since it was shown to be clean.
            let connection = Some(&mut kept.connection);
            let is_alone = K::is_alone(&self.session, &leased, connection).await;
            kept.close().await;
            if !matches!(is_alone, Ok(true)) {
                return self.session.drop_database(&leased.name, &leased.lock).await;
            }
        }
        if !self.session.until_quiet(&leased.name).await? {
            return self.session.drop_database(&leased.name, &leased.lock).await;
        }
        self.session.take().await?.unlock(&[leased.lock]).await?;
        Ok(())
    }
}

impl<K: Adaptor> Lease for ServerLease<K> {
    fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    fn borrowed(&self) -> Option<BorrowedByAny> {
        Some(Arc::clone(&self.borrowed.as_ref()?.borrowed) as BorrowedByAny)
    }

    fn check(&self) -> Option<Arc<dyn LeaseCheck>> {
        let leased = self.leased.as_ref()?;
        Some(Arc::new(Check {
            server: Arc::clone(&self.server),
            incarnation: leased.incarnation.clone(),
            lock: leased.lock.clone(),
        }))
    }

    fn end(mut self: Box<Self>, ending: LeaseEnd) -> BoxFuture<'static, Option<Retained>> {
        if ending == LeaseEnd::Retain {
            return Box::pin(self.keep());
        }
        let returned = self.give_back(ending);
        let server = Arc::clone(&self.server);
        Box::pin(async move {
            let is_returned = returned.is_some();
            if let (LeaseEnd::Drop, Some(dropped)) = (ending, returned) {
                // A test that could not begin must leave nothing, even if the process ends now.
                let _ = timeout(DROP_LIMIT, dropped).await;
            }
            if is_returned && server.runs_last_test() {
                let finished = background::run(async move {
                    server.finish().await;
                    Ok(())
                });
                let _ = timeout(END_LIMIT, finished).await;
            }
            None
        })
    }
}

impl<K: Adaptor> Drop for ServerLease<K> {
    fn drop(&mut self) {
        // The test's future was dropped, so that nobody has checked whether its transaction stayed open.
        let ending = if self.rolls_back {
            LeaseEnd::Drop
        } else {
            LeaseEnd::Return
        };
        let _ = self.give_back(ending);
    }
}

#[cfg(test)]
mod tests {
    use super::may_write;

    #[test]
    fn settings_alone_write_nothing() {
        for session in ["", "SET a = 1", "set a = 1; \n SET b = 2;"] {
            assert!(!may_write(session), "{session}");
        }
        for session in [
            "INSERT INTO visit VALUES (1)",
            "SET a = 1; SELECT visit()",
            "/* a */ SET a = 1",
            "SET a = 1; -- b\n DELETE FROM visit",
        ] {
            assert!(may_write(session), "{session}");
        }
    }
}
