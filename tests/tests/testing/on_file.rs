//! A test on SQLite that [`drivers`](crate::drivers) runs again, in a process with a temporary folder of its own.

use poolhouse::{SqliteEngine, with_pool};

use crate::scenarios::FATE;

#[with_pool]
#[tokio::test]
async fn inserts(db: SqliteEngine) {
    sqlx::query("INSERT INTO band (name) VALUES ('Pythonistas')")
        .execute(&db)
        .await
        .unwrap();
    assert_ne!(
        std::env::var(FATE).as_deref(),
        Ok("fail"),
        "as the driver wishes"
    );
}
