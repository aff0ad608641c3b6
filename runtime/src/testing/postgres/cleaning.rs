//! Used databases: made clean for the next test, where that is exact, or dropped.

use std::sync::Arc;

use super::door::{self, Door, LentDoor};
use super::stock::Leased;
use super::template::{Template, execute};
use super::{Site, locks, names};
use crate::error::Error;
use crate::testing::recipe::Recipe;

/// A leased database that holds what its template does, and the way into it.
pub(super) struct Clean {
    pub(super) leased: Leased,
    pub(super) door: Door,
}

impl Site {
    /// Takes a database back from a test: makes it clean for another one, or drops it.
    pub(super) async fn take_back(
        self: &Arc<Self>,
        recipe: &Recipe,
        template: &Arc<Template>,
        leased: Leased,
        door: Option<LentDoor>,
    ) -> Result<(), Error> {
        let door = match door {
            Some(door) => door.take_back().await,
            None => None,
        };
        let in_place = match door {
            Some(door) => clean_in_place(template, leased.clone(), door).await,
            None => None,
        };
        let clean = match in_place {
            Some(clean) => Some(clean),
            None => self.clean_in_hiding(recipe, template, leased).await?,
        };
        match clean {
            Some(clean) => self.keep_database(template, clean).await,
            None => Ok(()),
        }
    }

    /// Undoes what a test has done, under another name; drops the database when that cannot be done.
    pub(super) async fn clean_in_hiding(
        &self,
        recipe: &Recipe,
        template: &Template,
        used: Leased,
    ) -> Result<Option<Clean>, Error> {
        let Leased { oid, name, since } = used;
        // Under a name that nobody knows, so that nothing that outlived the test comes back.
        let hidden = names::reset(&template.fingerprint, since);
        let renamed = async {
            self.until_quiet(&name).await?;
            self.session
                .take()
                .await?
                .execute(format!("ALTER DATABASE {name} RENAME TO {hidden}"))
                .await?;
            Ok::<_, Error>(())
        };
        if let Err(error) = renamed.await {
            // Another process was quicker, or the server does not let us: its lock is all that we had.
            tracing::debug!(%error, "a used database cannot be returned now");
            self.session
                .take()
                .await?
                .unlock(&[locks::lease(oid)])
                .await?;
            return Ok(None);
        }
        let name = hidden;
        let leased = Leased { oid, name, since };
        let restored = async {
            let mut door = Door::open(recipe, door::options(recipe)?, &leased).await?;
            // They are not of the time before the test.
            door.counts = None;
            Ok::<_, Error>(restore(template, leased.clone(), door).await?)
        };
        match restored.await {
            Ok(Some(clean)) => return Ok(Some(clean)),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, engine = %recipe.settings.engine, "a used database cannot be restored");
            }
        }
        let mut worker = self.worker().await?;
        execute(
            &mut worker,
            format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", leased.name),
        )
        .await?;
        self.put_back(worker);
        self.session
            .take()
            .await?
            .unlock(&[locks::lease(oid)])
            .await?;
        Ok(None)
    }

    /// Makes a clean database ready for any process.
    pub(super) async fn shelve(&self, fingerprint: &str, clean: Clean) -> Result<(), Error> {
        let Clean { leased, door } = clean;
        door.close().await;
        self.until_quiet(&leased.name).await?;
        let ready = names::ready(fingerprint);
        let mut session = self.session.take().await?;
        session
            .execute(format!("ALTER DATABASE {} RENAME TO {ready}", leased.name))
            .await?;
        session.unlock(&[locks::lease(leased.oid)]).await?;
        Ok(())
    }
}

/// Undoes what a test has done, in the session that the test had.
async fn clean_in_place(template: &Template, leased: Leased, door: Door) -> Option<Clean> {
    match restore(template, leased, door).await {
        Ok(clean) => clean,
        Err(error) => {
            tracing::debug!(%error, "a used database cannot be restored in place");
            None
        }
    }
}

/// Undoes what was done; `None`, with the door closed, when that cannot be done.
async fn restore(
    template: &Template,
    mut leased: Leased,
    mut door: Door,
) -> sqlx::Result<Option<Clean>> {
    let restored = template
        .baseline
        .restore(&mut door.connection, &leased, door.counts)
        .await?;
    let Some(restored) = restored else {
        door.close().await;
        return Ok(None);
    };
    door.counts = restored.counts;
    leased.since = restored.since;
    Ok(Some(Clean { leased, door }))
}
