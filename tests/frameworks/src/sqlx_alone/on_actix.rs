//! actix-web, with its own signals and defaults.

use actix_web::error::{ErrorInternalServerError, ErrorServiceUnavailable};
use actix_web::{App, HttpServer, web};
use sqlx::PgPool;

use super::{handlers, pool};
use crate::service::requests::listening;

async fn act(
    path: web::Path<(String, i32)>,
    pool: web::Data<PgPool>,
) -> actix_web::Result<&'static str> {
    let (what, key) = path.into_inner();
    let acted = handlers::act(&what, key, &pool).await;
    acted.map_err(ErrorInternalServerError)?;
    Ok("")
}

async fn ready(pool: web::Data<PgPool>) -> actix_web::Result<&'static str> {
    let ready = handlers::ready(&pool).await;
    ready.map_err(ErrorServiceUnavailable)?;
    Ok("")
}

/// The program.
///
/// # Errors
///
/// A failed start, and the server's errors.
#[actix_web::main]
pub async fn main() -> anyhow::Result<()> {
    let pool = pool::connect().await?;
    let state = web::Data::new(pool.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .route("/readyz", web::get().to(ready))
            .route("/{what}/{key}", web::post().to(act))
    })
    .workers(2)
    .bind(("127.0.0.1", 0))?;
    listening(server.addrs()[0]);
    server.run().await?;
    pool.close().await;
    Ok(())
}
