//! Starts that fail.

use std::{pin::pin, time::Duration};

use anyhow::{Context, ensure};

use sqlx::Connection;

use super::{bounded, case_database};
use crate::{Kind, Options, Proxy, Subject, TestDatabase, steps::up_to, subject::ConnectionOf};

/// 26: the server allows fewer connections than the start opens. The open ones are closed again.
pub async fn after_some_connections<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "some");
    allow(case_database.database()?, 3).await?;
    let options = Options {
        max_size: 8,
        min_size: 8,
        ..Options::new(case_database.url())
    };
    let start = S::start(Options {
        start_timeout: Duration::from_secs(1),
        ..options
    });
    let said = error_of(start.await)?;
    no_secret_in(&said, case_database.database()?)?;
    ensure!(said.contains("too many"), "{said}");
    case_database.closed_in_good_order().await
}

/// 36: a start is cancelled at each of its first await points, and once its sessions are on the server. The open connections are
/// closed.
pub async fn cancelled<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "cancelled");
    let database = case_database.database()?;
    let proxy = Proxy::before(database.address()?)?;
    // Through a slow network every answer is awaited.
    proxy.delay(Duration::from_millis(2));
    let options = Options {
        max_size: 3,
        min_size: 3,
        ..Options::new(database.url_through(proxy.address()))
    };
    for pending in 1..12 {
        let start = up_to(pending, S::start(options.clone())).await;
        if let Some(pool) = start {
            bounded("the close", pool?.close()).await?;
        }
    }
    for open in 1..=3 {
        let mut start = pin!(S::start(options.clone()));
        let opened = database.sessions_become("some are open", |sessions| sessions.len() >= open);
        tokio::select! {
            pool = &mut start => drop(bounded("the close", pool?.close()).await?),
            opened = opened => drop(opened?),
        }
    }
    case_database.closed_in_good_order().await
}

/// 27: the server allows no more connections. The error may be temporary, so the start retries until `start_timeout`.
pub async fn too_many_clients<S: Subject>() -> anyhow::Result<()> {
    let case_database = case_database!(S, "many");
    let database = case_database.database()?;
    allow(database, 1).await?;
    let only = ConnectionOf::<S>::connect(&case_database.url()).await?;
    let proxy = Proxy::before(database.address()?)?;
    let options = Options::new(database.url_through(proxy.address()));
    let start = S::start(Options {
        start_timeout: Duration::from_secs(1),
        ..options
    });
    let said = error_of(start.await)?;
    no_secret_in(&said, database)?;
    ensure!(said.contains("too many"), "{said}");
    ensure!(proxy.sockets().len() > 1, "it was asked once only");
    only.close().await?;
    case_database.closed_in_good_order().await
}

/// 27: a wrong password, for which a retry is useless.
pub async fn wrong_password<S: Subject>() -> anyhow::Result<()> {
    let url = |url: String, database: &TestDatabase| url.replace(database.password(), "s3cret");
    fails_at_once::<S>(url, |database| match database.kind() {
        Kind::Postgres => (
            "Postgres: the server rejected the user or the password. Correct user and password of the url, or the server's \
             pg_hba.conf",
            format!(
                "password authentication failed for user \"{}\"",
                database.name()
            ),
        ),
        Kind::MariaDb => (
            "MySQL: the server rejected the user or the password. Correct user and password of the url, or the user's host on \
             the server",
            format!(
                "Access denied for user '{}'@'127.0.0.1' (using password: YES)",
                database.name()
            ),
        ),
    })
    .await
}

/// 27: a database that does not exist.
pub async fn unknown_database<S: Subject>() -> anyhow::Result<()> {
    let url = |url: String, _: &TestDatabase| url + "_missing";
    fails_at_once::<S>(url, |database| match database.kind() {
        Kind::Postgres => (
            "Postgres: the database does not exist. Create the database, or correct its name in the url",
            format!("database \"{}_missing\" does not exist", database.name()),
        ),
        Kind::MariaDb => (
            "MySQL: the database does not exist. Create the database, or correct its name in the url",
            format!("Unknown database '{}_missing'", database.name()),
        ),
    })
    .await
}

/// 27: TLS is required, and the server does not support it.
pub async fn tls_refused<S: Subject>() -> anyhow::Result<()> {
    let url = |url: String, database: &TestDatabase| match database.kind() {
        Kind::Postgres => url + "?sslmode=require",
        Kind::MariaDb => url + "?ssl-mode=REQUIRED",
    };
    fails_at_once::<S>(url, |database| {
        let message = match database.kind() {
            Kind::Postgres => {
                "Postgres: the TLS handshake failed. Check the server's certificate and the sslmode (MySQL: ssl-mode) of the url"
            }
            Kind::MariaDb => {
                "MySQL: the TLS handshake failed. Check the server's certificate and the sslmode (MySQL: ssl-mode) of the url"
            }
        };
        let cause = "error occurred while attempting to establish a TLS connection: server does not support TLS";
        (message, cause.to_owned())
    })
    .await
}

/// Checks that a start with a changed URL fails at the first attempt, with this message and cause, and leaves no session.
async fn fails_at_once<S: Subject>(
    change: impl Fn(String, &TestDatabase) -> String,
    message: impl Fn(&TestDatabase) -> (&'static str, String),
) -> anyhow::Result<()> {
    let case_database = case_database!(S, "once");
    let database = case_database.database()?;
    let proxy = Proxy::before(database.address()?)?;
    let url = change(database.url_through(proxy.address()), database);
    let error = S::start(Options::new(url)).await.err();
    let error = error.context("it has started")?;
    let said = error.to_string();
    no_secret_in(&said, database)?;
    let (message, cause) = message(database);
    let chain = format!("{error:#}");
    ensure!(!said.contains(&cause), "{said}");
    ensure!(chain.contains(&cause), "{chain}\nwithout\n{cause}");
    no_secret_in(&chain, database)?;
    let expected = format!("engine `under_test`: its pool could not be started: {message}. url = ");
    ensure!(
        said.starts_with(&expected),
        "{said}\ninstead of\n{expected}"
    );
    let sockets = proxy.sockets().len();
    ensure!(sockets == 1, "it was tried {sockets} times");
    case_database.closed_in_good_order().await
}

/// Limits the number of connections of the database's user.
///
/// # Errors
/// When the statement fails.
pub async fn allow(database: &TestDatabase, connections: u32) -> anyhow::Result<()> {
    let name = database.name();
    let limit = match database.kind() {
        Kind::Postgres => format!("ALTER ROLE {name} CONNECTION LIMIT {connections}"),
        Kind::MariaDb => {
            format!("ALTER USER {name}@'%' WITH MAX_USER_CONNECTIONS {connections}")
        }
    };
    database.server().ask(&[limit]).await.map(drop)
}

/// The text of an error of a start that must fail; its `Debug` output must contain the text.
fn error_of<T>(started: anyhow::Result<T>) -> anyhow::Result<String> {
    let error = started.err().context("it has started")?;
    ensure!(
        format!("{error:?}").contains(&error.to_string()),
        "{error:?}"
    );
    Ok(error.to_string())
}

fn no_secret_in(said: &str, database: &TestDatabase) -> anyhow::Result<()> {
    ensure!(
        !said.contains(database.password()) && !said.contains("s3cret"),
        "{said}"
    );
    ensure!(said.contains(":***@"), "{said}");
    Ok(())
}
