//! Starting a pool: opens the first connections concurrently, with retries while the server is not ready.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::checked_out::CheckedOut;
use super::connecting::{Connector, Opened, open_anchor, open_with_retries, with_retries};
use super::handle::{Flavour, Inner, Own, Pool};
use super::on_sqlx::OnSqlx;
use super::registry::Holder;
use super::shared::Shared;
use super::slots::Slots;
use super::{deadline, keeper};
use crate::backend::Backend;
use crate::error::StartError;
use crate::lock::lock;

impl<DB: Backend> Pool<DB> {
    /// Starts a pool with its own slots.
    ///
    /// # Errors
    ///
    /// No connection within `start_timeout`, or a permanent refusal by the server. No connection stays open.
    pub(crate) async fn start(connector: Arc<Connector<DB>>) -> Result<Self, StartError> {
        let settings = Arc::clone(&connector.settings);
        let own = Own {
            slots: Slots::new(settings.max_size as usize),
            shared: Arc::new(Shared::new(connector)),
            closing: CancellationToken::new(),
            anchor: Mutex::new(None),
            kept_empty: Mutex::default(),
        };

        let wanted = if settings.lazy {
            0
        } else {
            // With a `max_size` of 0 no task can get a connection, but one is opened to see whether the server is reachable.
            settings.min_size.min(settings.max_size).max(1) as usize
        };
        own.open_side_by_side(wanted).await?;
        if wanted > 0 {
            own.shared.note_answered(true);
        }
        *lock(&own.anchor) = open_anchor(&own.shared.connector).await?;

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
        // Not among the pool's tracked tasks: a close does not wait for the keeper, which ends by itself.
        let Flavour::Own(own) = &self.flavour else {
            return;
        };
        let wake = Arc::clone(&own.shared.wake_keeper);
        tokio::spawn(keeper::keep(Arc::downgrade(self), pause, wake));
        let pool = Arc::downgrade(self);
        tokio::spawn(deadline::watch(move || match &pool.upgrade()?.flavour {
            Flavour::Own(own) => Some(own.slots.clone()),
            Flavour::Sqlx(_) => None,
        }));
    }
}

impl<DB: Backend> Own<DB> {
    /// Opens `wanted` connections concurrently. If one fails permanently, the others are closed again.
    async fn open_side_by_side(&self, wanted: usize) -> Result<(), StartError> {
        let openings = (0..wanted).map(|nth| async move {
            let connector = &self.shared.connector;
            if nth == 0 {
                let limit = connector.settings.start_timeout;
                with_retries(connector, limit, || async {
                    let mut opened = connector.connect_to_the_end().await?;
                    let asked = async {
                        opened.ask_for_version().await?;
                        opened.try_transaction().await
                    };
                    match asked.await {
                        Ok(()) => Ok(opened),
                        Err(error) => {
                            opened.close().await;
                            Err(error)
                        }
                    }
                })
                .await
            } else {
                open_with_retries(connector).await
            }
        });
        let mut opened = Vec::with_capacity(wanted);
        let mut failure = None;
        // All run to their end: they share the start's time limit, and the first error is returned once all are closed.
        for opening in futures_util::future::join_all(openings).await {
            match opening {
                Ok(connection) => opened.push(connection),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(error) = failure {
            futures_util::future::join_all(opened.into_iter().map(Opened::close)).await;
            return Err(error);
        }
        let mut slots = Vec::with_capacity(wanted);
        for connection in opened {
            // The pool is new: there is a free slot for each connection, unless `max_size` is 0.
            match self.slots.try_take_empty() {
                Some(mut slot) => {
                    slot.value = Some(Box::new(self.shared.opened(connection, 0)));
                    slots.push(slot);
                }
                None => connection.close().await,
            }
        }
        // Dropping the slots together puts their connections into the idle queue.
        drop(slots);
        Ok(())
    }
}

/// Opens a connection past the pooler, outside the pool; `None` without `direct_url`.
pub(crate) async fn open_direct<DB: Backend>(
    connector: &Arc<Connector<DB>>,
) -> Result<Option<CheckedOut<DB>>, StartError> {
    let direct = connector.direct();
    if Arc::ptr_eq(direct, connector) {
        return Ok(None);
    }
    let opened = open_with_retries(direct).await?;
    let checkout = CheckedOut::alone(opened, Arc::clone(direct), Holder::Engine);
    Ok(Some(checkout))
}
