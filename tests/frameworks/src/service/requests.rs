//! The work that a request asks for besides its row, in every service.

use std::fmt::Display;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::Semaphore;

/// Permits for waiting requests.
static RELEASED: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(0));

/// Lets one waiting request continue, if the request asks for that.
pub fn releases(what: &str) -> bool {
    if what == "release" {
        RELEASED.add_permits(1);
        return true;
    }
    false
}

/// Prints that a request has reached its handler.
pub fn begun(key: i32) {
    println!("begun {key}.");
}

/// Does the requested work while the request's transaction is open.
///
/// # Panics
///
/// When the request asks for a panic.
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

/// Prints the address of the service.
pub fn listening(address: impl Display) {
    println!("listening on http://{address}");
}
