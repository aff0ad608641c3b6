//! A listener for `NOTIFY`, on a connection outside the pool.

use std::future::Future;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{PgPool, Postgres};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::Instrument;

use super::Engine;
use crate::background;
use crate::logging::with_callers_subscriber;
use crate::pool::RECOVERY_LIMIT;

impl Engine<Postgres> {
    /// Opens a listener for [`NOTIFY`](https://www.postgresql.org/docs/current/sql-listen.html) on a connection outside the
    /// pool.
    ///
    /// It uses `direct_url` if set, because a pooler in transaction mode keeps no `LISTEN`. It reconnects by itself, with the
    /// options of its first connect: [`before_connect`](crate::Settings::before_connect) runs once. Only its owner closes it.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or the error of `before_connect`.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point.
    pub fn listener(&self) -> impl Future<Output = sqlx::Result<PgListener>> + Send + use<> {
        let connector = self.connector();
        async move {
            let options = connector.direct().next_options().await?;
            // In a task of its own, because an interrupted opening would leave a half-open session on the server.
            let open = Box::pin(NewListener::open(options).in_current_span());
            let open = with_callers_subscriber(open);
            let opened = background::finish(&Handle::current(), RECOVERY_LIMIT, open).await;
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
    async fn open(options: PgConnectOptions) -> sqlx::Result<Self> {
        // As `PgListener::connect`, which accepts only a URL.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(options)
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
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
