//! Rocket: request guards, and the fairing that ends the transactions of a request.

use std::convert::identity;
use std::io::Cursor;
use std::sync::Mutex;

use rocket::fairing::{Fairing, Info, Kind};
use rocket::http::{Method, Status};
use rocket::outcome::Outcome;
use rocket::request::{FromRequest, Outcome as Guarded};
use rocket::response::{self, Responder};
use rocket::route::{self, Handler};
use rocket::{Data, Request, Response, Route};

use super::RequestTransactions;
use super::answer::{Answer, commits};
use super::extract::{self, Asked, EngineName, Extract, Named};
use crate::backend::Backend;
use crate::engine::RequestTransaction;
use crate::engine::tasks::Served;
use crate::engine::{Engine, Readiness};
use crate::error::Error;
use crate::finder::{self, Scope};
use crate::lock::lock;
use crate::pool::Checkout;

const FAIRING: &str = ".attach(poolhouse::rocket::request_transactions())";
const GIVEN: &str = "give it to the application with `.manage(db.clone())`";
const RETRY_AFTER: &str = "Retry-After";

/// Ends the [`RequestTransaction`]s of each request: commits before a response of status 2xx or 3xx leaves, and rolls back
/// otherwise, also after a panic. It also adds `Retry-After` after a failed guard of poolhouse, because Rocket's catchers do
/// not.
///
/// ```no_run
/// # use poolhouse::RequestTransaction;
/// # use rocket::{http::Status, routes};
/// # use sqlx::Sqlite;
/// #[rocket::post("/bands")]
/// async fn add(mut tx: RequestTransaction<Sqlite>) -> Result<Status, poolhouse::Error> {
///     sqlx::query("INSERT INTO band (name) VALUES ('Rustaceans')").execute(&mut *tx).await?;
///     Ok(Status::Created)
/// }
///
/// # let _ =
/// rocket::build().attach(poolhouse::rocket::request_transactions()).mount("/", routes![add])
/// # ;
/// ```
///
/// When the client disconnects, Rocket runs the handler to its end and does not report it: what the handler wrote is committed.
pub fn request_transactions() -> RequestTransactionsFairing {
    RequestTransactionsFairing {
        scope: Scope::current(),
    }
}

/// See [`request_transactions`].
#[derive(Clone, Debug)]
pub struct RequestTransactionsFairing {
    scope: Scope,
}

/// The data that is stored with a request. A guard in an earlier fairing may create it, and the copies of a cloned
/// `LocalRequest` share it, so each dispatch begins it anew.
#[derive(Default)]
struct OfRocketRequest {
    /// From the fairing.
    attached: Mutex<Option<(RequestTransactions, Scope)>>,
    /// From the first guard that asked for a transaction.
    served: Mutex<Option<Served>>,
    /// The first answer to an error, and the error's text.
    failed: Mutex<Option<(Answer, String)>>,
}

impl OfRocketRequest {
    fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        request.local_cache(Self::default)
    }

    /// A dispatch begins, with these transactions.
    fn begin(&self, transactions: RequestTransactions, scope: Scope) {
        self.abandon();
        *lock(&self.attached) = Some((transactions, scope));
        *lock(&self.failed) = None;
    }

    /// Ends the transactions of a request that had no response.
    fn abandon(&self) {
        // Out of their locks, because the drops take other ones.
        let served = lock(&self.served).take();
        drop(served);
        let attached = lock(&self.attached).take();
        if let Some((transactions, _)) = attached {
            transactions.abandon();
        }
    }

    /// The fairing's transactions, and the scope in which it was made.
    fn attached(&self) -> Option<(RequestTransactions, Scope)> {
        lock(&self.attached).clone()
    }

    fn scope(&self) -> Option<Scope> {
        self.attached().map(|(_, scope)| scope)
    }

    /// The request's transactions. From now on, code that only has the engine finds them.
    fn transactions(&self) -> Option<RequestTransactions> {
        let (transactions, _) = self.attached()?;
        lock(&self.served).get_or_insert_with(|| Served::by_this_task(transactions.clone()));
        Some(transactions)
    }

    /// The answer to an error, which is logged unless it is the stored one.
    fn answer(&self, error: &Error) -> Answer {
        let text = error.to_string();
        let stored = lock(&self.failed).clone();
        if let Some((answer, _)) = stored.filter(|(_, stored)| *stored == text) {
            return answer;
        }
        let answer = Answer::log(error);
        // Only the first one is stored: the error of a guard.
        lock(&self.failed).get_or_insert((answer, text));
        answer
    }
}

