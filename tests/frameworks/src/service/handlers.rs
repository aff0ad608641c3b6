//! What handlers do, on every framework.

use std::fmt::Display;
use std::sync::LazyLock;
use std::time::Duration;

use poolhouse::{Error, RequestTransaction};
use sqlx::Postgres;
use tokio::sync::Semaphore;

/// Lets requests go on that wait.
static RELEASED: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(0));

/// Writes a row in the request's transaction, and does what the request asks for.
///
/// # Errors
///
/// Those of the database.
///
/// # Panics
///
/// When it is asked to.
pub async fn act(what: &str, key: i32, tx: &mut RequestTransaction<Postgres>) -> Result<(), Error> {
    if what == "release" {
        RELEASED.add_permits(1);
        return Ok(());
    }
    println!("begun {key}.");
    sqlx::query("INSERT INTO entry VALUES ($1)")
        .bind(key)
        .execute(&mut *tx)
        .await?;
    match what {
        "slow" => tokio::time::sleep(Duration::from_millis(200)).await,
        "panic" => panic!("on purpose"),
        "wait" => {
            println!("waits {key}.");
            if let Ok(released) = RELEASED.acquire().await {
                released.forget();
            }
        }
        _ => {}
    }
    Ok(())
}

/// Says that the service listens.
pub fn listening(address: impl Display) {
    println!("listening on http://{address}");
}
