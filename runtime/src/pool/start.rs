//! Starting a pool: the first connections, side by side, against a server that may not be there yet.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use tokio_util::sync::CancellationToken;

use super::connector::{Connector, Opened};
use super::place::Places;
use super::status::Holder;
use super::yard::Yard;
use super::{Checkout, Flavour, Inner, OnSqlx, Own, Pool, keeper};
use crate::backend::{Backend, Diagnosis, words};
use crate::error::{StartError, Tries};

impl<DB: Backend> Pool<DB> {
    /// Starts a pool of the engine's own.
    ///
    /// # Errors
    ///
    /// No connection within `start_timeout`, or one that the server refused for good. Nothing stays open.
    pub(crate) async fn start(connector: Arc<Connector<DB>>) -> Result<Self, StartError> {
        let settings = Arc::clone(&connector.settings);
        let max = settings.max_size as usize;
        let yard = Arc::new(Yard::new(connector));
        let places = deadpool::managed::Pool::builder(Places::new())
            .max_size(max)
            // The most recently used connection is the one most likely to be alive, and lets the others grow idle.
            .queue_mode(deadpool::managed::QueueMode::Lifo)
            .build()
            .map_err(|error| StartError::pool(&settings, &error.to_string()))?;
        let own = Own {
            places,
            yard,
            closing: CancellationToken::new(),
            anchor: Mutex::new(None),
        };

        let wanted = if settings.lazy {
            0
        } else {
            (settings.min_size as usize).max(1)
        };
        own.open_side_by_side(wanted).await?;
        own.drop_anchor().await?;

        let inner = Arc::new(Inner {
            flavour: Flavour::Own(own),
            settings,
        });
        inner.start_keeper();
        Ok(Self(inner))
    }

    /// Starts the engine on a `sqlx::Pool` with the same settings.
    ///
    /// # Errors
    ///
    /// As [`Pool::start`].
    pub(crate) async fn start_on_sqlx(connector: Arc<Connector<DB>>) -> Result<Self, StartError> {
        let settings = Arc::clone(&connector.settings);
        if settings.pooler.is_some() {
            return Err(StartError::pooler_under_sqlx(&settings));
        }
        if connector.credentials.are_fetched() {
            return Err(StartError::credentials_under_sqlx(&settings));
        }
        if !connector.hosts.is_one() {
            return Err(StartError::hosts_under_sqlx(&settings));
        }
        let flavour = Flavour::Sqlx(OnSqlx::start(connector).await?);
        Ok(Self(Arc::new(Inner { flavour, settings })))
    }
}

impl<DB: Backend> Inner<DB> {
    fn start_keeper(self: &Arc<Self>) {
        let settings = &self.settings;
        let pause = keeper::pause([
            settings.idle_timeout,
            settings.max_lifetime,
            settings.leak_after,
        ]);
        // Not among the pool's tracked tasks: nobody waits for it, and it ends by itself.
        let Flavour::Own(own) = &self.flavour else {
            return;
        };
        let lost = Arc::clone(&own.yard.lost);
        tokio::spawn(keeper::keep(Arc::downgrade(self), pause, lost));
    }
}

