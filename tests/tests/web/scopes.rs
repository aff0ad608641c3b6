//! A server in another runtime than its engine, as the workers of actix-web are; and extractors without a server.

use std::net::Ipv4Addr;

use anyhow::{Context, ensure};
use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::Request;
use axum::routing::post as on_post;
use poolhouse::{Checkout, Error, PgEngine, Settings, SqliteEngine, engine_finder_with};
use sqlx::Sqlite;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::client::post;
use crate::several::engine;

async fn count(db: SqliteEngine) -> Result<String, Error> {
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM entry")
        .fetch_one(&db)
        .await?;
    Ok(rows.to_string())
}

/// Registers an engine in the server's runtime, on another database and not started.
async fn look_up() -> Result<&'static str, Error> {
    let settings = Settings::new().url("sqlite::memory:");
    engine_finder_with::<Sqlite>(&settings)?;
    Ok("found")
}

#[test]
fn an_engine_that_is_not_started_hides_no_started_one() -> anyhow::Result<()> {
    let of_engine = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let of_server = Builder::new_current_thread().enable_all().build()?;
    let Some((_case_database, db)) = of_engine.block_on(engine("default"))? else {
        return Ok(());
    };
    let transactions = of_engine.block_on(async { poolhouse::axum::request_transactions() });
    of_server.block_on(async {
        let app = Router::new()
            .route("/count", on_post(count))
            .route("/look_up", on_post(look_up))
            .route("/readyz", on_post(poolhouse::axum::readiness))
            .layer(transactions);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        for (path, body) in [
            ("/count", "0"),
            ("/look_up", "found"),
            ("/count", "0"),
            ("/readyz", "ready"),
        ] {
            let answer = post(address, path).await?.context("an answer")?;
            ensure!(answer.status == 200, "{path}: {answer:?}");
            ensure!(answer.body == body, "{path}: {answer:?}");
        }
        server.abort();
        anyhow::Ok(())
    })?;
    of_engine.block_on(db.close_connection_pool());
    Ok(())
}

#[tokio::test]
async fn an_extractor_of_another_kind_names_the_url_of_the_engine() -> anyhow::Result<()> {
    let Some((_case_database, db)) = engine("default").await? else {
        return Ok(());
    };
    let (mut parts, ()) = Request::new(()).into_parts();
    let found = PgEngine::from_request_parts(&mut parts, &()).await;
    let said = found.err().context("no error")?.to_string();
    let words = "it is configured for SQLite, and the code asks for Postgres";
    ensure!(said.contains(words), "{said}");
    ensure!(said.contains("url = sqlite:"), "{said}");
    db.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn a_request_without_a_route_is_not_named_by_its_path() -> anyhow::Result<()> {
    let settings = Settings::new()
        .url("sqlite::memory:")
        .max_size(1)
        .acquire_timeout("500ms");
    let db: SqliteEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    let request = Request::builder().uri("/reset/s3cret").body(())?;
    let (mut parts, ()) = request.into_parts();
    let held = Checkout::<Sqlite>::from_request_parts(&mut parts, &()).await?;
    let error = db.acquire().await.err().context("there is another one")?;
    let said = error.to_string();
    ensure!(said.contains("the request `GET without a route`"), "{said}");
    drop(held);
    db.close_connection_pool().await;
    Ok(())
}
