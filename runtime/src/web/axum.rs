//! axum: extractors, and the layer that ends the transactions of a request.
//!
//! They are built on `axum-core`, so every framework that takes its extractors and tower's layers can use them. Only the route
//! of a request comes from axum's own router.

use std::task::{Context, Poll};

use axum::extract::MatchedPath;
use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use futures_core::future::BoxFuture;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::RequestTransactions;
use super::answer::{Answer, commits};
use super::extract::{self, Asked, EngineName, Extract, Named};
use crate::backend::Backend;
use crate::engine::RequestTransaction;
use crate::engine::{Engine, Readiness};
use crate::error::Error;
use crate::finder::{self, Scope};
use crate::pool::Checkout;

const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";
const LAYER: &str = ".layer(poolhouse::axum::request_transactions())";
const GIVEN: &str = "give it to the application with `.layer(Extension(db.clone()))`";

/// Ends the [`RequestTransaction`]s of each request: commits before a response of status 2xx or 3xx leaves, and rolls back
/// otherwise. A response with a header `grpc-status` other than 0 rolls back. A gRPC call whose commit fails is answered with the
/// status 13 (`INTERNAL`) or 14 (`UNAVAILABLE`) of gRPC.
///
/// The request's extensions have its [`RequestTransactions`], for handlers that are no axum handlers, such as tonic's.
///
/// ```no_run
/// # use axum::{Router, http::StatusCode, routing::post};
/// # use poolhouse::RequestTransaction;
/// # use sqlx::Sqlite;
/// async fn add(mut tx: RequestTransaction<Sqlite>) -> Result<StatusCode, poolhouse::Error> {
///     sqlx::query("INSERT INTO band (name) VALUES ('Rustaceans')").execute(&mut tx).await?;
///     Ok(StatusCode::CREATED)
/// }
///
/// # let _: Router =
/// Router::new().route("/bands", post(add)).layer(poolhouse::axum::request_transactions())
/// # ;
/// ```
///
/// Outer layers see its response. An outer layer that drops its future, such as a timeout, rolls back, or leaves the outcome of
/// a commit under way unknown. A layer that calls the handler again, such as tower's `RetryLayer`, belongs outside: inside, all
/// calls have one transaction, and the writes of a failed call are committed with those of the last one.
pub fn request_transactions() -> RequestTransactionsLayer {
    RequestTransactionsLayer {
        scope: Scope::current(),
    }
}

/// See [`request_transactions`].
#[derive(Clone, Debug)]
pub struct RequestTransactionsLayer {
    scope: Scope,
}

/// See [`request_transactions`].
#[derive(Clone, Debug)]
pub struct RequestTransactionsService<S> {
    inner: S,
    scope: Scope,
}

/// The scope in which the layer was made, stored in the request beside its [`RequestTransactions`].
#[derive(Clone, Copy)]
struct LayerScope(Scope);

impl<S> Layer<S> for RequestTransactionsLayer {
    type Service = RequestTransactionsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let scope = self.scope;
        RequestTransactionsService { inner, scope }
    }
}

impl<S, B> Service<Request<B>> for RequestTransactionsService<S>
where
    S: Service<Request<B>, Response: IntoResponse, Error: Send, Future: Send + 'static>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let extensions = request.extensions_mut();
        // The outer layer ends the transactions.
        let is_nested = |of: &RequestTransactions| !of.is_over();
        let nested = extensions.get().is_some_and(is_nested);
        let transactions = RequestTransactions::new();
        if !nested {
            extensions.insert(transactions.clone());
            extensions.insert(LayerScope(self.scope));
        }
        let grpc = grpc_type(request.headers());
        let response = self.inner.call(request);
        let response = async move { response.await.map(IntoResponse::into_response) };
        if nested {
            return Box::pin(response);
        }
        Box::pin(async move {
            let good =
                |response: &Result<Response, S::Error>| response.as_ref().is_ok_and(succeeds);
            match transactions.serve(response, good).await {
                Ok(response) => response,
                Err(error) => Ok(match grpc {
                    None => error.into_response(),
                    Some(content_type) => grpc_response(&error, content_type),
                }),
            }
        })
    }
}

/// The content type of a gRPC call; `None` for other requests.
fn grpc_type(headers: &HeaderMap) -> Option<HeaderValue> {
    let content_type = headers.get(CONTENT_TYPE)?;
    let is_grpc = content_type.as_bytes().starts_with(b"application/grpc");
    is_grpc.then(|| content_type.clone())
}

