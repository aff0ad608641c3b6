//! actix-web.

use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};
use poolhouse::{Error, RequestTransaction};
use sqlx::Postgres;

use super::handlers;
use super::requests::listening;

async fn act(
    path: web::Path<(String, i32)>,
    mut tx: RequestTransaction<Postgres>,
) -> Result<&'static str, Error> {
    let (what, key) = path.into_inner();
    handlers::act(&what, key, &mut tx).await?;
    Ok("")
}

fn serve(signals: bool) -> anyhow::Result<Server> {
    let transactions = poolhouse::actix_web::request_transactions();
    let server = HttpServer::new(move || {
        App::new()
            .wrap(transactions.clone())
            .route("/readyz", web::get().to(poolhouse::actix_web::readiness))
            .route("/{what}/{key}", web::post().to(act))
    })
    .h1_allow_half_closed(false)
    .workers(2);
    let server = if signals {
        server
    } else {
        server.disable_signals()
    };
    let server = server.bind(("127.0.0.1", 0))?;
    listening(server.addrs()[0]);
    Ok(server.run())
}

/// The program in which actix-web listens for signals.
pub mod listens_itself {
    use poolhouse::{PgEngine, with_pool};

    /// The program.
    ///
    /// # Errors
    ///
    /// A failed start, and the server's errors.
    #[with_pool]
    #[actix_web::main]
    pub async fn main(_db: PgEngine) -> anyhow::Result<()> {
        Ok(super::serve(true)?.await?)
    }
}

/// The program in which poolhouse listens for signals.
pub mod with_shutdown {
    use poolhouse::{PgEngine, Shutdown, with_pool};

    /// The program.
    ///
    /// # Errors
    ///
    /// A failed start, and the server's errors.
    #[with_pool]
    #[actix_web::main]
    pub async fn main(_db: PgEngine, shutdown: Shutdown) -> anyhow::Result<()> {
        let server = super::serve(false)?;
        let handle = server.handle();
        actix_web::rt::spawn(async move {
            shutdown.wait().await;
            handle.stop(true).await;
        });
        Ok(server.await?)
    }
}
