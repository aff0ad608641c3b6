//! poem.

use std::sync::Arc;

use poem::http::{StatusCode, header::RETRY_AFTER};
use poem::web::{Data, Path};
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response, Route, handler, post};
use poolhouse::web::{Answer, RequestTransactions};
use poolhouse::{Error, SqliteEngine, engine_finder};

/// Adds a band, and answers with a status that the client chooses.
#[handler]
async fn add(
    transactions: Data<&RequestTransactions>,
    Path((name, status)): Path<(String, u16)>,
) -> Result<StatusCode, poem::Error> {
    insert(transactions.0, name).await.map_err(failed)?;
    StatusCode::from_u16(status).map_err(poem::error::BadRequest)
}

async fn insert(transactions: &RequestTransactions, name: String) -> Result<(), Error> {
    let db: SqliteEngine = engine_finder()?;
    let mut tx = transactions.of(&db, "POST /bands/:name/:status")?;
    sqlx::query("INSERT INTO band (name) VALUES (?)")
        .bind(name)
        .execute(&mut tx)
        .await?;
    Ok(())
}

/// An error as a response: the error is logged, and the client gets the status.
#[allow(clippy::needless_pass_by_value, reason = "it is for `map_err`")]
pub(crate) fn failed(error: Error) -> poem::Error {
    poem::Error::from_response(answer(&error))
}

fn answer(error: &Error) -> Response {
    tracing::error!("a request fails: {error}");
    let answer = Answer::to(error);
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::builder().status(status);
    if let Some(after) = answer.retry_after {
        response = response.header(RETRY_AFTER, after.as_secs());
    }
    response.finish()
}

/// Ends the transactions of each request: commits before a response of status 2xx or 3xx leaves, and rolls back otherwise.
pub(crate) async fn request_transactions<E: Endpoint>(
    next: Arc<E>,
    mut request: Request,
) -> poem::Result<Response> {
    let transactions = RequestTransactions::new();
    request.extensions_mut().insert(transactions.clone());
    let response = async { next.call(request).await.map(IntoResponse::into_response) };
    let succeeds = |response: &poem::Result<Response>| {
        let status = response.as_ref().map(Response::status);
        status.is_ok_and(|status| status.is_success() || status.is_redirection())
    };
    match transactions.serve(response, succeeds).await {
        Ok(response) => response,
        Err(error) => Err(failed(error)),
    }
}

/// The service.
pub fn app() -> impl Endpoint {
    Route::new()
        .at("/bands/:name/:status", post(add))
        .around(request_transactions)
}
