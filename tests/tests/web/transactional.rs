//! Handlers that call functions under `#[transactional]`, with and without a request transaction. Their futures are `Send`.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::post;
use poolhouse::{Settings, SqliteEngine, Transaction, engine_finder_with, transactional};
use sqlx::Sqlite;

use crate::client::post as send;

/// The application's own error.
#[derive(Debug)]
enum AppError {
    Database,
    Odd,
}

impl From<sqlx::Error> for AppError {
    fn from(_: sqlx::Error) -> Self {
        Self::Database
    }
}

impl axum::response::IntoResponse for AppError {
    fn into_response(self) -> axum::response::Response {
        match self {
            Self::Database => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Self::Odd => StatusCode::CONFLICT.into_response(),
        }
    }
}

/// Adds two bands, and then fails if the id is odd.
#[transactional]
async fn add(
    tx: &mut Transaction<Sqlite>,
    Path(id): Path<i64>,
    names: &[String],
) -> Result<(), AppError> {
    for (number, name) in (id..).zip(names) {
        sqlx::query("INSERT INTO band VALUES (?, ?)")
            .bind(number)
            .bind(name)
            .execute(&mut *tx)
            .await?;
    }
    if id % 2 == 1 {
        Err(AppError::Odd)
    } else {
        Ok(())
    }
}

async fn add_two(db: SqliteEngine, id: Path<i64>) -> Result<String, AppError> {
    let names = ["Pythonistas".to_owned(), "Rustaceans".to_owned()];
    add(&db, id, &names).await?;
    Ok("added".to_owned())
}

#[tokio::test]
async fn a_handler_calls_it_with_its_engine() -> anyhow::Result<()> {
    let settings = Settings::new().url("sqlite::memory:");
    let db: SqliteEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::query("CREATE TABLE band (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        .execute(&db)
        .await?;
    let app = Router::new()
        .route("/in_one/{id}", post(add_two))
        .layer(poolhouse::axum::request_transactions())
        .route("/alone/{id}", post(add_two));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(axum::serve(listener, app).into_future());
    for (path, status) in [
        ("/alone/10", 200),
        ("/alone/21", 409),
        ("/in_one/30", 200),
        ("/in_one/41", 409),
    ] {
        let response = send(address, path).await?;
        assert_eq!(
            response.map(|response| response.status),
            Some(status),
            "{path}"
        );
    }
    server.abort();
    let there: Vec<i64> = sqlx::query_scalar("SELECT id FROM band ORDER BY id")
        .fetch_all(&db)
        .await?;
    assert_eq!(there, [10, 11, 30, 31]);
    db.close_connection_pool().await;
    Ok(())
}
