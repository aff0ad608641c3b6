//! Which settings mean a private server.

use std::io;
use std::sync::Arc;

use super::make::Make;
use super::no_server::{NoServer, ServerUrl};
use super::shared;
use crate::error::{Error, TestError, TestKind};
use crate::settings::{DatabaseUrl, EngineSettings};

/// Points settings without a URL of their own to the private server, and returns whether they have none. Starts the server if
/// it does not run.
///
/// # Errors
///
/// A missing program, with its package; or a server that does not start, with its output.
pub(in crate::testing) async fn settle(settings: &mut Arc<EngineSettings>) -> Result<bool, Error> {
    let Some(make) = Make::of_url(settings.url.expose()) else {
        return Ok(false);
    };
    let ask = || match shared::url(make) {
        Err(failure) if !failure.lasts => Err(failure),
        lasting => Ok(lasting),
    };
    let outcome = tokio::task::spawn_blocking(move || make.asked.get_or_try_init(ask));
    // The task fails only when the runtime shuts down, which drops this future too.
    let outcome = outcome
        .await
        .map_err(|error| sqlx::Error::Io(io::Error::other(error)))?;
    match outcome.and_then(ServerUrl::clone) {
        Ok(url) => {
            let url = DatabaseUrl::parse(&url).map_err(|reason| {
                TestError::new(settings, TestKind::Unavailable, reason, "This is a bug")
            })?;
            Arc::make_mut(settings).move_to(url);
            Ok(true)
        }
        Err(NoServer { what, cure, .. }) => {
            let cure = format!(
                "{cure}, or set {} to the URL of a server",
                settings.url_variable
            );
            Err(TestError::new(settings, TestKind::Unavailable, what, cure).into())
        }
    }
}
