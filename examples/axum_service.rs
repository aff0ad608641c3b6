//! A JSON API for bands and their concerts, on any database.
//!
//! ```sh
//! cargo run --example axum_service -- --help                                      # needs no database
//! cargo run --example axum_service                                                # SQLite, axum_service.db here
//! DATABASE_URL=postgres://user:password@localhost/music cargo run --example axum_service
//! DATABASE_URL=mysql://user:password@localhost/music cargo run --example axum_service
//!
//! curl localhost:8000/readyz
//! curl localhost:8000/healthz
//! curl -H 'content-type: application/json' -d '{"name": "The Lifetimes", "founded": 2015}' localhost:8000/bands
//! curl -H 'content-type: application/json' -d '{"day": "2030-05-15", "venue": "Oslo"}' 'localhost:8000/bands/The%20Lifetimes/concerts'
//! curl localhost:8000/bands
//! ```
//!
//! <http://localhost:8000> in a browser shows the bands and the pool's state. `--port` or `PORT` sets another port; 0 takes a
//! free one, which the output names. The migrations are embedded in the program and run when it starts.
//!
//! `main` parses the arguments, and only then calls `serve`, which has the pool.
//!
//! On SIGTERM or Ctrl-C axum accepts no new connection and finishes its open requests. Then the body returns, and the pool is
//! closed.

use std::env;
use std::net::Ipv4Addr;

use anyhow::Context;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use poolhouse::{AcquireError, AnyEngine, Shutdown, with_pool};
use serde::{Deserialize, Serialize};
use sqlx::error::ErrorKind;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use tokio::net::TcpListener;

const USAGE: &str = "usage: axum_service [--port PORT]

Serves bands and their concerts on http://localhost:PORT, from the database of DATABASE_URL.";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    if let Some(port) = port()? {
        return serve(port).await;
    }
    println!("{USAGE}");
    Ok(())
}

/// The port of the arguments, of the environment or 8000; `None` for `--help`.
fn port() -> anyhow::Result<Option<u16>> {
    let mut arguments = env::args().skip(1);
    let port = match arguments.next().as_deref() {
        None => env::var("PORT").unwrap_or_else(|_| "8000".to_owned()),
        Some("--port") => arguments.next().context(USAGE)?,
        Some("--help" | "-h") => return Ok(None),
        Some(other) => anyhow::bail!("unknown argument {other}\n{USAGE}"),
    };
    Ok(Some(
        port.parse().with_context(|| format!("the port {port}"))?,
    ))
}

#[with_pool(
    url = "sqlite:axum_service.db?mode=rwc",
    migrations = "migrations",
    signals = true
)]
async fn serve(port: u16, #[pool] db: AnyEngine, #[pool] shutdown: Shutdown) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, routes(db))
        .with_graceful_shutdown(shutdown.wait())
        .await?;
    Ok(())
}

fn routes(db: AnyEngine) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/readyz", get(ready))
        .route("/healthz", get(health))
        .route("/bands", get(list_bands).post(add_band))
        .route("/bands/{band}", get(show_band))
        .route(
            "/bands/{band}/concerts",
            get(list_concerts).post(add_concert),
        )
        .with_state(db)
}

#[derive(Serialize, Deserialize, sqlx::FromRow)]
struct Band {
    name: String,
    founded: i32,
}

#[derive(Serialize, Deserialize, sqlx::FromRow)]
struct Concert {
    day: String,
    venue: String,
}

async fn list_bands(State(db): State<AnyEngine>) -> Result<Json<Vec<Band>>, ApiError> {
    let bands = sqlx::query_as("SELECT name, founded FROM band ORDER BY name")
        .fetch_all(&db)
        .await?;
    Ok(Json(bands))
}

async fn show_band(
    State(db): State<AnyEngine>,
    Path(band): Path<String>,
) -> Result<Json<Band>, ApiError> {
    let band = sqlx::query_as(sql(&db, "SELECT name, founded FROM band WHERE name = $1"))
        .bind(band)
        .fetch_one(&db)
        .await?;
    Ok(Json(band))
}

async fn add_band(
    State(db): State<AnyEngine>,
    Json(band): Json<Band>,
) -> Result<(StatusCode, Json<Band>), ApiError> {
    let insert = sql(&db, "INSERT INTO band (name, founded) VALUES ($1, $2)");
    sqlx::query(insert)
        .bind(&band.name)
        .bind(band.founded)
        .execute(&db)
        .await?;
    Ok((StatusCode::CREATED, Json(band)))
}

async fn list_concerts(
    State(db): State<AnyEngine>,
    Path(band): Path<String>,
) -> Result<Json<Vec<Concert>>, ApiError> {
    let select = sql(
        &db,
        "SELECT day, venue FROM concert WHERE band = $1 ORDER BY day",
    );
    let concerts = sqlx::query_as(select).bind(band).fetch_all(&db).await?;
    Ok(Json(concerts))
}

