//! axum's layer: extensions of a request that is over.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, ensure};
use axum::http::StatusCode;
use axum::routing::post as on_post;
use axum::{Extension, Router};
use poolhouse::web::RequestTransactions;
use poolhouse::{Error, RequestTransaction};
use sqlx::Sqlite;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::act::run;
use crate::client::post;
use crate::several::engine;

/// Serves the application until the task is aborted.
async fn serve(app: Router) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move {
        let _ = axum::serve(listener, app).await;
    });
    Ok((address, server))
}

async fn add(mut tx: RequestTransaction<Sqlite>) -> Result<StatusCode, Error> {
    run(&mut tx, "INSERT INTO entry VALUES (1)".to_owned()).await?;
    Ok(StatusCode::CREATED)
}

#[tokio::test]
async fn a_request_with_the_extensions_of_another_one_has_its_own_transaction() -> anyhow::Result<()>
{
    let Some((_case_database, db)) = engine("default").await? else {
        return Ok(());
    };
    let over = RequestTransactions::new();
    over.serve(async {}, |()| true).await?;
    let app = Router::new()
        .route("/add", on_post(add))
        .layer(poolhouse::axum::request_transactions())
        .layer(Extension(over));
    let (address, server) = serve(app).await?;
    let answer = post(address, "/add").await?.context("an answer")?;
    ensure!(answer.status == 201, "{answer:?}");
    let added: i64 = sqlx::query_scalar("SELECT count(*) FROM entry")
        .fetch_one(&db)
        .await?;
    ensure!(added == 1, "{added} rows");
    server.abort();
    db.close_connection_pool().await;
    Ok(())
}
