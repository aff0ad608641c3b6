//! actix-web: extractors, and the middleware that ends the transactions of a request.

use std::convert::identity;
use std::future::{Ready, ready};

use actix_web::body::{BoxBody, EitherBody};
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, Responder, ResponseError};
use futures_core::future::{BoxFuture, LocalBoxFuture};

use super::RequestTransactions;
use super::answer::{Answer, commits};
use super::extract::{self, Asked, EngineName, Extract, Named};
use crate::backend::Backend;
use crate::engine::RequestTransaction;
use crate::engine::{Engine, Readiness};
use crate::error::Error;
use crate::finder::{self, Scope};
use crate::pool::Checkout;

const MIDDLEWARE: &str = ".wrap(poolhouse::actix_web::request_transactions())";
const GIVEN: &str = "give it to the application with `.app_data(db.clone())`, or make `request_transactions()` before \
                     `HttpServer::new` and wrap with a clone of it";

/// Ends the [`RequestTransaction`]s of each request: commits before a response of status 2xx or 3xx leaves, and rolls back
/// otherwise.
///
/// ```no_run
/// # use actix_web::{App, HttpResponse, HttpServer, web};
/// # use poolhouse::RequestTransaction;
/// # use sqlx::Sqlite;
/// async fn add(mut tx: RequestTransaction<Sqlite>) -> Result<HttpResponse, poolhouse::Error> {
///     sqlx::query("INSERT INTO band (name) VALUES ('Rustaceans')").execute(&mut tx).await?;
///     Ok(HttpResponse::Created().finish())
/// }
///
/// # let _ =
/// # {
/// let transactions = poolhouse::actix_web::request_transactions();
/// HttpServer::new(move || App::new().wrap(transactions.clone()).route("/bands", web::post().to(add)))
///     .h1_allow_half_closed(false)
/// # };
/// ```
///
/// Make it outside of the closure. actix-web calls the closure on threads with a runtime each, which know only the engines that
/// `main` has for the whole process; the middleware keeps the scope in which it was made. An extractor without the middleware
/// takes the engine from the application's data (`.app_data(db.clone())`).
///
/// When the client disconnects, actix-web runs the handler to its end, and the transaction is committed. Over HTTP/1 a server
/// with `h1_allow_half_closed(false)` drops the handler, which rolls back. Over HTTP/2 no setting does.
pub fn request_transactions() -> RequestTransactionsTransform {
    RequestTransactionsTransform {
        scope: Scope::current(),
    }
}

/// See [`request_transactions`].
#[derive(Clone, Debug)]
pub struct RequestTransactionsTransform {
    scope: Scope,
}

/// See [`request_transactions`].
#[derive(Debug)]
pub struct RequestTransactionsMiddleware<S> {
    inner: S,
    scope: Scope,
}

/// The data that the middleware stores in the request.
#[derive(Clone)]
struct OfRequest {
    transactions: RequestTransactions,
    scope: Scope,
}

impl<S, B> Transform<S, ServiceRequest> for RequestTransactionsTransform
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
    S::Future: 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Transform = RequestTransactionsMiddleware<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        let scope = self.scope;
        ready(Ok(RequestTransactionsMiddleware { inner, scope }))
    }
}

impl<S, B> Service<ServiceRequest> for RequestTransactionsMiddleware<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
    S::Future: 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, actix_web::Error>>;

    forward_ready!(inner);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        // The outer middleware ends the transactions.
        let is_nested = |of: &OfRequest| !of.transactions.is_over();
        let nested = request.extensions().get().is_some_and(is_nested);
        if nested {
            let response = self.inner.call(request);
            return Box::pin(async move { Ok(response.await?.map_into_left_body()) });
        }
        let of_request = OfRequest {
            transactions: RequestTransactions::new(),
            scope: self.scope,
        };
        let transactions = of_request.transactions.clone();
        request.extensions_mut().insert(of_request);
        let response = self.inner.call(request);
        Box::pin(async move {
            let good = |response: &Result<ServiceResponse<B>, actix_web::Error>| {
                // actix-web makes an error its response, which may be a redirect.
                let status = match response {
                    Ok(response) => response.status(),
                    Err(error) => error.as_response_error().status_code(),
                };
                commits(status.as_u16())
            };
            let (response, ended) = transactions.serve_keeping(response, good).await;
            match (response, ended) {
                (Ok(response), Ok(())) => Ok(response.map_into_left_body()),
                (Ok(response), Err(error)) => {
                    let (request, _) = response.into_parts();
                    let response = error.error_response().map_into_right_body();
                    Ok(ServiceResponse::new(request, response))
                }
                (Err(response), Ok(())) => Err(response),
                (Err(_), Err(error)) => Err(error.into()),
            }
        })
    }
}

fn extract<T: Extract>(request: &HttpRequest, name: &str) -> BoxFuture<'static, Result<T, Error>> {
    let of_request = request.extensions().get::<OfRequest>().cloned();
    let given = request.app_data::<Engine<T::Database>>();
    let scope = of_request.as_ref().map(|it| it.scope);
    match extract::engine(name, given, scope, GIVEN) {
        Ok(engine) => {
            let route = request.match_pattern();
            let asked = Asked {
                request: extract::request_name(request.method(), route.as_deref()),
                transactions: of_request.map(|it| it.transactions),
                layer: MIDDLEWARE,
            };
            T::extract(engine, asked)
        }
        Err(error) => Box::pin(ready(Err(error))),
    }
}

macro_rules! extractor {
    ($([$($generic:tt)*] $on:ty, $what:ty, $name:expr, $make:expr;)*) => {$(
        impl<$($generic)*> FromRequest for $on {
            type Error = Error;
            type Future = BoxFuture<'static, Result<Self, Error>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                let extracted = extract::<$what>(request, &$name);
                Box::pin(async move { extracted.await.map($make) })
            }
        }
    )*};
}

extractor! {
    [DB: Backend] Engine<DB>, Self, extract::default_name(), identity;
    [DB: Backend] Checkout<DB>, Self, extract::default_name(), identity;
    [DB: Backend] RequestTransaction<DB>, Self, extract::default_name(), identity;
    [N: EngineName, T: Extract] Named<N, T>, T, N::NAME, Named::new;
}

/// A handler for readiness probes: 200 when the program should get requests, otherwise 503, with [`Readiness`] as one word. It
/// counts [every engine](crate::readiness) that the process knows, and the runtime where [`request_transactions`] was called
/// if the middleware is there; it sends nothing to a server and needs no connection.
///
/// ```no_run
/// # use actix_web::{App, web};
/// # let _ =
/// App::new().route("/readyz", web::get().to(poolhouse::actix_web::readiness))
/// # ;
/// ```
///
/// `async |db: PgEngine| db.readiness()` is a handler for one engine.
#[allow(clippy::needless_pass_by_value, reason = "it is what a handler takes")]
pub fn readiness(request: HttpRequest) -> Ready<Readiness> {
    let scope = request.extensions().get::<OfRequest>().map(|it| it.scope);
    ready(finder::readiness_from(scope))
}

impl Responder for Readiness {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let status = StatusCode::from_u16(self.status()).unwrap_or_default();
        HttpResponse::build(status).body(self.to_string())
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        let status = Answer::to(self).status;
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Returns the status of the [`Answer`]. The error is only logged.
    fn error_response(&self) -> HttpResponse {
        let answer = Answer::log(self);
        let mut response = HttpResponse::build(self.status_code());
        if let Some(seconds) = answer.retry_after() {
            response.insert_header((RETRY_AFTER, seconds));
        }
        response.body(answer.text())
    }
}
