//! Which settings mean a private server.

use std::io;
use std::sync::Arc;

use super::make::Make;
use super::no_server::NoServer;
use super::shared;
use crate::error::{Error, TestError, TestKind};
use crate::settings::{DatabaseUrl, EngineSettings};

/// Points the settings to the private server, if nothing else names one. Starts it when it does not run.
///
/// # Errors
///
/// A program that is not there, with its package; or why the server does not start, with what it says.
pub(in crate::testing) async fn settle(settings: &mut Arc<EngineSettings>) -> Result<(), Error> {
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
            let url = DatabaseUrl::parse(url).map_err(|reason| {
                TestError::new(settings, TestKind::Unavailable, reason, "This is a bug")
            })?;
            Arc::make_mut(settings).move_to(url);
            Ok(())
        }
        Err(NoServer { what, cure }) => {
            let cure = format!(
                "{cure}, or set {} to the URL of a server",
                settings.url_variable
            );
            Err(TestError::new(settings, TestKind::Unavailable, what, cure).into())
        }
    }
}