async fn add_concert(
    State(db): State<AnyEngine>,
    Path(band): Path<String>,
    Json(concert): Json<Concert>,
) -> Result<(StatusCode, Json<Concert>), ApiError> {
    let insert = sql(
        &db,
        "INSERT INTO concert (band, day, venue) VALUES ($1, $2, $3)",
    );
    sqlx::query(insert)
        .bind(band)
        .bind(&concert.day)
        .bind(&concert.venue)
        .execute(&db)
        .await?;
    Ok((StatusCode::CREATED, Json(concert)))
}

/// An HTML page with the bands and the pool's state.
async fn page(State(db): State<AnyEngine>) -> Result<Html<String>, ApiError> {
    let bands: Vec<(String, i32, i64)> = sqlx::query_as(
        "SELECT name, founded, (SELECT count(*) FROM concert WHERE band = band.name) FROM band ORDER BY name",
    )
    .fetch_all(&db)
    .await?;
    let rows = bands.iter().map(|(name, founded, concerts)| {
        let name = escaped(name);
        format!("<tr><td>{name}</td><td>{founded}</td><td>{concerts}</td></tr>")
    });
    let mut rows = rows.collect::<String>();
    if bands.is_empty() {
        rows += "<tr><td colspan=3>None yet: add one with POST /bands.</td></tr>";
    }
    let status = db.status();
    let database = db.server().map_or_else(String::new, |server| {
        escaped(&format!("{} {}", server.kind, server.version))
    });
    let facts = [
        ("database", database),
        ("readiness", db.readiness().to_string()),
        (
            "connections",
            format!(
                "{} in use, {} idle, at most {}",
                status.in_use, status.idle, status.max
            ),
        ),
        ("waiting", status.waiting.to_string()),
        ("checkouts so far", status.acquired.to_string()),
    ];
    let facts = facts.map(|(name, value)| format!("<tr><th>{name}</th><td>{value}</td></tr>"));
    Ok(Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Bands</title>
<style>body {{ font: 1rem/1.6 system-ui; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }} th, td {{ text-align: left; padding: .2rem .8rem .2rem 0;
border-bottom: 1px solid #ddd }}</style>
<h1>Bands</h1><table><tr><th>name</th><th>founded</th><th>concerts</th></tr>{rows}</table>
<h2>The pool</h2><table>{}</table></html>",
        facts.concat()
    )))
}

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Whether the service accepts requests, for a load balancer. Sends no query.
async fn ready(State(db): State<AnyEngine>) -> (StatusCode, String) {
    let readiness = db.readiness();
    let status = StatusCode::from_u16(readiness.status()).unwrap_or_default();
    (status, readiness.to_string())
}

#[derive(Serialize)]
struct HealthReport {
    database: String,
    latency_ms: f64,
    in_use: usize,
    idle: usize,
    max: usize,
}

/// Checks that the database answers.
async fn health(State(db): State<AnyEngine>) -> Result<Json<HealthReport>, ApiError> {
    let health = db.health().await.map_err(sqlx::Error::from)?;
    Ok(Json(HealthReport {
        database: db
            .server()
            .map(|server| format!("{} {}", server.kind, server.version))
            .unwrap_or_default(),
        latency_ms: health.latency.as_secs_f64() * 1000.0,
        in_use: health.status.in_use,
        idle: health.status.idle,
        max: health.status.max,
    }))
}

/// A statement in the database's own syntax. sqlx's `Any` passes SQL on unchanged, and placeholders differ: Postgres numbers
/// them, MySQL accepts only `?`, SQLite accepts both. Here they are numbered, in the order in which they are bound.
fn sql(db: &AnyEngine, numbered: &'static str) -> SqlStr {
    if db.server().is_none_or(|server| server.kind != "MySQL") {
        return numbered.into_sql_str();
    }
    let unnumbered = (1..=9).fold(numbered.to_owned(), |sql, number| {
        sql.replace(&format!("${number}"), "?")
    });
    // Still text of this program alone: the user's values are bound.
    AssertSqlSafe(unnumbered).into_sql_str()
}

/// The answer to a client after an error of the database.
struct ApiError(sqlx::Error);

#[derive(Serialize)]
struct Problem {
    error: &'static str,
}

impl ApiError {
    fn status(&self) -> (StatusCode, &'static str) {
        match &self.0 {
            sqlx::Error::RowNotFound => (StatusCode::NOT_FOUND, "there is no such band"),
            sqlx::Error::Database(error) => match error.kind() {
                ErrorKind::UniqueViolation => (StatusCode::CONFLICT, "it is there already"),
                ErrorKind::ForeignKeyViolation => (StatusCode::NOT_FOUND, "there is no such band"),
                // Class 22 of the SQL standard is "data exception", for example a text that is too long.
                _ if error.code().is_some_and(|code| code.starts_with("22")) => {
                    (StatusCode::UNPROCESSABLE_ENTITY, "a value does not fit")
                }
                _ => (StatusCode::INTERNAL_SERVER_ERROR, "an error of ours"),
            },
            // No connection, because all are in use or because the server is down.
            error if AcquireError::find(error).is_some() => {
                (StatusCode::SERVICE_UNAVAILABLE, "the database is busy")
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "an error of ours"),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error) = self.status();
        if status.is_server_error() {
            // The client does not get the error's text.
            eprintln!("{}", self.0);
        }
        (status, Json(Problem { error })).into_response()
    }
}