impl Drop for OfRocketRequest {
    fn drop(&mut self) {
        self.abandon();
    }
}

#[rocket::async_trait]
impl Fairing for RequestTransactionsFairing {
    fn info(&self) -> Info {
        Info {
            name: "poolhouse: request transactions",
            kind: Kind::Request | Kind::Response | Kind::Singleton,
        }
    }

    async fn on_request(&self, request: &mut Request<'_>, _: &mut Data<'_>) {
        OfRocketRequest::of(request).begin(RequestTransactions::new(), self.scope);
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        let of_request = OfRocketRequest::of(request);
        let served = lock(&of_request.served).take();
        drop(served);
        if let Some((transactions, _)) = of_request.attached()
            && let Err(error) = transactions.end(commits(response.status().code)).await
        {
            *response = answer(of_request.answer(&error));
        }
        let failed = lock(&of_request.failed).as_ref().map(|(answer, _)| *answer);
        if let Some(failed) = failed
            && let Some(seconds) = failed.retry_after()
            && response.status().code == failed.status
            && !response.headers().contains(RETRY_AFTER)
        {
            response.set_raw_header(RETRY_AFTER, seconds.to_string());
        }
    }
}

fn answer<'r>(answer: Answer) -> Response<'r> {
    let text = answer.text();
    let mut response = Response::build();
    response
        .status(Status::new(answer.status))
        .sized_body(text.len(), Cursor::new(text));
    if let Some(seconds) = answer.retry_after() {
        response.raw_header(RETRY_AFTER, seconds.to_string());
    }
    response.finalize()
}

async fn extract<T: Extract>(request: &Request<'_>, name: &str) -> Guarded<T, Error> {
    let of_request = OfRocketRequest::of(request);
    let scope = of_request.scope();
    let given = request.rocket().state::<Engine<T::Database>>();
    let extracted = match extract::engine(name, given, scope, GIVEN) {
        Ok(engine) => {
            let route = request.route().map(|route| route.uri.as_str());
            let asked = Asked {
                request: extract::request_name(request.method(), route),
                transactions: of_request.transactions(),
                layer: FAIRING,
            };
            T::extract(engine, asked).await
        }
        Err(error) => Err(error),
    };
    match extracted {
        Ok(value) => Outcome::Success(value),
        Err(error) => {
            let answer = of_request.answer(&error);
            Outcome::Error((Status::new(answer.status), error))
        }
    }
}

macro_rules! guard {
    ($([$($generic:tt)*] $on:ty, $what:ty, $name:expr, $make:expr;)*) => {$(
        #[rocket::async_trait]
        impl<'r, $($generic)*> FromRequest<'r> for $on {
            type Error = Error;

            async fn from_request(request: &'r Request<'_>) -> Guarded<Self, Error> {
                extract::<$what>(request, &$name).await.map($make)
            }
        }
    )*};
}

guard! {
    [DB: Backend] Engine<DB>, Self, extract::default_name(), identity;
    [DB: Backend] Checkout<DB>, Self, extract::default_name(), identity;
    [DB: Backend] RequestTransaction<DB>, Self, extract::default_name(), identity;
    [N: EngineName, T: Extract] Named<N, T>, T, N::NAME, Named::new;
}

/// The route for readiness probes: 200 when the program should get requests, otherwise 503, with [`Readiness`] as one word. It
/// counts [every engine](crate::readiness) that the runtime knows, sends nothing to a server and needs no connection.
///
/// ```no_run
/// # let _ =
/// rocket::build().mount("/readyz", poolhouse::rocket::readiness())
/// # ;
/// ```
///
/// A route of one engine returns `db.readiness()`.
pub fn readiness() -> Vec<Route> {
    let mut route = Route::new(Method::Get, "/", ReadinessRoute);
    route.name = Some("poolhouse: readiness".into());
    vec![route]
}

#[derive(Clone)]
struct ReadinessRoute;

#[rocket::async_trait]
impl Handler for ReadinessRoute {
    async fn handle<'r>(&self, request: &'r Request<'_>, _: Data<'r>) -> route::Outcome<'r> {
        let scope = OfRocketRequest::of(request).scope();
        route::Outcome::from(request, finder::readiness_from(scope))
    }
}

impl<'r> Responder<'r, 'static> for Readiness {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        let text = self.to_string();
        Response::build()
            .status(Status::new(self.status()))
            .sized_body(text.len(), Cursor::new(text))
            .ok()
    }
}

impl<'r> Responder<'r, 'static> for Error {
    /// Returns the status of the [`Answer`]. The error is only logged.
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        Ok(answer(OfRocketRequest::of(request).answer(&self)))
    }
}
