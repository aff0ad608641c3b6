//! A connection that tests of this process reuse together with its database.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::kind::{ConnectionOf, Kind};
use super::leased::Leased;
use super::session::close;
use crate::backend::OptionsOf;
use crate::error::Error;
use crate::pool::{Borrowed, Connector, ServerFacts, open_for};
use crate::settings::{DatabaseUrl, EngineSettings};
use crate::testing::recipe::Recipe;
use crate::testing::url;

/// How long clearing a session may take: a few round trips, and a rollback.
pub(super) const CLEAR_LIMIT: Duration = Duration::from_secs(2);

/// An open connection to a leased database.
pub(super) struct KeptConnection<K: Kind> {
    pub(super) connection: ConnectionOf<K>,
    /// The facts about the server that engines have queried.
    pub(super) asked: ServerFacts,
    /// The driver's options that the connection was opened with. Another test may need others. `None` with a
    /// `before_connect` function, which may give other options for each connection.
    options: Option<String>,
    /// Whether the session was cleared, and nothing of the tests before is left in it or in the driver's part of it.
    is_like_new: bool,
}

/// A connector with the settings of the test's engine, which borrows its connections.
pub(super) fn connector<K: Kind>(
    recipe: &Recipe,
    url: DatabaseUrl,
) -> Result<Arc<Connector<K::DB>>, Error> {
    let mut settings = EngineSettings::clone(&recipe.settings);
    settings.url = url;
    // The engine runs the `session` statements when it takes the connection.
    settings.session = None;
    Ok(Arc::new(Connector::new(settings)?))
}

/// The driver's options of a recipe, without the database; `None` when a `before_connect` function makes them.
pub(super) fn options<K: Kind>(recipe: &Recipe) -> Result<Option<String>, Error> {
    let hook = recipe.settings.before_connect::<OptionsOf<K::DB>>()?;
    if hook.is_some() {
        return Ok(None);
    }
    let anywhere = url::of_database(&recipe.settings, "")?;
    let connector = connector::<K>(recipe, anywhere)?;
    Ok(Some(format!("{:?}", connector.options())))
}

impl<K: Kind> KeptConnection<K> {
    pub(super) async fn open(
        recipe: &Recipe,
        options: Option<String>,
        database: &str,
        since: &mut K::Since,
    ) -> Result<Self, Error> {
        let url = url::of_database(&recipe.settings, database)?;
        let mut connection = open_for(&connector::<K>(recipe, url)?).await?.take();
        K::opened(&mut connection, since).await?;
        Ok(Self {
            connection,
            asked: ServerFacts::default(),
            options,
            is_like_new: true,
        })
    }

    /// Checks whether the connection, whose session was cleared, is like new. Its database has the content of the template. This
    /// takes a few milliseconds, and so is done when a test has ended and not when the next one begins.
    pub(super) async fn check(&mut self, content: &K::Content, since: &K::Since) {
        let is_like_new = K::is_like_new(&mut self.connection, content, since);
        self.is_like_new = matches!(timeout(CLEAR_LIMIT, is_like_new).await, Ok(Ok(true)));
    }

    /// Whether a test with these options may have the connection: the connection was opened with them, and is like new.
    pub(super) fn fits(&self, options: Option<&str>) -> bool {
        options.is_some() && self.options.as_deref() == options && self.is_like_new
    }

    /// Lends the connection to the engine of a test.
    pub(super) fn lend(self) -> BorrowedConnection<K> {
        BorrowedConnection {
            borrowed: Borrowed::new(self.connection, self.asked),
            options: self.options,
        }
    }

    pub(super) async fn close(self) {
        close::<K>(self.connection).await;
    }
}

/// A connection while a test has it.
pub(super) struct BorrowedConnection<K: Kind> {
    pub(super) borrowed: Arc<Borrowed<K::DB>>,
    options: Option<String>,
}

impl<K: Kind> BorrowedConnection<K> {
    /// Takes the connections that the test's engine has returned.
    pub(super) fn take_all(&self) -> Vec<KeptConnection<K>> {
        let all = self.borrowed.take_all().into_iter();
        all.map(|connection| KeptConnection {
            connection,
            asked: self.borrowed.asked(),
            options: self.options.clone(),
            is_like_new: false,
        })
        .collect()
    }

    /// Takes one returned connection with a cleared session; `None` when there is none. Closes all others.
    pub(super) async fn take_back(self, leased: &mut Leased<K>) -> Option<KeptConnection<K>> {
        K::opened_by_engine(&mut leased.since, self.borrowed.opened());
        let mut all = self.take_all().into_iter();
        let kept = all.next();
        for surplus in all {
            surplus.close().await;
        }
        let mut kept = kept?;
        match timeout(CLEAR_LIMIT, K::clear_session(&mut kept.connection)).await {
            Ok(Ok(true)) => return Some(kept),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a test's session cannot be used again");
            }
            Ok(Ok(false)) | Err(_) => {}
        }
        kept.close().await;
        None
    }
}
