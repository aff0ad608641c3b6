//! The setters of what stands between the program and its servers: nodes, a pooler, credentials.

use std::future::Future;
use std::sync::Arc;

use sqlx::error::BoxDynError;

use super::Settings;
use super::connect::Prepare;
use super::words::{IntoWord, Pooler};

/// Further servers.
impl Settings {
    /// A further server of the same engine, such as a read replica: [`Engine::node`](crate::Engine::node) and
    /// [`Engine::reader`](crate::Engine::reader) give it.
    ///
    /// A node has the engine's settings but for what is set here, where its own URL must be.
    ///
    /// ```
    /// use poolhouse::Settings;
    ///
    /// let replica = Settings::new().url("postgres://replica1/bands").max_size(5);
    /// let settings = Settings::new().url("postgres://primary/bands").node("replica1", replica);
    /// ```
    ///
    /// ```toml
    /// # poolhouse.toml
    /// [engine.nodes.replica1]
    /// url = "postgres://replica1/bands"     # POOLHOUSE_NODES_REPLICA1_URL
    /// max_size = 5                          # POOLHOUSE_NODES_REPLICA1_MAX_SIZE
    /// ```
    #[must_use]
    pub fn node(self, name: impl Into<String>, settings: Settings) -> Self {
        self.add_node(name.into(), settings)
    }
}

/// A pooler in between.
impl Settings {
    /// What stands between this program and the server: a [`Pooler`], or `"pgbouncer"`. Default: nothing.
    ///
    /// Each statement is then safe on whichever server session it lands on, in every mode of the pooler: one with
    /// parameters runs inside a short transaction of its own, which costs two round trips. There is no state of a session,
    /// so [`session`](Self::session), `LISTEN` and a `sqlx::Pool` parameter are errors.
    #[track_caller]
    #[must_use]
    pub fn pooler(self, pooler: impl IntoWord<Pooler>) -> Self {
        self.set("pooler", pooler.into_text())
    }

    /// The URL past the pooler, straight to the server: for migrations, extensions, the databases of tests, and
    /// [`connect_options`](crate::Engine::connect_options). Default: there is none, and [`url`](Self::url) is used.
    #[track_caller]
    #[must_use]
    pub fn direct_url(self, url: impl Into<String>) -> Self {
        self.set("direct_url", url.into())
    }
}

/// Who we are.
impl Settings {
    /// An async function over the driver's connect options that is called before each connect, after
    /// [`connect_with`](Self::connect_with): for a password that is a token and expires. In code only.
    ///
    /// What it fails with is the error of the connect, and is tried again as a server that is not there. It counts for
    /// `connect_timeout`. Connections that were opened before live on, up to `max_lifetime`; after a secret was withdrawn,
    /// [`Engine::evict`](crate::Engine::evict) retires them.
    ///
    /// ```
    /// use poolhouse::Settings;
    /// use sqlx::postgres::PgConnectOptions;
    ///
    /// async fn fetch_token(options: PgConnectOptions) -> Result<PgConnectOptions, std::io::Error> {
    ///     let token = tokio::fs::read_to_string("/run/secrets/db-token").await?;
    ///     Ok(options.password(token.trim()))
    /// }
    ///
    /// let settings = Settings::new().before_connect(fetch_token);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn before_connect<O, F, Fut, E>(self, prepare: F) -> Self
    where
        O: Send + 'static,
        F: Fn(O) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
        E: Into<BoxDynError> + 'static,
    {
        let prepare: Prepare<O> = Arc::new(move |options| {
            let prepared = prepare(options);
            Box::pin(async move { prepared.await.map_err(Into::into) })
        });
        self.add_before::<O, F>(prepare)
    }
}
