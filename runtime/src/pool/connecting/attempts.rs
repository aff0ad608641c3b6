//! Opening connections for a start, with retries while the server is not ready.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};

use super::connector::{Connector, Opened};
use crate::backend::Backend;
use crate::dialect::{Diagnosis, message};
use crate::error::{Effort, StartError, whole_millis};

/// Opens one connection, with retries within `start_timeout` while the server is not ready.
pub(in crate::pool) async fn open_with_retries<DB: Backend>(
    connector: &Arc<Connector<DB>>,
) -> Result<Opened<DB>, StartError> {
    let limit = connector.settings.start_timeout;
    with_retries(connector, limit, || connector.connect_to_the_end()).await
}

/// Opens a connection to keep open for as long as the pool, because an in-memory database is lost with its last one. `None`
/// for any other database.
pub(in crate::pool) async fn open_anchor<DB: Backend>(
    connector: &Arc<Connector<DB>>,
) -> Result<Option<DB::Connection>, StartError> {
    if !connector.in_memory() {
        return Ok(None);
    }
    Ok(Some(open_with_retries(connector).await?.take()))
}

/// [`open_with_retries`] as a boxed future, for code with a concrete database type. The compiler cannot prove that the future
/// above is `Send` when it also sees the driver's own types in it (<https://github.com/rust-lang/rust/issues/102211>).
#[cfg(all(feature = "testing", any(feature = "postgres", feature = "mysql")))]
pub(crate) fn open_for<DB: Backend>(
    connector: &Arc<Connector<DB>>,
) -> futures_core::future::BoxFuture<'_, Result<Opened<DB>, StartError>> {
    Box::pin(open_with_retries(connector))
}

/// Retries an opening within `limit`, which is what is left of `start_timeout`, as long as its errors are temporary.
pub(in crate::pool) async fn with_retries<DB, T, F>(
    connector: &Connector<DB>,
    limit: Duration,
    mut open: impl FnMut() -> F,
) -> Result<T, StartError>
where
    DB: Backend,
    F: Future<Output = sqlx::Result<T>>,
{
    let settings = &connector.settings;
    let begun = Instant::now();
    let mut attempts = 1_u32;
    let mut last: Option<(Diagnosis, Arc<sqlx::Error>)> = None;
    // From 50 ms, which a starting server needs at least, up to 2 s. Jitter keeps programs from retrying at the same moment.
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
                .map_err(|error| (connector.dialect().diagnosis(&error), Arc::new(error)))
        }
    })
    .retry(pauses)
    .when(|(diagnosis, _)| diagnosis.retry && !settings.tries_once)
    .notify(|(diagnosis, error), pause| {
        crate::logging::info!(
            engine = %settings.engine,
            url = %settings.url,
            "{}: {}; attempt {attempts}, the next in {}",
            diagnosis.what,
            message(error),
            whole_millis(pause),
        );
        attempts += 1;
        last = Some((diagnosis.clone(), Arc::clone(error)));
    });
    let (diagnosis, cause) = match tokio::time::timeout(limit, opening).await {
        Ok(Ok(opened)) => return Ok(opened),
        Ok(Err((diagnosis, error))) => (diagnosis, Some(error)),
        Err(_) => match last {
            Some((diagnosis, error)) => (diagnosis, Some(error)),
            None => (Diagnosis::no_answer(), None),
        },
    };
    let tries = Effort {
        attempts,
        took: begun.elapsed(),
    };
    Err(StartError::connect(
        settings,
        connector.dialect(),
        &diagnosis,
        tries,
        cause,
    ))
}
