//! The health check: an answer of the server within a limit, or whether the pool or the server is at fault.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::pool::PoolConnection;
use tokio::runtime::Handle;
use tokio::time::timeout_at;

use super::Engine;
use crate::backend::Backend;
use crate::background;
use crate::error::{AcquireError, Error, UsageError};
use crate::pool::{Connector, Holder, Status};

/// The limit of [`Engine::health`]. Probes of orchestrators and load balancers give up after 1 to 10 seconds.
const LIMIT: Duration = Duration::from_secs(5);

/// The result of [`Engine::health`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// From the request for a connection to the server's answer.
    pub latency: Duration,
    /// The pool at that moment.
    pub status: Status,
}

impl<DB: Backend> Engine<DB> {
    /// Pings the server over a connection of the pool, for up to 5 seconds or `acquire_timeout` if that is shorter.
    ///
    /// # Errors
    ///
    /// As [`health_within`](Engine::health_within).
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point.
    #[track_caller]
    pub fn health(&self) -> impl Future<Output = Result<Health, Error>> + Send + use<DB> {
        let limit = LIMIT.min(self.connector().settings.acquire_timeout);
        self.check_health(limit, Location::caller())
    }

    /// Pings the server over a connection of the pool, and gives up at the limit.
    ///
    /// # Errors
    ///
    /// [`Error::Acquire`] with its kind: [`TimedOut`](crate::AcquireKind::TimedOut) when all connections were in use up to
    /// the limit, which says nothing about the server; [`NoAnswer`](crate::AcquireKind::NoAnswer) when the server gave no
    /// answer; and the others as [`acquire`](Engine::acquire). [`Error::Database`] when it answered with an error.
    /// [`Error::Usage`] outside a tokio runtime.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point.
    #[track_caller]
    pub fn health_within(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<Health, Error>> + Send + use<DB> {
        self.check_health(limit, Location::caller())
    }

    fn check_health(
        &self,
        limit: Duration,
        location: &'static Location<'static>,
    ) -> impl Future<Output = Result<Health, Error>> + Send + use<DB> {
        let engine = self.clone();
        async move {
            if Handle::try_current().is_err() {
                return Err(UsageError::NoRuntime {
                    engine: engine.0.name.clone(),
                }
                .into());
            }
            let begun = Instant::now();
            let is_asked = AtomicBool::new(false);
            let ask = engine.ask(begun, location, &is_asked);
            let Some(until) = begun.checked_add(limit) else {
                return ask.await;
            };
            let answer = timeout_at(until.into(), ask).await;
            answer.unwrap_or_else(|_| Err(engine.unhealthy(limit, is_asked.into_inner()).into()))
        }
    }

    /// Pings the server. `is_asked` is set while the server's answer is awaited.
    async fn ask(
        &self,
        begun: Instant,
        location: &'static Location<'static>,
        is_asked: &AtomicBool,
    ) -> Result<Health, Error> {
        // A checkout from a `sqlx::Pool` does not show whether it waits for the server.
        let idle = self.as_sqlx_pool().and_then(|pool| pool.try_acquire());
        is_asked.store(idle.is_some(), Relaxed);
        if let Some(idle) = idle {
            let mut asked = AskedConnection {
                connection: Some(idle),
                connector: self.connector(),
            };
            if let Some(connection) = &mut asked.connection {
                connection.ping().await?;
            }
            asked.has_answered();
        } else {
            let mut checkout = self.checkout(Holder::Code(location)).await?;
            is_asked.store(true, Relaxed);
            checkout
                .run(|connection, _| Box::pin(connection.ping()))
                .await?;
        }
        Ok(Health {
            latency: begun.elapsed(),
            status: self.status(),
        })
    }

    /// The error at the limit: all connections are in use, or the server did not answer.
    fn unhealthy(&self, limit: Duration, is_asked: bool) -> AcquireError {
        let settings = &self.connector().settings;
        let status = self.status();
        if !is_asked && status.max > 0 && status.in_use >= status.max {
            AcquireError::busy(settings, limit, &status)
        } else {
            AcquireError::no_answer(settings, limit)
        }
    }
}

/// A connection of a `sqlx::Pool` during a ping. Without an answer it does not return to the pool.
struct AskedConnection<DB: Backend> {
    connection: Option<PoolConnection<DB>>,
    connector: Arc<Connector<DB>>,
}

impl<DB: Backend> AskedConnection<DB> {
    fn has_answered(mut self) {
        drop(self.connection.take());
    }
}

impl<DB: Backend> Drop for AskedConnection<DB> {
    fn drop(&mut self) {
        if let Some(silent) = self.connection.take() {
            let silent = silent.detach();
            let connector = Arc::clone(&self.connector);
            background::spawn(async move {
                connector.close(silent).await;
            });
        }
    }
}
