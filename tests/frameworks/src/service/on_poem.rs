//! poem.

use poem::listener::{Acceptor, Listener, TcpListener};
use poem::web::{Data, Path};
use poem::{EndpointExt, Response, Route, Server, get, handler, http::StatusCode, post};
use poolhouse::web::RequestTransactions;
use poolhouse::{PgEngine, Shutdown, with_pool};

use super::handlers;
use super::requests::listening;
use crate::on_poem::{failed, request_transactions};

#[handler]
async fn act(
    transactions: Data<&RequestTransactions>,
    db: Data<&PgEngine>,
    Path((what, key)): Path<(String, i32)>,
) -> poem::Result<()> {
    let acted = async {
        let mut tx = transactions.of(db.0, "POST /:what/:key")?;
        handlers::act(&what, key, &mut tx).await
    };
    acted.await.map_err(failed)
}

#[handler]
#[allow(clippy::needless_pass_by_value, reason = "poem passes it by value")]
fn ready(db: Data<&PgEngine>) -> Response {
    let readiness = db.readiness();
    let status = StatusCode::from_u16(readiness.status());
    Response::builder()
        .status(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .body(readiness.to_string())
}

/// The program.
///
/// # Errors
///
/// A failed start, and the server's errors.
#[with_pool]
pub async fn main(db: PgEngine, shutdown: Shutdown) -> anyhow::Result<()> {
    let app = Route::new()
        .at("/readyz", get(ready))
        .at("/:what/:key", post(act).around(request_transactions))
        .data(db);
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await?;
    let address = acceptor.local_addr();
    let address = address.first().and_then(|address| address.as_socket_addr());
    listening(address.ok_or_else(|| anyhow::anyhow!("no address"))?);
    Server::new_with_acceptor(acceptor)
        .run_with_graceful_shutdown(app, shutdown.wait(), None)
        .await?;
    Ok(())
}
