//! poem, after its example `graceful-shutdown`, whose limit is five seconds.

use std::time::Duration;

use poem::error::{InternalServerError, ServiceUnavailable};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::web::{Data, Path};
use poem::{EndpointExt, Route, Server, get, handler, post};
use sqlx::PgPool;

use super::signals::shutdown_signal;
use super::{handlers, pool};
use crate::service::requests::listening;

#[handler]
async fn act(pool: Data<&PgPool>, Path((what, key)): Path<(String, i32)>) -> poem::Result<()> {
    let acted = handlers::act(&what, key, pool.0).await;
    acted.map_err(InternalServerError)
}

#[handler]
async fn ready(pool: Data<&PgPool>) -> poem::Result<()> {
    let ready = handlers::ready(pool.0).await;
    ready.map_err(ServiceUnavailable)
}

/// The program.
///
/// # Errors
///
/// A failed start, and the server's errors.
#[tokio::main]
pub async fn main() -> anyhow::Result<()> {
    let pool = pool::connect().await?;
    let app = Route::new()
        .at("/readyz", get(ready))
        .at("/:what/:key", post(act))
        .data(pool.clone());
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await?;
    let address = acceptor.local_addr();
    let address = address.first().and_then(|address| address.as_socket_addr());
    listening(address.ok_or_else(|| anyhow::anyhow!("no address"))?);
    Server::new_with_acceptor(acceptor)
        .run_with_graceful_shutdown(app, shutdown_signal(), Some(Duration::from_secs(5)))
        .await?;
    pool.close().await;
    Ok(())
}
