//! axum's layer: calls of gRPC, and extensions of a request that is over.

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
use crate::client::{post, send, send_with};
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

/// Leaves its transaction with a task.
async fn hold(mut tx: RequestTransaction<Sqlite>) -> Result<StatusCode, Error> {
    run(&mut tx, "INSERT INTO entry VALUES (1)".to_owned()).await?;
    tokio::spawn(async move {
        let _tx = tx;
        std::future::pending::<()>().await;
    });
    Ok(StatusCode::OK)
}

#[tokio::test]
async fn a_grpc_call_that_cannot_be_committed_has_a_status_of_grpc() -> anyhow::Result<()> {
    let Some((_case_database, db)) = engine("default").await? else {
        return Ok(());
    };
    let app = Router::new()
        .route("/hold", on_post(hold))
        .layer(poolhouse::axum::request_transactions());
    let (address, server) = serve(app).await?;
    let line = "Content-Type: application/grpc\r\n";
    let said = send_with(address, "/hold", line).await?.text().await;
    ensure!(said.starts_with("HTTP/1.1 200"), "{said}");
    ensure!(said.contains("grpc-status: 13\r\n"), "{said}");
    ensure!(
        said.contains("content-type: application/grpc\r\n"),
        "{said}"
    );
    let said = send(address, "/hold").await?.text().await;
    ensure!(said.starts_with("HTTP/1.1 500"), "{said}");
    ensure!(!said.contains("grpc"), "{said}");
    server.abort();
    db.close_connection_pool().await;
    Ok(())
}