impl<DB: Backend> Own<DB> {
    /// Opens that many connections at once. If one fails for good, the others are closed again.
    async fn open_side_by_side(&self, wanted: usize) -> Result<(), StartError> {
        let openings = (0..wanted).map(|nth| async move {
            let mut opened = open_patiently(&self.yard.connector).await?;
            if nth == 0 {
                // While the others are opening, so that it takes no time of its own.
                opened.look_for_pooler().await;
            }
            Ok(opened)
        });
        let mut opened = Vec::with_capacity(wanted);
        let mut failure = None;
        // All to their end: they share the start's time limit, and the first error is to be told when all is closed.
        for opening in futures_util::future::join_all(openings).await {
            match opening {
                Ok(connection) => opened.push(connection),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(error) = failure {
            futures_util::future::join_all(opened.into_iter().map(Opened::goodbye)).await;
            return Err(error);
        }
        let mut filled = Vec::with_capacity(wanted);
        for connection in opened {
            // The pool is new: there is a place for each, and it is empty.
            if let Ok(mut held) = self.places.get().await {
                held.0 = Some(Box::new(self.yard.opened(connection)));
                filled.push(held);
            }
        }
        // Dropping them all together puts them into the queue.
        drop(filled);
        Ok(())
    }

    /// An in-memory database lives as long as a connection to it, so one is kept aside for as long as the pool.
    async fn drop_anchor(&self) -> Result<(), StartError> {
        if !self.yard.connector.in_memory() {
            return Ok(());
        }
        let opened = open_patiently(&self.yard.connector).await?;
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened.take());
        Ok(())
    }
}

/// Opens one connection, again and again within `start_timeout` while the server is not ready.
pub(super) async fn open_patiently<DB: Backend>(
    connector: &Arc<Connector<DB>>,
) -> Result<Opened<DB>, StartError> {
    patiently(connector, || connector.connect_to_the_end()).await
}

/// A connection past the pooler, outside the pool; `None` when none is known of.
pub(crate) async fn open_direct<DB: Backend>(
    connector: &Arc<Connector<DB>>,
) -> Result<Option<Checkout<DB>>, StartError> {
    let direct = connector.direct();
    if Arc::ptr_eq(direct, connector) {
        return Ok(None);
    }
    let opened = open_patiently(direct).await?;
    let checkout = Checkout::alone(opened.take(), Arc::clone(direct), Holder::Engine);
    Ok(Some(checkout))
}

/// The same for code that knows the database: the compiler cannot tell that the future above is `Send` once it also sees
/// the driver's own types in it (<https://github.com/rust-lang/rust/issues/102211>).
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) fn open_for<DB: Backend>(
    connector: &Arc<Connector<DB>>,
) -> futures_core::future::BoxFuture<'_, Result<Opened<DB>, StartError>> {
    Box::pin(open_patiently(connector))
}

/// Repeats an opening while its failures are of the kind that passes, within `start_timeout`.
pub(super) async fn patiently<DB, T, F>(
    connector: &Connector<DB>,
    mut open: impl FnMut() -> F,
) -> Result<T, StartError>
where
    DB: Backend,
    F: Future<Output = sqlx::Result<T>>,
{
    let settings = &connector.settings;
    let begun = Instant::now();
    let mut attempts = 1_u32;
    let mut last: Option<(Diagnosis, String)> = None;
    // From 50 ms, which a starting server needs at least, up to 2 s; jitter keeps many programs out of step.
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times();
    let opening = (|| {
        let attempt = open();
        async {
            attempt
                .await
                .map_err(|error| (connector.dialect().diagnosis(&error), error))
        }
    })
    .retry(pauses)
    .when(|(diagnosis, _)| diagnosis.retry && !settings.tries_once)
    .notify(|(diagnosis, error), pause| {
        tracing::info!(
            engine = %settings.engine,
            url = %settings.url,
            "{}: {}; attempt {attempts}, the next in {}",
            diagnosis.what,
            words(error),
            humantime::format_duration(keeper::whole_millis(pause)),
        );
        attempts += 1;
        last = Some((diagnosis.clone(), words(error)));
    });
    let (diagnosis, cause) = match tokio::time::timeout(settings.start_timeout, opening).await {
        Ok(Ok(opened)) => return Ok(opened),
        Ok(Err((diagnosis, error))) => (diagnosis, words(&error)),
        Err(_) => last.unwrap_or_else(|| (Diagnosis::silence(), "no answer".to_owned())),
    };
    let tries = Tries {
        attempts,
        took: begun.elapsed(),
    };
    Err(StartError::connect(
        settings,
        connector.dialect(),
        &diagnosis,
        tries,
        &cause,
    ))
}
