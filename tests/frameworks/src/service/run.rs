//! Maps names to programs.

use super::{on_actix, on_axum, on_poem, on_rocket, on_tonic};
use crate::sqlx_alone;

/// Runs the service of this name.
///
/// # Errors
///
/// The errors of its `main`, or an unknown name.
pub fn run(name: &str) -> anyhow::Result<()> {
    match name {
        "axum" => on_axum::main(),
        "actix-web" => on_actix::listens_itself::main(),
        "actix-web with Shutdown" => on_actix::with_shutdown::main(),
        "rocket" => on_rocket::listens_itself::main(),
        "rocket with Shutdown" => on_rocket::with_shutdown::main(),
        "tonic" => on_tonic::main(),
        "poem" => on_poem::main(),
        "axum, sqlx alone" => sqlx_alone::on_axum::main(),
        "actix-web, sqlx alone" => sqlx_alone::on_actix::main(),
        "rocket, sqlx alone" => sqlx_alone::on_rocket::main(),
        "tonic, sqlx alone" => sqlx_alone::on_tonic::main(),
        "poem, sqlx alone" => sqlx_alone::on_poem::main(),
        other => anyhow::bail!("there is no service {other:?}"),
    }
}
