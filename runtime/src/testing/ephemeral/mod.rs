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

use std::io;
use std::sync::Arc;

use self::make::Make;
use crate::error::{Error, TestError};
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
    fn new(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cure: cure.into(),
        }
    }
}

impl From<io::Error> for Failure {
    /// A folder that cannot be made, or a file that cannot be written.
    fn from(error: io::Error) -> Self {
        Self::new(
            format!("the folder of a private server cannot be written: {error}"),
            "Make room in the folder for temporary files",
        )
    }
}

type Outcome = Result<String, Failure>;

/// Points the settings to the private server, if nothing else names one. Starts it when it does not run.
///
/// # Errors
///
/// A program that is not there, with its package; or why the server does not start, with what it says.
pub(super) async fn settle(settings: &mut Arc<EngineSettings>) -> Result<(), Error> {
    let Some(make) = Make::of_url(settings.url.expose()) else {
        return Ok(());
    };
    let outcome = tokio::task::spawn_blocking(|| make.asked.get_or_init(|| shared::url(make)));
    // It only fails when the runtime is shut down, and then nobody sees it.
    let outcome = outcome
        .await
        .map_err(|error| sqlx::Error::Io(io::Error::other(error)))?;
    match outcome {
        Ok(url) => {
            let url = DatabaseUrl::parse(url)
                .map_err(|reason| TestError::new(settings, reason, "This is a bug"))?;
            Arc::make_mut(settings).move_to(url);
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
