//! Rocket, with its own signals and defaults.

use rocket::config::LogLevel;
use rocket::fairing::AdHoc;
use rocket::http::Status;
use rocket::response::Debug;
use rocket::{Config, State, routes};
use sqlx::PgPool;

use super::{handlers, pool};
use crate::service::requests::listening;

#[rocket::post("/<what>/<key>")]
async fn act(what: &str, key: i32, pool: &State<PgPool>) -> Result<(), Debug<sqlx::Error>> {
    Ok(handlers::act(what, key, pool).await?)
}

#[rocket::get("/readyz")]
async fn ready(pool: &State<PgPool>) -> Result<(), Status> {
    let ready = handlers::ready(pool).await;
    ready.map_err(|_| Status::ServiceUnavailable)
}

/// The program.
///
/// # Errors
///
/// A failed start, and the server's errors.
#[rocket::main]
pub async fn main() -> anyhow::Result<()> {
    let pool = pool::connect().await?;
    let config = Config {
        port: 0,
        log_level: LogLevel::Off,
        ..Config::release_default()
    };
    let port = AdHoc::on_liftoff("port", |rocket| {
        Box::pin(async move { listening(format!("127.0.0.1:{}", rocket.config().port)) })
    });
    rocket::custom(config)
        .attach(port)
        .manage(pool.clone())
        .mount("/", routes![act, ready])
        .launch()
        .await?;
    pool.close().await;
    Ok(())
}
