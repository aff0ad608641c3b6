//! Templates: made once for each fingerprint, by whoever comes first, among all processes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::kind::{Kind, template_lock};
use super::{Server, lock};
use crate::error::Error;
use crate::testing::recipe::Recipe;

/// How often a process looks whether another one has finished the template that it waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A complete template.
pub(in crate::testing) struct Template<K: Kind> {
    pub(in crate::testing) fingerprint: String,
    pub(in crate::testing) content: K::Template,
}

/// The templates that this process has asked for. A failure is remembered too: the next test would fail the same way.
pub(super) struct Templates<K: Kind>(Mutex<HashMap<String, Arc<Known<K>>>>);

type Known<K> = OnceCell<Result<Arc<Template<K>>, Error>>;

impl<K: Kind> Default for Templates<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Kind> Server<K> {
    /// The template of this recipe, made if it is not there.
    pub(super) async fn template(&self, recipe: &Recipe) -> Result<Arc<Template<K>>, Error> {
        let fingerprint = recipe.fingerprint(&self.identity().await?.server);
        let known = Arc::clone(
            lock(&self.templates.0)
                .entry(fingerprint.clone())
                .or_default(),
        );
        let found = known
            .get_or_init(|| async {
                let content = self.find_or_build(recipe, &fingerprint).await?;
                Ok(Arc::new(Template {
                    fingerprint,
                    content,
                }))
            })
            .await;
        match found {
            Ok(template) => Ok(Arc::clone(template)),
            Err(error) => Err(error.again(&recipe.settings)),
        }
    }

    /// Forgets a template that is not there any more, so that the next test finds or makes it.
    pub(super) fn forget_template(&self, fingerprint: &str) {
        lock(&self.templates.0).remove(fingerprint);
    }

    async fn find_or_build(
        &self,
        recipe: &Recipe,
        fingerprint: &str,
    ) -> Result<K::Template, Error> {
        let key = template_lock(fingerprint);
        loop {
            if let Some(content) = self.find_template(fingerprint).await? {
                return Ok(content);
            }
            if self.session().await?.try_lock(&key).await? {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let built = async {
            // Whoever had the lock before may have finished it.
            match self.find_template(fingerprint).await? {
                Some(content) => Ok(content),
                None => K::build(self, recipe, fingerprint).await,
            }
        };
        let built = built.await;
        self.session().await?.unlock(&[key]).await?;
        built
    }

    async fn find_template(&self, fingerprint: &str) -> Result<Option<K::Template>, Error> {
        let identity = self.identity().await?;
        let mut session = self.session().await?;
        let found = K::find_template(session.connection(), fingerprint, &identity).await;
        Ok(session.seen(found)?)
    }
}
