//! `cancel_everywhere` does not take a row that a policy hides from it for one that is not there.

use poolhouse::testing::cancel_everywhere;
use poolhouse::{PgEngine, with_pool};

/// The policy shows the rows of one tenant, in sessions that name it.
const TABLE: &str = "CREATE TABLE note (tenant TEXT NOT NULL); \
    ALTER TABLE note ENABLE ROW LEVEL SECURITY; ALTER TABLE note FORCE ROW LEVEL SECURITY; \
    CREATE POLICY own ON note USING (tenant = current_setting('app.tenant', true))";

#[with_pool(
    env = "POOLHOUSE_TESTING_POSTGRES_URL",
    migrations = false,
    session = "SET app.tenant = 'seven'"
)]
#[tokio::test]
#[should_panic(expected = "row-level security")]
async fn rows_that_a_policy_hides_are_an_error(db: PgEngine) {
    sqlx::raw_sql(TABLE).execute(&db).await.unwrap();
    cancel_everywhere(async || {
        sqlx::query("INSERT INTO note VALUES ('seven')")
            .execute(&db)
            .await
    })
    .await;
}
