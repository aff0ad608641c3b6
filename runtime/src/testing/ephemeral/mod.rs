//! A private server for tests, where no URL names one.
//!
//! It is made of the programs on this machine, shared by all test processes of one user, and gone a minute after the last of
//! them. There is no daemon to set up and nothing to stop.
//!
//! | file | what it holds |
//! |---|---|
//! | `make` | the kinds of server: their programs, and how these are called |
//! | `machine` | where programs, accounts and folders are |
//! | `cluster` | the files of an empty server, made once and copied |
//! | `shared` | the running server that processes share |
//! | `keeper.sh` | the process that runs the server for as long as somebody uses it |
//!
//! The folder of a running server holds:
//!
//! | entry | meaning |
//! |---|---|
//! | `data` | the server's files |
//! | `users/<pid>` | a process that uses the server; `closing` instead of `users` while the keeper stops it |
//! | `port` | where it listens, on 127.0.0.1 |
//! | `log` | what it says |

mod cluster;
mod machine;
mod make;
mod shared;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use once_cell::sync::{Lazy, OnceCell};

use self::make::Make;
use super::error::TestError;
use crate::error::Error;
use crate::settings::{DatabaseUrl, EngineSettings};

/// The URL of a Postgres engine in a test where nobody gives one. The top-level domain is one that never exists:
/// <https://www.rfc-editor.org/rfc/rfc2606#section-2>.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: &str = "postgres://ephemeral.invalid/postgres";

/// The URL of a MySQL engine in a test where nobody gives one.
#[cfg(feature = "mysql")]
pub(crate) const MYSQL: &str = "mysql://ephemeral.invalid/mysql";

/// Why there is no server, and what to do.
#[derive(Clone, Debug)]
struct Failure {
    what: String,
    cure: String,
}

impl Failure {
    fn new(what: impl ToString, cure: impl ToString) -> Self {
        Self {
            what: what.to_string(),
            cure: cure.to_string(),
        }
    }
}

type Outcome = Result<String, Failure>;

/// The servers that this process has asked for. A failure is remembered too: the next test would fail the same way.
static ASKED: Lazy<Mutex<HashMap<&'static str, Arc<OnceCell<Outcome>>>>> =
    Lazy::new(Mutex::default);

/// Points the settings to the private server, if nothing else names one. Starts it when it does not run.
///
/// # Errors
///
/// A program that is not there, with its package; or why the server does not start, with what it says.
pub(super) async fn settle(settings: &mut EngineSettings) -> Result<(), Error> {
    let Some(make) = Make::of_url(settings.url.expose()) else {
        return Ok(());
    };
    let cell = {
        let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(asked.entry(make.name).or_default())
    };
    let outcome =
        tokio::task::spawn_blocking(move || cell.get_or_init(|| shared::url(make)).clone());
    let outcome = outcome
        .await
        .unwrap_or_else(|error| Err(Failure::new(error, "This is a bug")));
    match outcome {
        Ok(url) => {
            let url = DatabaseUrl::parse(&url)
                .map_err(|reason| TestError::new(settings, reason, "This is a bug"))?;
            settings.move_to(url);
            Ok(())
        }
        Err(Failure { what, cure }) => {
            let cure = format!(
                "{cure}, or set {} to the URL of a server",
                settings.url_variable
            );
            Err(TestError::new(settings, what, cure).into())
        }
    }
}
