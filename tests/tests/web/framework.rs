//! The frameworks, each as a server of the same handlers.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use futures_util::future::BoxFuture;
use poolhouse_tests::Sql;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running server, which ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    end: Option<Box<dyn FnOnce() + Send>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

#[allow(clippy::unnecessary_wraps, reason = "it is what a server holds")]
fn abort<T: Send + 'static>(task: JoinHandle<T>) -> Option<Box<dyn FnOnce() + Send>> {
    Some(Box::new(move || task.abort()))
}

pub(crate) trait Framework: 'static {
    const NAME: &'static str;
    /// Words of the line of code that the error about missing request transactions names.
    const NAME_OF_LINE: &'static str;
    /// Whether the handler is dropped when its client disconnects.
    const DROPS_HANDLERS: bool;
    /// The status after a panic of the handler; `None` if the connection is closed instead.
    const PANICKED: Option<u16>;

    /// Starts a server, with or without request transactions.
    fn serve<DB: Sql>(transactions: bool) -> impl Future<Output = anyhow::Result<Server>> + Send;
}

pub(crate) struct Axum;

mod of_axum {
    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::extract::Path;
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};
    use axum::routing::post;
    use poolhouse::{Checkout, Engine, Error, Named, RequestTransaction};
    use poolhouse_tests::Sql;

    use crate::act::{self, Reply, Reports};

    impl<DB: Sql> IntoResponse for Reply<DB> {
        fn into_response(self) -> Response {
            let status = StatusCode::from_u16(self.status).unwrap_or_default();
            let kept = self.kept;
            let body = async_stream::stream! {
                yield std::io::Result::Ok(Bytes::from_static(b"body"));
                drop(kept);
            };
            (status, Body::from_stream(body)).into_response()
        }
    }

    type Answer<DB> = Result<Reply<DB>, Error>;

    pub(super) fn app<DB: Sql>() -> Router {
        let act =
            async |Path((case, status, key)): Path<(String, u16, i32)>,
                   tx: RequestTransaction<DB>,
                   again: RequestTransaction<DB>,
                   db: Engine<DB>|
                   -> Answer<DB> { act::act(&case, status, key, tx, again, db).await };
        let plain = async |Path((case, status, key)): Path<(String, u16, i32)>,
                           db: Engine<DB>|
               -> Answer<DB> { act::plain(&case, status, key, db).await };
        let holds = async |Path((status, key)): Path<(u16, i32)>,
                           connection: Checkout<DB>|
               -> Answer<DB> { act::holds(status, key, connection).await };
        let two = async |Path((status, key)): Path<(u16, i32)>,
                         tx: RequestTransaction<DB>,
                         reports: Named<Reports, RequestTransaction<DB>>,
                         db: Named<Reports, Engine<DB>>|
               -> Answer<DB> { act::two(status, key, tx, reports, db).await };
        Router::new()
            .route("/act/{case}/{status}/{key}", post(act))
            .route("/plain/{case}/{status}/{key}", post(plain))
            .route("/holds/{status}/{key}", post(holds))
            .route("/two/{status}/{key}", post(two))
    }
}

impl Framework for Axum {
    const NAME: &'static str = "axum";
    const NAME_OF_LINE: &'static str = "poolhouse::axum::request";
    const DROPS_HANDLERS: bool = true;
    const PANICKED: Option<u16> = None;

    async fn serve<DB: Sql>(transactions: bool) -> anyhow::Result<Server> {
        let mut app = of_axum::app::<DB>();
        if transactions {
            // Two layers, as with nested routers: the inner one leaves the transaction to the outer one.
            app = app
                .layer(poolhouse::axum::request_transactions())
                .layer(poolhouse::axum::request_transactions());
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move { axum::serve(listener, app).await });
        let end = abort(task);
        Ok(Server { address, end })
    }
}

pub(crate) struct Actix;

mod of_actix {
    use actix_web::body::BoxBody;
    use actix_web::http::StatusCode;
    use actix_web::web::{Bytes, Path, ServiceConfig, post};
    use actix_web::{HttpRequest, HttpResponse, Responder};
    use poolhouse::{Checkout, Engine, Error, Named, RequestTransaction};
    use poolhouse_tests::Sql;

