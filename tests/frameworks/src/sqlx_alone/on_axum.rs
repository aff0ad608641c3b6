//! axum, after its examples `sqlx-postgres` and `graceful-shutdown`.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use sqlx::PgPool;
use tokio::net::TcpListener;

use super::signals::shutdown_signal;
use super::{handlers, pool};
use crate::service::requests::listening;

async fn act(
    State(pool): State<PgPool>,
    Path((what, key)): Path<(String, i32)>,
) -> Result<(), StatusCode> {
    handlers::act(&what, key, &pool)
        .await
        .map_err(internal_error)
}

async fn ready(State(pool): State<PgPool>) -> Result<(), StatusCode> {
    let ready = handlers::ready(&pool).await;
    ready.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

#[allow(clippy::needless_pass_by_value, reason = "it is for `map_err`")]
fn internal_error(error: sqlx::Error) -> StatusCode {
    tracing::error!("a request fails: {error}");
    StatusCode::INTERNAL_SERVER_ERROR
}

/// The program.
///
/// # Errors
///
/// A failed start, and the server's errors.
#[tokio::main]
pub async fn main() -> anyhow::Result<()> {
    let pool = pool::connect().await?;
    let app = Router::new()
        .route("/readyz", get(ready))
        .route("/{what}/{key}", post(act))
        .with_state(pool.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    listening(listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown_signal())
        .await?;
    pool.close().await;
    Ok(())
}
