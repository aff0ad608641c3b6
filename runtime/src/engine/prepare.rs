//! Preparation of a new pool before its first use.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use sqlx::migrate::{MigrateError, Migrator};

use super::{Engine, Server};
use crate::backend::{self, Backend};
use crate::dialect::MigrationsLock;
use crate::error::{Error, StartError, TestError, whole_millis};
use crate::logging;
use crate::pool::{self, CheckedOut, Connector, Holder, Pool};
use crate::settings::{EngineSettings, SharedMigrator, conceal};

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
        let migrated = migrate(&mut checkout, connector, &migrator, None).await;
        if migrated.is_err() {
            // A failed run keeps its locks until its session ends. A direct connection is not closed with the pool.
            checkout.close().await;
        }
        migrated?;
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

impl<DB: Backend> Engine<DB> {
    /// Runs the pending migrations in their order, as `MIGRATOR.run(&pool)` does, over `direct_url` if it is set. A lock keeps
    /// two programs from running them at the same time.
    ///
    /// The setting `migrations` does so at the start; this is for a program that chooses the moment itself.
    ///
    /// ```no_run
    /// # async fn migrate(db: poolhouse::SqliteEngine) -> Result<(), poolhouse::Error> {
    /// # let migrator = sqlx::migrate::Migrator::DEFAULT;
    /// db.migrate(&migrator).await // `static MIGRATOR: Migrator = sqlx::migrate!();`, and `db.migrate(&MIGRATOR)`
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`acquire`](Engine::acquire); a migration that failed, with its file and line; one that was changed or is missing
    /// since it was applied.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the session is closed, and the running migration is rolled back if the database supports it.
    pub fn migrate(
        &self,
        migrator: &Migrator,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<DB> {
        let engine = self.clone();
        let migrator = SharedMigrator::copy_of(migrator);
        async move {
            let connector = engine.connector();
            let checkout = match pool::open_direct(&connector).await? {
                Some(direct) => direct,
                None => engine.checkout(Holder::Engine).await?,
            };
            let mut locked = Locked(Some(checkout));
            if let Some(checkout) = &mut locked.0 {
                // The driver begins a savepoint for each migration if it still counts an ended transaction.
                checkout.recount().await?;
                migrate(checkout, &connector, &migrator, None).await?;
            }
            // The run has succeeded and released its locks.
            drop(locked.0.take());
            Ok(())
        }
    }
}

/// A connection whose session may hold locks: a failed or cancelled run keeps them until its session ends.
struct Locked<DB: Backend>(Option<CheckedOut<DB>>);

impl<DB: Backend> Drop for Locked<DB> {
    fn drop(&mut self) {
        if let Some(checkout) = self.0.take() {
            checkout.discard();
        }
    }
}

/// Runs the pending migrations, up to the version `target` if there is one. After an error the session keeps its locks.
///
/// # Errors
///
/// The migration that failed, with its file and line.
pub(super) async fn migrate<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    connector: &Connector<DB>,
    migrator: &SharedMigrator,
    target: Option<i64>,
) -> Result<(), Error> {
    let settings = &connector.settings;
    let lock = connector.dialect().migrations_lock;
    let to_run = migrator.clone();
    let run = checkout.run(|connection, _| {
        let work = async move {
            match lock {
                MigrationsLock::Driver => DB::migrate(connection, &to_run, target).await?,
                MigrationsLock::Queries { take, give_back } => {
                    must_be_one(DB::number(connection, take).await?)?;
                    DB::migrate(connection, &to_run, target).await?;
                    must_be_one(DB::number(connection, give_back).await?)?;
                }
                MigrationsLock::Nothing => {
                    DB::migrate(connection, &to_run.unlocked(), target).await?;
                }
            }
            Ok(())
        };
        Box::pin(work)
    });
    let Err(error) = run.await else {
        return Ok(());
    };
    let location = location_of::<DB>(settings, migrator, &error);
    Err(StartError::migrations(settings, location.as_deref(), error).into())
}

fn must_be_one(answer: i64) -> sqlx::Result<()> {
    if answer == 1 {
        return Ok(());
    }
    let lost = "the server did not give the lock under which migrations run, or did not keep it";
    Err(sqlx::Error::Protocol(lost.to_owned()))
}

/// The file of the failed migration, with the line if the server reports it.
fn location_of<DB: Backend>(
    settings: &EngineSettings,
    migrator: &Migrator,
    error: &sqlx::Error,
) -> Option<String> {
    let sqlx::Error::Migrate(error) = error else {
        return None;
    };
    let MigrateError::ExecuteMigration(error, version) = error.as_ref() else {
        return None;
    };
    let migration = migrator.iter().find(|migration| {
        migration.version == *version && !migration.migration_type.is_down_migration()
    })?;
    let file = settings.migration_file(migration);
    Some(
        match backend::error_line::<DB>(error, migration.sql.as_str()) {
            Some(line) => format!("{file}, line {line}"),
            None => file,
        },
    )
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