    use crate::act::{self, Reply, Reports};

    impl<DB: Sql> Responder for Reply<DB> {
        type Body = BoxBody;

        fn respond_to(self, _: &HttpRequest) -> HttpResponse {
            let status = StatusCode::from_u16(self.status).unwrap_or_default();
            let kept = self.kept;
            HttpResponse::build(status).streaming(Box::pin(async_stream::stream! {
                yield std::io::Result::Ok(Bytes::from_static(b"body"));
                drop(kept);
            }))
        }
    }

    type Answer<DB> = Result<Reply<DB>, Error>;
    type Case = Path<(String, u16, i32)>;

    async fn act<DB: Sql>(
        path: Case,
        tx: RequestTransaction<DB>,
        again: RequestTransaction<DB>,
        db: Engine<DB>,
    ) -> Answer<DB> {
        act::act(&path.0, path.1, path.2, tx, again, db).await
    }

    async fn plain<DB: Sql>(path: Case, db: Engine<DB>) -> Answer<DB> {
        act::plain(&path.0, path.1, path.2, db).await
    }

    async fn holds<DB: Sql>(path: Path<(u16, i32)>, connection: Checkout<DB>) -> Answer<DB> {
        act::holds(path.0, path.1, connection).await
    }

    async fn two<DB: Sql>(
        path: Path<(u16, i32)>,
        tx: RequestTransaction<DB>,
        reports: Named<Reports, RequestTransaction<DB>>,
        db: Named<Reports, Engine<DB>>,
    ) -> Answer<DB> {
        act::two(path.0, path.1, tx, reports, db).await
    }

    pub(super) fn app<DB: Sql>(config: &mut ServiceConfig) {
        config
            .route("/act/{case}/{status}/{key}", post().to(act::<DB>))
            .route("/plain/{case}/{status}/{key}", post().to(plain::<DB>))
            .route("/holds/{status}/{key}", post().to(holds::<DB>))
            .route("/two/{status}/{key}", post().to(two::<DB>));
    }
}

impl Framework for Actix {
    const NAME: &'static str = "actix-web";
    const NAME_OF_LINE: &'static str = "poolhouse::actix_web::request";
    const DROPS_HANDLERS: bool = true;
    const PANICKED: Option<u16> = None;

    async fn serve<DB: Sql>(with_transactions: bool) -> anyhow::Result<Server> {
        use actix_web::middleware::Condition;
        use actix_web::{App, HttpServer};

        let transactions = poolhouse::actix_web::request_transactions();
        // Without the middleware, the app data must name the engine.
        let db = poolhouse::engine_finder::<DB>()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let server = HttpServer::new(move || {
            let app = App::new().configure(of_actix::app::<DB>);
            let app = if with_transactions {
                app
            } else {
                app.app_data(db.clone())
            };
            app.wrap(Condition::new(with_transactions, transactions.clone()))
        })
        .h1_allow_half_closed(false)
        .workers(1)
        .disable_signals()
        .listen(listener)?
        .run();
        let handle = server.handle();
        let task = tokio::spawn(server);
        let end = Box::new(move || {
            // The server stops without an await.
            drop(handle.stop(false));
            drop(task);
        });
        Ok(Server {
            address,
            end: Some(end),
        })
    }
}

pub(crate) struct Rocket;

mod of_rocket {
    use std::marker::PhantomData;

    use poolhouse::{Checkout, Engine, Error, Named, RequestTransaction};
    use poolhouse_tests::Sql;
    use rocket::http::{Method, Status};
    use rocket::outcome::Outcome as Is;
    use rocket::request::{FromRequest, Request};
    use rocket::response::{self, Responder, Response, stream::ByteStream};
    use rocket::route::{Handler, Outcome};
    use rocket::{Data, Route};

    use crate::act::{self, Reply, Reports};

