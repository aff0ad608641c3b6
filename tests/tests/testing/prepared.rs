//! A test's database is dropped, whatever the test has left with which the server refuses that.

use poolhouse::{PgEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer, eventually};

use crate::minimal::{self, said, started};
use crate::restarts::{ask, passes, run_of};

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL")]
#[tokio::test]
async fn left_by_a_test(db: PgEngine) {
    let most: String = sqlx::query_scalar("SHOW max_prepared_transactions")
        .fetch_one(&db)
        .await
        .unwrap();
    // The default of a server. The driver has one that allows them.
    if most == "0" {
        return;
    }
    let mut connection = db.acquire().await.unwrap();
    let leave = "BEGIN; INSERT INTO band (id, name) VALUES (1, 'Pythonistas'); PREPARE TRANSACTION 'it''s left'";
    sqlx::raw_sql(leave).execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn it_is_rolled_back_with_its_database() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(builder.setting("max_prepared_transactions", 4)).await;
    for _ in 0..2 {
        // The identifier would be in use in the second run.
        passes(
            &run_of(&server, "prepared::left_by_a_test", 1)
                .output()
                .unwrap(),
        );
        eventually("the transaction is rolled back", async || {
            passes(&run_of(&server, "scenarios::one", 1).output()?);
            let left = ask(&server, "SELECT gid FROM pg_prepared_xacts").await;
            anyhow::ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
        .await
        .unwrap();
    }
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL")]
#[tokio::test]
async fn left_as_a_template(db: PgEngine) {
    let template = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I IS_TEMPLATE true', current_database()); END $$";
    sqlx::raw_sql(template).execute(&db).await.unwrap();
}

/// Only a superuser may do it before version 16.
#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL")]
#[tokio::test]
#[ignore = "it needs a superuser, and is run by a driver"]
async fn left_with_a_subscription(db: PgEngine) {
    let subscribe = "CREATE SUBSCRIPTION \"Bands\" CONNECTION 'host=localhost' PUBLICATION bands WITH (connect = false)";
    sqlx::query(subscribe).execute(&db).await.unwrap();
}

/// Runs a test, and waits until no database is left that matches this condition.
async fn none_is_left(server: &PrivateServer, url: &str, test: &str, condition: &str) {
    let run = |test: &str| {
        let mut command = run_of(server, test, 1);
        command
            .arg("--include-ignored")
            .env(minimal::variable(server), url);
        command.output().unwrap()
    };
    let output = run(test);
    passes(&output);
    assert!(said(&output).contains("ok. 1 passed"), "{}", said(&output));
    eventually("the database is dropped", async || {
        passes(&run("scenarios::one"));
        let left = format!(
            "SELECT datname::text FROM pg_database d WHERE datname ~ '^poolhouse_' AND {condition}"
        );
        let left = ask(server, &left).await;
        anyhow::ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_template_is_dropped() {
    if let Some(builder) = PrivateServer::require(Kind::Postgres) {
        let server = started(builder).await;
        let url = minimal::url(&server);
        none_is_left(
            &server,
            &url,
            "prepared::left_as_a_template",
            "datistemplate",
        )
        .await;
    }
}

#[tokio::test]
async fn a_database_with_a_subscription_is_dropped() {
    if let Some(builder) = PrivateServer::require(Kind::Postgres) {
        let server = started(builder).await;
        let subscribes = "oid IN (SELECT subdbid FROM pg_subscription)";
        let test = "prepared::left_with_a_subscription";
        none_is_left(&server, &server.url, test, subscribes).await;
    }
}
