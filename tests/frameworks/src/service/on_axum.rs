//! axum.

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use poolhouse::{Error, PgEngine, RequestTransaction, Shutdown, with_pool};
use sqlx::Postgres;
use tokio::net::TcpListener;

use super::handlers;
use super::requests::listening;

async fn act(
    Path((what, key)): Path<(String, i32)>,
    mut tx: RequestTransaction<Postgres>,
) -> Result<(), Error> {
    handlers::act(&what, key, &mut tx).await
}

/// The program.
///
/// # Errors
///
/// A failed start, and the server's errors.
#[with_pool]
pub async fn main(_db: PgEngine, shutdown: Shutdown) -> anyhow::Result<()> {
    let app = Router::new()
        .route("/readyz", get(poolhouse::axum::readiness))
        .route("/{what}/{key}", post(act))
        .layer(poolhouse::axum::request_transactions());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    listening(listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.wait())
        .await?;
    Ok(())
}
