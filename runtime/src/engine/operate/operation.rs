//! The three operations on one engine and its nodes.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use tokio_util::sync::CancellationToken;

use super::super::phase::Base;
use super::super::prepare;
use super::inspect::{inspect, rights};
use super::migrations;
use super::report::{EngineReport, Progress, Severity};
use crate::backend::Backend;
use crate::background;
use crate::error::{Error, StartKind};
use crate::pool::{self, Connector, Holder, Pool};
use crate::settings::EngineSettings;

/// An operation on an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Show its settings, connect, and check for common faults.
    Check,
    /// Run its migrations.
    Migrate,
    /// List its migrations.
    Info,
}

/// Runs the operation. Each failure is a finding of the report. No connection is left open. If the future is dropped, open
/// connections are closed in the background.
///
/// Boxed, because the future is recursive: a node is an engine too.
pub(crate) fn operate<'a, DB: Backend>(
    operation: Operation,
    settings: &'a Arc<EngineSettings>,
    base: Base,
    progress: &'a Progress<'a>,
) -> BoxFuture<'a, EngineReport> {
    on_server::<DB>(operation, settings, base, progress, Severity::Problem)
}

/// The same for an engine or a node. `unreachable` is a warning for a node, because a start goes on without it.
fn on_server<'a, DB: Backend>(
    operation: Operation,
    settings: &'a Arc<EngineSettings>,
    base: Base,
    progress: &'a Progress<'a>,
    unreachable: Severity,
) -> BoxFuture<'a, EngineReport> {
    async move {
        let mut report = EngineReport::new(settings);
        if operation == Operation::Check {
            report.settings = settings.described();
        }
        let done = look::<DB>(operation, settings, base, progress, &mut report).await;
        match done {
            Ok(()) => {}
            Err(Error::Start(error)) if error.kind() == StartKind::Unavailable => {
                report.find(unreachable, format!("{error:?}"));
            }
            Err(error) => report.problem(format!("{error:?}")),
        }
        if operation == Operation::Check {
            for (_, node) in &settings.nodes {
                if let Some(node) = node.clone().map(Arc::new) {
                    let node =
                        on_server::<DB>(operation, &node, Base::Own, progress, Severity::Warning);
                    report.nodes.push(node.await);
                }
            }
        }
        report
    }
    .boxed()
}

async fn look<DB: Backend>(
    operation: Operation,
    settings: &Arc<EngineSettings>,
    base: Base,
    progress: &Progress<'_>,
    report: &mut EngineReport,
) -> Result<(), Error> {
    // One session is enough. Only a migration tries for longer to reach the server.
    let mut few = EngineSettings::clone(settings);
    few.max_size = 1;
    few.min_size = 0;
    few.lazy = false;
    few.tries_once = operation != Operation::Migrate;
    let connector = Arc::new(Connector::<DB>::new(few)?);
    connector.warn_of_ignored();
    // A pooler is a finding here, and not a line of the log.
    connector.report_pooler();
    let pool = match base {
        Base::Own => Pool::start(Arc::clone(&connector)).await?,
        Base::Sqlx => Pool::start_on_sqlx(Arc::clone(&connector)).await?,
    };
    let mut unfinished = PoolOfOperation(Some(pool.clone()));
    let done = look_at(operation, settings, &connector, &pool, progress, report).await;
    pool.close(&CancellationToken::new()).await;
    unfinished.0 = None;
    done
}

/// The pool of an operation, which is closed in the background if a signal ends the operation.
struct PoolOfOperation<DB: Backend>(Option<Pool<DB>>);

impl<DB: Backend> Drop for PoolOfOperation<DB> {
    fn drop(&mut self) {
        if let Some(pool) = self.0.take() {
            background::spawn(async move {
                pool.close(&CancellationToken::new()).await;
            });
        }
    }
}

async fn look_at<DB: Backend>(
    operation: Operation,
    settings: &EngineSettings,
    connector: &Arc<Connector<DB>>,
    pool: &Pool<DB>,
    progress: &Progress<'_>,
    report: &mut EngineReport,
) -> Result<(), Error> {
    let mut checkout = pool.checkout(Holder::Engine).await?;
    let version = prepare::server_version(connector, &mut checkout).await?;
    report.database = Some(connector.dialect().name);
    report.version = Some(version);
    if operation == Operation::Check {
        inspect(&mut checkout, connector, settings, report).await;
    }
    let Some(migrator) = settings.migrator().await? else {
        return Ok(());
    };
    // A node has no migrations but those of its engine.
    let direct = pool::open_direct(connector).await?;
    let mut checkout = direct.unwrap_or(checkout);
    let mut found = migrations::state(&mut checkout, connector, &migrator).await;
    if let Ok(found) = &mut found {
        migrations::find(&migrator, found, report);
    }
    let mut found = found?;
    let outcome = match operation {
        Operation::Check => {
            rights(&mut checkout, connector, &migrator, &found, report).await;
            Ok(())
        }
        Operation::Migrate if report.findings.is_empty() => {
            prepare::create_extensions(&mut checkout, connector).await?;
            migrations::run(checkout, connector, &migrator, &mut found, progress).await
        }
        Operation::Migrate | Operation::Info => Ok(()),
    };
    report.migrations = Some(found);
    outcome
}