    impl<'r, DB: Sql> Responder<'r, 'r> for Reply<DB> {
        fn respond_to(self, request: &'r Request<'_>) -> response::Result<'r> {
            let kept = self.kept;
            let body = ByteStream! {
                yield b"body";
                drop(kept);
            };
            let status = Status::new(self.status);
            Response::build_from(body.respond_to(request)?)
                .status(status)
                .ok()
        }
    }

    /// A route like those of `#[rocket::post]`, which does not support generics.
    struct At<DB> {
        what: What,
        database: PhantomData<fn() -> DB>,
    }

    #[derive(Clone, Copy)]
    enum What {
        Act,
        Plain,
        Holds,
        Two,
    }

    impl<DB> Clone for At<DB> {
        fn clone(&self) -> Self {
            let (what, database) = (self.what, self.database);
            Self { what, database }
        }
    }

    macro_rules! guard {
        ($what:ty, $request:ident) => {
            match <$what>::from_request($request).await {
                Is::Success(value) => value,
                Is::Error((status, _)) => return Outcome::Error(status),
                Is::Forward(status) => return Outcome::Error(status),
            }
        };
    }

    #[rocket::async_trait]
    impl<DB: Sql> Handler for At<DB> {
        async fn handle<'r>(&self, request: &'r Request<'_>, _: Data<'r>) -> Outcome<'r> {
            let segments: Vec<&str> = request.uri().path().segments().collect();
            let [.., status, key] = segments[..] else {
                return Outcome::Error(Status::NotFound);
            };
            let (Ok(status), Ok(key)) = (status.parse(), key.parse()) else {
                return Outcome::Error(Status::NotFound);
            };
            let case = segments.get(1).copied().unwrap_or_default();
            let reply: Result<Reply<DB>, Error> = match self.what {
                What::Act => {
                    let tx = guard!(RequestTransaction<DB>, request);
                    let again = guard!(RequestTransaction<DB>, request);
                    let db = guard!(Engine<DB>, request);
                    act::act(case, status, key, tx, again, db).await
                }
                What::Plain => {
                    let db = guard!(Engine<DB>, request);
                    act::plain(case, status, key, db).await
                }
                What::Holds => {
                    let connection = guard!(Checkout<DB>, request);
                    act::holds(status, key, connection).await
                }
                What::Two => {
                    let tx = guard!(RequestTransaction<DB>, request);
                    let reports = guard!(Named<Reports, RequestTransaction<DB>>, request);
                    let db = guard!(Named<Reports, Engine<DB>>, request);
                    act::two(status, key, tx, reports, db).await
                }
            };
            Outcome::from(request, reply)
        }
    }

    pub(super) fn routes<DB: Sql>() -> Vec<Route> {
        [
            ("/act/<case>/<status>/<key>", What::Act),
            ("/plain/<case>/<status>/<key>", What::Plain),
            ("/holds/<status>/<key>", What::Holds),
            ("/two/<status>/<key>", What::Two),
        ]
        .map(|(path, what)| {
            let database = PhantomData::<fn() -> DB>;
            Route::new(Method::Post, path, At { what, database })
        })
        .into()
    }
}

impl Framework for Rocket {
    const NAME: &'static str = "Rocket";
    const NAME_OF_LINE: &'static str = "poolhouse::rocket::request";
    const DROPS_HANDLERS: bool = false;
    const PANICKED: Option<u16> = Some(500);

    async fn serve<DB: Sql>(transactions: bool) -> anyhow::Result<Server> {
        use rocket::config::{LogLevel, Shutdown};
        use rocket::fairing::AdHoc;

        let config = rocket::Config {
            port: 0,
            log_level: LogLevel::Off,
            shutdown: Shutdown {
                ctrlc: false,
                signals: [].into(),
                ..Shutdown::default()
            },
            ..rocket::Config::debug_default()
        };
        let (tell, port) = tokio::sync::oneshot::channel();
        let tell = std::sync::Mutex::new(Some(tell));
        let mut rocket = rocket::custom(config)
            .mount("/", of_rocket::routes::<DB>())
            .attach(AdHoc::on_liftoff("port", move |rocket| {
                let port = rocket.config().port;
                let tell = tell.lock().ok().and_then(|mut tell| tell.take());
                Box::pin(async move {
                    tell.map(|tell| tell.send(port));
                }) as BoxFuture<'_, ()>
            }));
        if transactions {
            rocket = rocket.attach(poolhouse::rocket::request_transactions());
        }
        let end = abort(tokio::spawn(rocket.launch()));
        let port = port.await.context("it listens")?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Ok(Server { address, end })
    }
}
