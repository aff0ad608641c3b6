//! Preparation of a new pool before its first use.

use std::sync::Arc;
use std::time::Instant;

use super::Server;
use super::migrate::{self, migrate};
use crate::backend::Backend;
use crate::error::{Error, TestError, whole_millis};
use crate::logging;
use crate::pool::{self, CheckedOut, Connector, Holder, Pool};
use crate::settings::conceal;

/// Prepares a new pool before its first use: the server's version, extensions, migrations.
pub(super) async fn prepare<DB: Backend>(
    pool: &Pool<DB>,
    connector: &Arc<Connector<DB>>,
) -> Result<Option<Server>, Error> {
    let settings = &connector.settings;
    let migrator = settings.migrator().await?;
    let changes_nothing = migrator.is_none() && settings.extensions.is_empty();
    if settings.lazy && changes_nothing {
        return Ok(None);
    }
    if changes_nothing && let Some(version) = connector.known_version() {
        connector.note_version(&version);
        let kind = connector.dialect().name;
        return Ok(Some(Server { kind, version }));
    }
    let mut checkout = pool.checkout(Holder::Engine).await?;
    let version = server_version(connector, &mut checkout).await?;
    connector.note_version(&version);
    if migrator.is_some() || !settings.extensions.is_empty() {
        if let Some(direct) = pool::open_direct(connector).await? {
            checkout = direct;
        }
        create_extensions(&mut checkout, connector).await?;
    }
    if let Some(migrator) = migrator {
        match migrate(&mut checkout, connector, &migrator, None).await {
            Ok(ran) => migrate::after(ran, checkout, connector).await,
            Err(error) => {
                // A failed run keeps its locks until its session ends. A direct connection is not closed with the pool.
                checkout.close().await;
                return Err(error);
            }
        }
        if !settings.lazy && !settings.fills_template {
            // The pool begins with a connection, also after that of the migrations was closed. A template is closed at once,
            // and what `session` writes is not for it.
            drop(pool.checkout(Holder::Engine).await?);
        }
    }
    let kind = connector.dialect().name;
    Ok(Some(Server { kind, version }))
}

/// The server's version, which is queried only when no connection has reported it.
pub(super) async fn server_version<DB: Backend>(
    connector: &Connector<DB>,
    checkout: &mut CheckedOut<DB>,
) -> sqlx::Result<String> {
    if let Some(version) = connector.known_version() {
        return Ok(version);
    }
    checkout
        .run(|connection, _| DB::text(connection, connector.dialect().version))
        .await
}

/// Creates `extensions`; one that cannot be created is a warning.
///
/// # Errors
///
/// One that cannot be created in a template of tests. Later tests get copies of the template, without a warning.
pub(super) async fn create_extensions<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    connector: &Connector<DB>,
) -> Result<(), Error> {
    let settings = &connector.settings;
    if let Some(create) = connector.dialect().create_extension {
        for extension in &settings.extensions {
            let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(create(extension)));
            if let Err(error) = checkout
                .run(|connection, _| DB::execute(connection, statement))
                .await
            {
                if settings.fills_template {
                    return Err(TestError::extension(settings, extension, error).into());
                }
                // The usual cause is a missing right, and the extension exists already or is not needed yet.
                let (extension, error) = (conceal(extension), error.to_string());
                let error = conceal(&error);
                crate::logging::warn!(engine = %settings.engine, %extension, %error, "the extension could not be created");
            }
        }
    } else if !settings.extensions.is_empty() {
        crate::logging::warn!(
            engine = %settings.engine,
            "{} has no extensions to create: {}",
            connector.dialect().name,
            settings.describe("extensions"),
        );
    }
    Ok(())
}

pub(super) fn report_start<DB: Backend>(
    pool: &Pool<DB>,
    connector: &Connector<DB>,
    server: Option<&Server>,
    begun: Instant,
) {
    // In a test, formatting the line takes longer than the check whether anything records it. The check is for an event,
    // because some subscribers record nothing else.
    if !logging::is_buffering()
        && !logging::is_heard_by_log()
        && !tracing::event_enabled!(tracing::Level::INFO)
    {
        return;
    }
    let settings = &connector.settings;
    let (kind, version) = match server {
        Some(server) => (server.kind, server.version.as_str()),
        None => (connector.dialect().name, "(not asked yet)"),
    };
    let status = pool.status();
    let changed: Vec<String> = settings.changed().collect();
    crate::logging::info!(
        engine = %settings.engine,
        "engine `{}`: pool started on {kind} {version} in {}, {} of {} connections open; {}",
        settings.engine,
        whole_millis(begun.elapsed()),
        status.size,
        status.max,
        changed.join(", "),
    );
}
