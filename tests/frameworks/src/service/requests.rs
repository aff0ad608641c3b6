//! What a request asks of its handler besides its row, in every service.

use std::fmt::Display;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::Semaphore;

/// Lets requests go on that wait.
static RELEASED: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(0));

/// Lets one waiting request go on, if that is what is asked for.
pub fn releases(what: &str) -> bool {
    if what == "release" {
        RELEASED.add_permits(1);
        return true;
    }
    false
}

/// Says that a request has come to its handler.
pub fn begun(key: i32) {
    println!("begun {key}.");
}

/// Does what is asked for while the request's transaction is open.
///
/// # Panics
///
/// When it is asked to.
pub async fn work(what: &str, key: i32) {
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
}

/// Says that the service listens.
pub fn listening(address: impl Display) {
    println!("listening on http://{address}");
}
