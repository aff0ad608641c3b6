//! A transaction that a test prepares and leaves does not outlive its database.

use poolhouse::{PgEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer, eventually};

use crate::minimal::started;
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