/// The response to a gRPC call that fails: the error as a status of gRPC, in the headers of a response without a body.
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, <https://grpc.io/docs/guides/status-codes/>
fn grpc_response(error: &Error, content_type: HeaderValue) -> Response {
    let answer = Answer::log(error);
    // UNAVAILABLE or INTERNAL.
    let status = if answer.status == 503 { "14" } else { "13" };
    let mut response = ().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(GRPC_STATUS, HeaderValue::from_static(status));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(answer.text()));
    response
}

fn succeeds(response: &Response) -> bool {
    let grpc_failed = response
        .headers()
        .get(GRPC_STATUS)
        .is_some_and(|status| status != "0");
    commits(response.status().as_u16()) && !grpc_failed
}

fn extract<T: Extract>(parts: &Parts, name: &str) -> BoxFuture<'static, Result<T, Error>> {
    let scope = parts.extensions.get::<LayerScope>().map(|scope| scope.0);
    let given = parts.extensions.get::<Engine<T::Database>>();
    match extract::engine(name, given, scope, GIVEN) {
        Ok(engine) => {
            let route = parts.extensions.get::<MatchedPath>();
            let asked = Asked {
                request: extract::request_name(&parts.method, route.map(MatchedPath::as_str)),
                transactions: parts.extensions.get().cloned(),
                layer: LAYER,
            };
            T::extract(engine, asked)
        }
        Err(error) => Box::pin(std::future::ready(Err(error))),
    }
}

macro_rules! extractor {
    ($([$($generic:tt)*] $on:ty, $what:ty, $name:expr, $make:expr;)*) => {$(
        impl<S: Send + Sync, $($generic)*> FromRequestParts<S> for $on {
            type Rejection = Error;

            fn from_request_parts(
                parts: &mut Parts,
                _: &S,
            ) -> impl Future<Output = Result<Self, Error>> + Send {
                let extracted = extract::<$what>(parts, &$name);
                async move { extracted.await.map($make) }
            }
        }
    )*};
}

extractor! {
    [DB: Backend] Engine<DB>, Self, extract::default_name(), std::convert::identity;
    [DB: Backend] Checkout<DB>, Self, extract::default_name(), std::convert::identity;
    [DB: Backend] RequestTransaction<DB>, Self, extract::default_name(), std::convert::identity;
    [N: EngineName, T: Extract] Named<N, T>, T, N::NAME, Named::new;
}

/// A handler for readiness probes: 200 when the program should get requests, otherwise 503, with [`Readiness`] as one word. It
/// counts [every engine](crate::readiness) that the runtime knows, sends nothing to a server and needs no connection.
///
/// ```no_run
/// # use axum::{Router, routing::get};
/// # let _: Router =
/// Router::new().route("/readyz", get(poolhouse::axum::readiness))
/// # ;
/// ```
///
/// `async |db: PgEngine| db.readiness()` is a handler for one engine.
#[allow(clippy::needless_pass_by_value, reason = "it is what a handler takes")]
pub fn readiness(
    request: axum_core::extract::Request,
) -> impl Future<Output = Readiness> + Send + 'static {
    let scope = request
        .extensions()
        .get::<LayerScope>()
        .map(|scope| scope.0);
    std::future::ready(finder::readiness_from(scope))
}

impl IntoResponse for Readiness {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).unwrap_or_default();
        (status, self.to_string()).into_response()
    }
}

impl IntoResponse for Error {
    /// Returns the status of the [`Answer`]. The error is only logged.
    fn into_response(self) -> Response {
        let answer = Answer::log(&self);
        let status =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, answer.text()).into_response();
        if let Some(seconds) = answer.retry_after() {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::UsageError;

    #[test]
    fn an_error_of_a_grpc_call_has_a_status_of_grpc() {
        let unavailable = UsageError::NoEngine {
            engine: String::new(),
            line: "",
        };
        let failed = Error::Database(sqlx::Error::RowNotFound);
        for (error, status) in [(unavailable.into(), "14"), (failed, "13")] {
            let content_type = HeaderValue::from_static("application/grpc+proto");
            let response = grpc_response(&error, content_type.clone());
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[CONTENT_TYPE], content_type);
            assert_eq!(response.headers()[GRPC_STATUS], status);
        }
    }
}
