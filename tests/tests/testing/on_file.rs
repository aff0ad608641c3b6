//! Tests on SQLite that [`drivers`](crate::drivers) runs again, in processes with a temporary folder of their own.

use std::time::Duration;

use poolhouse::{SqliteEngine, with_pool};

use crate::scenarios::FATE;

#[with_pool]
#[tokio::test]
async fn inserts(db: SqliteEngine) {
    sqlx::query("INSERT INTO band (name) VALUES ('Pythonistas')")
        .execute(&db)
        .await
        .unwrap();
    match std::env::var(FATE).as_deref() {
        Ok("fail") => panic!("as the driver wishes"),
        // Until the driver kills the process.
        Ok("hang") => tokio::time::sleep(Duration::MAX).await,
        // To a folder whose `.env` names another database.
        Ok("move") => std::env::set_current_dir(std::env::temp_dir()).unwrap(),
        _ => {}
    }
}

/// Runs after the test above, because libtest sorts by name.
#[with_pool]
#[tokio::test]
async fn inserts_after_it(db: SqliteEngine) {
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(mode, "wal");
    // The driver has set a temporary folder, which may be on a disk.
    if std::env::var_os("TMPDIR").is_some() {
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
            .fetch_one(&db)
            .await
            .unwrap();
        assert_eq!(synchronous, 0, "OFF");
    }
}
