//! A listener for `NOTIFY`, on a connection outside the pool.

use std::future::Future;
use std::sync::Arc;

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{PgPool, Postgres};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::Instrument;

use super::Engine;
use crate::background;
use crate::error::{Error, UsageError};
use crate::logging::with_callers_subscriber;
use crate::pool::{Connector, RECOVERY_LIMIT};

impl Engine<Postgres> {
    /// Opens a listener for [`NOTIFY`](https://www.postgresql.org/docs/current/sql-listen.html) on a connection outside the
    /// pool.
    ///
    /// It uses `direct_url` if set, because a pooler in transaction mode keeps no `LISTEN`. With several hosts it chooses one as
    /// the pool does, with a connection of its own before that of the listener: [`before_connect`](crate::Settings::before_connect)
    /// runs for both. It reconnects by itself, to the same host and with the options of its first connect, without `before_connect`.
    /// Only its owner closes it.
    ///
    /// # Errors
    ///
    /// The server cannot be reached within `connect_timeout`, the error of `before_connect`, or
    /// [`UsageError`](crate::UsageError) outside a tokio runtime, or behind a pooler without `direct_url`.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point.
    pub fn listener(&self) -> impl Future<Output = sqlx::Result<PgListener>> + Send + use<> {
        let engine = self.clone();
        async move {
            let Ok(runtime) = Handle::try_current() else {
                let engine = engine.0.name.clone();
                return Err(Error::from(UsageError::NoRuntime { engine }).into());
            };
            let connector = engine.connector();
            let direct = Arc::clone(connector.direct());
            if direct.settings.pooler.is_some() {
                return Err(Error::from(UsageError::listen(&direct.settings)).into());
            }
            // In a task of its own, because an interrupted opening would leave a half-open session on the server.
            let open = NewListener::open(direct);
            let open = with_callers_subscriber(Box::pin(open.in_current_span()));
            let opened = background::finish(&runtime, RECOVERY_LIMIT, open).await;
            opened.unwrap_or(Err(sqlx::Error::WorkerCrashed))?.take()
        }
    }
}

/// A listener, closed in a task unless it is taken.
struct NewListener {
    listener: Option<PgListener>,
    pool: PgPool,
    runtime: Handle,
}

impl NewListener {
    async fn open(connector: Arc<Connector<Postgres>>) -> sqlx::Result<Self> {
        let options = connector.options_that_work().await?;
        // As `PgListener::connect`, which accepts only a URL.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options);
        let listening = PgListener::connect_with(&pool);
        let mut listener = connector.within_connect_timeout(listening).await?;
        listener.ignore_pool_close_event(true);
        Ok(Self {
            listener: Some(listener),
            pool,
            runtime: Handle::current(),
        })
    }

    fn take(mut self) -> sqlx::Result<PgListener> {
        self.listener.take().ok_or(sqlx::Error::WorkerCrashed)
    }
}

impl Drop for NewListener {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.take() {
            let pool = self.pool.clone();
            // It may be dropped outside any runtime.
            let _entered = self.runtime.enter();
            background::spawn(async move {
                drop(listener);
                // The listener gives its connection back in a task.
                let _ = timeout(RECOVERY_LIMIT, pool.close()).await;
            });
        }
    }
}
