//! Rocket.

use poolhouse::{Error, RequestTransaction};
use rocket::config::{LogLevel, Shutdown};
use rocket::fairing::AdHoc;
use rocket::{Build, Config, Rocket, routes};
use sqlx::Postgres;

use super::handlers;
use super::requests::listening;

#[rocket::post("/<what>/<key>")]
async fn act(what: &str, key: i32, mut tx: RequestTransaction<Postgres>) -> Result<(), Error> {
    handlers::act(what, key, &mut tx).await
}

fn service(shutdown: Shutdown) -> Rocket<Build> {
    let config = Config {
        port: 0,
        log_level: LogLevel::Off,
        shutdown,
        ..Config::release_default()
    };
    let port = AdHoc::on_liftoff("port", |rocket| {
        Box::pin(async move { listening(format!("127.0.0.1:{}", rocket.config().port)) })
    });
    rocket::custom(config)
        .attach(port)
        .attach(poolhouse::rocket::request_transactions())
        .mount("/readyz", poolhouse::rocket::readiness())
        .mount("/", routes![act])
}

/// Rocket's settings without its own signals.
fn deaf() -> Shutdown {
    Shutdown {
        ctrlc: false,
        signals: [].into(),
        ..Default::default()
    }
}

/// The program in which Rocket listens for signals, unless poolhouse does by `POOLHOUSE_SIGNALS`: of two who listen, either may be
/// the first.
pub mod listens_itself {
    use std::env;

    use poolhouse::{PgEngine, with_pool};
    use rocket::config::Shutdown;

    /// The program.
    ///
    /// # Errors
    ///
    /// A failed start, and the server's errors.
    #[with_pool]
    #[rocket::main]
    pub async fn main(_db: PgEngine) -> anyhow::Result<()> {
        let shutdown = match env::var_os("POOLHOUSE_SIGNALS") {
            Some(_) => super::deaf(),
            None => Shutdown::default(),
        };
        super::service(shutdown).launch().await?;
        Ok(())
    }
}

/// The program in which poolhouse listens for signals.
pub mod with_shutdown {
    use std::pin::pin;

    use poolhouse::{PgEngine, Shutdown, with_pool};

    /// The program.
    ///
    /// # Errors
    /// A failed start, and the server's errors.
    /// A start that fails, and those of the server.
    #[with_pool]
    #[rocket::main]
    pub async fn main(_db: PgEngine, shutdown: Shutdown) -> anyhow::Result<()> {
        let rocket = super::service(super::deaf()).ignite().await?;
        let stop = rocket.shutdown();
        let mut launched = pin!(rocket.launch());
        // Not in another task: a notification while Rocket's own task is polled can make Rocket abandon its open requests.
        rocket::tokio::select! {
            ended = &mut launched => ended?,
            () = shutdown.wait() => {
                stop.notify();
                launched.await?
            }
        };
        Ok(())
    }
}
