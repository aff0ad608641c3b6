//! The templates of a server: each is made once for its fingerprint, by the first of all processes.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::migrate::MigrateError;
use tokio::sync::OnceCell;

use super::adaptor::Adaptor;
use super::kind::{Kind, template_lock};
use super::session::ServerSession;
use super::template::Template;
use crate::error::{Error, StartError, StartKind, TestKind};
use crate::lock::lock;
use crate::testing::recipe::Recipe;
use crate::testing::{options, url};

/// The pause between two looks for a template that another process is making.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The templates that this process has requested. A failure is kept too if the next test would [fail the same way](is_lasting).
pub(super) struct Templates<K: Kind>(Mutex<HashMap<String, Arc<KnownTemplate<K>>>>);

type KnownTemplate<K> = OnceCell<Result<Arc<Template<K>>, Error>>;

impl<K: Kind> Default for Templates<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Kind> Templates<K> {
    /// Forgets a template that may be gone or outdated, so that the next test finds or makes it.
    pub(super) fn forget(&self, fingerprint: &str) {
        lock(&self.0).remove(fingerprint);
    }
}

impl<K: Adaptor> Templates<K> {
    /// The template of this recipe, made if needed. A template that was found before a restart of the server is looked for
    /// again.
    pub(super) async fn get(
        &self,
        session: &ServerSession<K>,
        recipe: &Recipe,
    ) -> Result<Arc<Template<K>>, Error> {
        let anywhere = url::of_database(&recipe.settings, "")?;
        let options = options::of_fingerprint::<K::DB>(&recipe.settings, anywhere)?;
        loop {
            let identity = session.identity().await?;
            let hash = recipe.fingerprint(&identity.server, &options);
            let fingerprint = format!("{hash}{}", identity.scope);
            let known = Arc::clone(lock(&self.0).entry(fingerprint.clone()).or_default());
            let found = known
                .get_or_init(|| async {
                    let content = find_or_build(session, recipe, &fingerprint).await?;
                    let incarnation = identity.incarnation.clone();
                    Ok(Arc::new(Template::new(
                        fingerprint.clone(),
                        incarnation,
                        content,
                    )))
                })
                .await;
            match found {
                Ok(template) if template.incarnation == identity.incarnation => {
                    return Ok(Arc::clone(template));
                }
                Ok(_) => self.forget(&fingerprint),
                Err(error) => {
                    if !is_lasting::<K>(error) {
                        // The next test may succeed.
                        self.forget(&fingerprint);
                    }
                    return Err(error.again(&recipe.settings));
                }
            }
        }
    }
}

/// Whether a template fails for this reason each time: the settings are wrong, a right is missing, or the server refuses a
/// migration, a fixture or an extension.
fn is_lasting<K: Kind>(error: &Error) -> bool {
    match error {
        Error::Start(error) => match error.kind() {
            StartKind::Migrations => cause_of(error).is_some_and(is_lasting_migration::<K>),
            StartKind::Unavailable | StartKind::Refused | StartKind::Cancelled => false,
            StartKind::Url
            | StartKind::FeatureOff
            | StartKind::WrongDatabase
            | StartKind::Unsupported => true,
        },
        Error::Test(error) => match error.kind() {
            TestKind::MissingRight | TestKind::Url => true,
            TestKind::Fixture | TestKind::NotMade => {
                error.database_error().is_some_and(K::is_lasting)
            }
            _ => false,
        },
        _ => false,
    }
}

fn cause_of(error: &StartError) -> Option<&sqlx::Error> {
    error.source()?.downcast_ref()
}

/// Whether the template may have failed because another one was being made.
fn may_be_race<K: Kind>(error: &Error) -> bool {
    let cause = match error {
        Error::Start(error) => cause_of(error),
        Error::Test(error) => error.database_error(),
        _ => None,
    };
    let Some(sqlx::Error::Migrate(migration)) = cause else {
        return cause.is_some_and(K::may_be_race);
    };
    match migration.as_ref() {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            K::may_be_race(error)
        }
        _ => false,
    }
}

fn is_lasting_migration<K: Kind>(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Migrate(error) => match error.as_ref() {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                K::is_lasting(error)
            }
            // The migrations contradict each other.
            _ => true,
        },
        error => K::is_lasting(error),
    }
}

async fn find_or_build<K: Adaptor>(
    session: &ServerSession<K>,
    recipe: &Recipe,
    fingerprint: &str,
) -> Result<K::Content, Error> {
    let key = template_lock(fingerprint);
    loop {
        if let Some(content) = find(session, fingerprint).await? {
            return Ok(content);
        }
        if session.take().await?.try_lock(&key).await? {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let built = async {
        // The process that had the lock before may have finished the template.
        match find(session, fingerprint).await? {
            Some(content) => Ok(content),
            None => match K::build(session, recipe, fingerprint).await {
                // Now the migration finds what the other session has made. If it was no race, what the first build has left
                // outside its database may hinder the second one, whose error says less.
                Err(error) if may_be_race::<K>(&error) => K::build(session, recipe, fingerprint)
                    .await
                    .map_err(|_| error),
                built => built,
            },
        }
    };
    let built = built.await;
    session.take().await?.unlock(&[key]).await?;
    built
}

async fn find<K: Kind>(
    session: &ServerSession<K>,
    fingerprint: &str,
) -> Result<Option<K::Content>, Error> {
    let identity = session.identity().await?;
    let mut session = session.take().await?;
    let found = K::find_template(session.connection(), fingerprint, &identity).await;
    Ok(session.seen(found)?)
}
