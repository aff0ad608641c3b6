//! The templates of a server: each is made once for its fingerprint, by the first of all processes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::adaptor::Adaptor;
use super::kind::{Kind, template_lock};
use super::session::ServerSession;
use super::template::Template;
use crate::error::Error;
use crate::lock::lock;
use crate::testing::recipe::Recipe;
use crate::testing::{options, url};

/// The pause between two looks for a template that another process is making.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The templates that this process has requested. A failure is kept too, because the next test would fail the same way.
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
                    if !matches!(error, Error::Start(_) | Error::Test(_)) {
                        // A lost connection, or a statement that the server refused: the next test may succeed.
                        self.forget(&fingerprint);
                    }
                    return Err(error.again(&recipe.settings));
                }
            }
        }
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
            None => K::build(session, recipe, fingerprint).await,
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
