//! A client that uses the database of an ended test, before another process leases the database.

use poolhouse_tests::{Kind, PrivateServer, Server, eventually};
use sqlx::{Connection, PgConnection};

use crate::minimal::started;
use crate::restarts::{ask, passes, run_of};

/// A database of the server.
fn database(server: &PrivateServer, name: &str) -> Server {
    let mut url = url::Url::parse(&server.url).unwrap();
    url.set_path(name);
    Server {
        url: url.into(),
        ..Server::clone(server)
    }
}

/// Runs a test, and returns the name of a database that it leaves in this state, if there is one.
async fn left(server: &PrivateServer, state: &str) -> String {
    let of_state = format!("SELECT datname::text FROM pg_database WHERE datname ~ '_{state}_'");
    let mut found = Vec::new();
    eventually("a database is left", async || {
        passes(&run_of(server, "scenarios::one", 1).output()?);
        found = ask(server, &of_state).await;
        anyhow::ensure!(!found.is_empty());
        Ok(())
    })
    .await
    .unwrap();
    found.swap_remove(0)
}

async fn no_test_finds_what_a_visitor_wrote(state: &str, resets: bool) {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(builder).await;
    let visited = left(&server, state).await;
    let write = "INSERT INTO band (id, name) VALUES (2, 'of a visitor')".to_owned();
    database(&server, &visited).ask(&[write]).await.unwrap();
    if resets {
        let reset = "SELECT pg_stat_reset()::text".to_owned();
        database(&server, &visited).ask(&[reset]).await.unwrap();
    }
    // The next test would lease another one.
    let others = format!(
        "SELECT datname::text FROM pg_database WHERE datname ~ '_(lease|ready)_' AND datname <> '{visited}'"
    );
    for other in ask(&server, &others).await {
        ask(&server, &format!("DROP DATABASE {other}")).await;
    }
    passes(&run_of(&server, "scenarios::one", 1).output().unwrap());
}

#[tokio::test]
async fn in_a_clean_database() {
    no_test_finds_what_a_visitor_wrote("lease", false).await;
}

#[tokio::test]
async fn in_a_new_clone() {
    no_test_finds_what_a_visitor_wrote("ready", false).await;
}

#[tokio::test]
async fn in_a_clean_database_without_statistics() {
    no_test_finds_what_a_visitor_wrote("lease", true).await;
}

#[tokio::test]
async fn in_a_new_clone_without_statistics() {
    no_test_finds_what_a_visitor_wrote("ready", true).await;
}

/// The role of tests may not end a session of a superuser, and so cannot drop the database that it is in.
#[tokio::test]
async fn a_visitor_who_stays_does_not_fail_tests() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(builder).await;
    for state in ["ready", "lease"] {
        let visited = left(&server, state).await;
        let url = database(&server, &visited).url;
        let mut visitor = PgConnection::connect(&url).await.unwrap();
        for _ in 0..2 {
            passes(&run_of(&server, "scenarios::", 1).output().unwrap());
            // The server waits 5 s for the end of a session before it refuses to rename its database.
            let refused = ["is being accessed by other users"];
            assert!(
                server
                    .log()
                    .unwrap()
                    .lines_with(&refused)
                    .unwrap()
                    .is_empty()
            );
        }
        visitor.ping().await.unwrap();
        visitor.close().await.unwrap();
    }
}
