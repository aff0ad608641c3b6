//! The setters for nodes, a pooler and credentials.

use std::future::Future;
use std::sync::Arc;

use sqlx::error::BoxDynError;

use super::Settings;
use super::connect::Prepare;
use super::words::{IntoWord, Pooler};

/// Further servers.
impl Settings {
    /// A further server of the same engine, such as a read replica, for [`Engine::node`](crate::Engine::node) and
    /// [`Engine::reader`](crate::Engine::reader).
    ///
    /// A node inherits the engine's settings, except those set here. It needs a URL of its own.
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

/// The pooler.
impl Settings {
    /// The pooler between this program and the server: a [`Pooler`], or `"pgbouncer"`. Default: none.
    ///
    /// Each statement is then safe on any server session, with `pool_mode = session` or `transaction` of pgbouncer. A
    /// statement with parameters runs inside a short transaction of its own, which costs two round trips. With
    /// `pool_mode = statement`, pgbouncer allows no transaction, and a start fails. No session state is kept, so
    /// [`session`](Self::session), `LISTEN` and a `sqlx::Pool` parameter are errors.
    #[track_caller]
    #[must_use]
    pub fn pooler(self, pooler: impl IntoWord<Pooler>) -> Self {
        self.set("pooler", pooler.into_text())
    }

    /// The URL past the pooler, straight to the server: for migrations, extensions, the databases of tests,
    /// `Engine::listener` and [`connect_options`](crate::Engine::connect_options). Default: none; [`url`](Self::url) is used.
    #[track_caller]
    #[must_use]
    pub fn direct_url(self, url: impl Into<String>) -> Self {
        self.set("direct_url", url.into())
    }
}

/// The credentials.
impl Settings {
    /// An async function over the driver's connect options, called before each connect and after
    /// [`connect_with`](Self::connect_with). For a password that is an expiring token. In code only.
    ///
    /// An error of the function is the error of the connect, and is retried like an unreachable server. The function's
    /// time counts towards `connect_timeout`. Open connections are kept, up to `max_lifetime`; after a secret was
    /// revoked, [`Engine::evict`](crate::Engine::evict) retires them. In a test with a database of its own, options with
    /// another database are an error.
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
