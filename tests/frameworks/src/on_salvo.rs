//! salvo.

use poolhouse::web::{Answer, RequestTransactions};
use poolhouse::{Error, SqliteEngine, engine_finder};
use salvo::http::header::RETRY_AFTER;
use salvo::http::{HeaderValue, StatusCode};
use salvo::{Depot, FlowCtrl, Request, Response, Router, handler};

/// Adds a band, and answers with a status that the client chooses.
#[handler]
async fn add(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let name = request.param("name").unwrap_or_default();
    let status = request.param("status").unwrap_or(200);
    // The middleware below stores it there.
    let Ok(transactions) = depot.get_typed::<RequestTransactions>() else {
        response.status_code(StatusCode::INTERNAL_SERVER_ERROR);
        return;
    };
    match insert(transactions, name).await {
        Ok(()) => response.status_code(StatusCode::from_u16(status).unwrap_or_default()),
        Err(error) => return answer(&error, response),
    };
}

async fn insert(transactions: &RequestTransactions, name: String) -> Result<(), Error> {
    let db: SqliteEngine = engine_finder()?;
    let mut tx = transactions.of(&db, "POST /bands/{name}/{status}")?;
    sqlx::query("INSERT INTO band (name) VALUES (?)")
        .bind(name)
        .execute(&mut tx)
        .await?;
    Ok(())
}

fn answer(error: &Error, response: &mut Response) {
    tracing::error!("a request fails: {error}");
    let answer = Answer::to(error);
    *response = Response::new();
    response.status_code(
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    );
    if let Some(after) = answer.retry_after {
        let after = HeaderValue::from(after.as_secs());
        response.headers_mut().insert(RETRY_AFTER, after);
    }
}

/// Ends the transactions of each request: commits before a response of status 2xx or 3xx leaves, and rolls back otherwise.
#[handler]
async fn request_transactions(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
    next: &mut FlowCtrl,
) {
    let transactions = RequestTransactions::new();
    depot.insert_typed(transactions.clone());
    let handled = async {
        next.call_next(request, depot, response).await;
        response.status_code
    };
    let succeeds = |status: &Option<StatusCode>| {
        status.is_some_and(|status| status.is_success() || status.is_redirection())
    };
    if let Err(error) = transactions.serve(handled, succeeds).await {
        answer(&error, response);
    }
}

/// The service.
pub fn app() -> Router {
    Router::with_hoop(request_transactions)
        .push(Router::with_path("bands/{name}/{status}").post(add))
}
