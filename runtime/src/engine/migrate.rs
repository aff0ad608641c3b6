//! Running migrations, by one program at a time.

use std::future::Future;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::migrate::{AppliedMigration, MigrateError, Migrator};

use super::Engine;
use crate::backend::{self, Backend};
use crate::error::{Error, StartError, UsageError};
use crate::logging;
use crate::pool::{self, CheckedOut, Connector, Holder};
use crate::settings::{EngineSettings, SharedMigrator};

/// The pause between two attempts to take the lock, or to write beside another program on SQLite.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// What a run has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// All migrations were applied before. Nothing was locked, created or written.
    Nothing,
    /// At least one was pending.
    Pending,
}

/// What a database records of the migrations that were run.
pub(super) struct Records {
    /// Successful or not.
    pub(super) applied: Vec<AppliedMigration>,
    /// The first that failed half-way.
    pub(super) failed: Option<i64>,
}

impl<DB: Backend> Engine<DB> {
    /// Runs the pending migrations in their order, as `MIGRATOR.run(&pool)` does, over `direct_url` if it is set.
    ///
    /// On Postgres, MySQL and MariaDB a lock keeps two programs from running them at the same time: on Postgres the lock of
    /// sqlx, on MySQL and MariaDB one of poolhouse besides that of sqlx. The second program waits, without a limit. On SQLite and
    /// CockroachDB, and on Galera, where a lock is known to one node only, a program whose migration fails because another
    /// one has run it goes on with the next one. There, migrations without a transaction (`-- no-transaction`) may run twice.
    ///
    /// When nothing is pending, nothing is locked or written, so that the user needs no right to create tables. A session
    /// that has run migrations is closed, because they may have changed its settings.
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
    /// since it was applied; [`UsageError::Migrate`] behind a pooler without `direct_url`.
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
                None if connector.settings.pooler.is_some() => {
                    return Err(UsageError::migrate(&connector.settings).into());
                }
                None => engine.checkout(Holder::Engine).await?,
            };
            let mut locked = Locked(Some(checkout));
            let Some(checkout) = &mut locked.0 else {
                return Ok(());
            };
            // The driver begins a savepoint for each migration if it still counts an ended transaction.
            checkout.recount().await?;
            let ran = migrate(checkout, &connector, &migrator, None).await?;
            // The run has succeeded and released its locks.
            if let Some(checkout) = locked.0.take() {
                after(ran, checkout, &connector).await;
            }
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

/// Gives back a connection on which a run has succeeded. A session that has run migrations is closed, because `SET` and
/// `PRAGMA` in them may have changed it.
pub(super) async fn after<DB: Backend>(
    ran: Ran,
    checkout: CheckedOut<DB>,
    connector: &Connector<DB>,
) {
    // A database in memory ends with its last connection, and the work of a test that rolls back with its only one.
    let is_needed = connector.in_memory() || connector.settings.held_transactions.is_some();
    if ran == Ran::Pending && !is_needed {
        checkout.close().await;
    }
}

/// Runs the pending migrations, up to the version `target` if there is one. After an error the session may keep its locks.
///
/// # Errors
///
/// The migration that failed, with its file and line.
pub(super) async fn migrate<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    connector: &Connector<DB>,
    migrator: &SharedMigrator,
    target: Option<i64>,
) -> Result<Ran, Error> {
    match try_to_migrate(checkout, connector, migrator, target).await {
        Ok(ran) => Ok(ran),
        Err(error) => {
            let settings = &connector.settings;
            let location = location_of::<DB>(settings, migrator, &error);
            Err(StartError::migrations(settings, location.as_deref(), error).into())
        }
    }
}

async fn try_to_migrate<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    connector: &Connector<DB>,
    migrator: &SharedMigrator,
    target: Option<i64>,
) -> sqlx::Result<Ran> {
    // In the transaction of a test, a question about a missing table would end it. The driver creates schemas at each run.
    let may_look =
        connector.settings.held_transactions.is_none() && migrator.create_schemas.is_empty();
    if may_look {
        let records = records(checkout, connector, migrator).await?;
        if records.is_up_to_date(migrator, target) {
            return Ok(Ran::Nothing);
        }
    }
    let lock = connector.dialect().migrations_lock.as_ref();
    let Some(lock) = lock.filter(|_| migrator.locking) else {
        run(checkout, connector, &migrator.unlocked(), target).await?;
        return Ok(Ran::Pending);
    };
    let database = checkout
        .run(|connection, _| DB::text(connection, lock.database))
        .await?;
    wait_for_lock(checkout, connector, (lock.take)(&database)).await?;
    if lock.is_drivers {
        run(checkout, connector, &migrator.unlocked(), target).await?;
    } else {
        run(checkout, connector, migrator, target).await?;
    }
    let given_back = (lock.give_back)(&database);
    let given_back = checkout.run(|connection, _| DB::text_of(connection, given_back));
    must_be_one(&given_back.await?)?;
    Ok(Ran::Pending)
}

/// Tries again and again to take the lock. A statement that waits for it would hold a snapshot, for which
/// `CREATE INDEX CONCURRENTLY` of the running program waits in turn, and the server's limits for statements would end it:
/// <https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY>
async fn wait_for_lock<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    connector: &Connector<DB>,
    take: String,
) -> sqlx::Result<()> {
    let mut is_said = false;
    loop {
        let take = take.clone();
        let taken = checkout.run(|connection, _| DB::text_of(connection, take));
        let taken = taken.await?;
        if taken != "0" {
            return must_be_one(&taken);
        }
        if !is_said {
            is_said = true;
            logging::info!(
                engine = %connector.settings.engine,
                "another program runs migrations; waiting until it has ended"
            );
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

fn must_be_one(answer: &str) -> sqlx::Result<()> {
    if answer == "1" {
        return Ok(());
    }
    let lost = "the server did not give the lock under which migrations run, or did not keep it";
    Err(sqlx::Error::Protocol(lost.to_owned()))
}

/// Runs the driver's migrator, again and again while another program runs the same migrations.
async fn run<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    connector: &Connector<DB>,
    migrator: &Migrator,
    target: Option<i64>,
) -> sqlx::Result<()> {
    let begun = Instant::now();
    loop {
        let ran = checkout.run(|connection, _| {
            Box::pin(async move { Ok(DB::migrate(connection, migrator, target).await?) })
        });
        let Err(error) = ran.await else {
            return Ok(());
        };
        let again = is_run_by_another(checkout, connector, migrator, &error, begun);
        if again.await.is_break() {
            return Err(error);
        }
    }
}

/// Whether a run failed only because another program runs the same migrations.
async fn is_run_by_another<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    connector: &Connector<DB>,
    migrator: &Migrator,
    error: &sqlx::Error,
    begun: Instant,
) -> ControlFlow<()> {
    let sqlx::Error::Migrate(error) = error else {
        return ControlFlow::Break(());
    };
    let (cause, version) = match error.as_ref() {
        MigrateError::ExecuteMigration(cause, version) => (cause, Some(*version)),
        MigrateError::Execute(cause) => (cause, None),
        _ => return ControlFlow::Break(()),
    };
    let has_time = begun.elapsed() < connector.settings.start_timeout;
    let is_recorded = |error: &dyn DatabaseError| error.is_unique_violation();
    if version.is_none() && has_time && cause.as_database_error().is_some_and(is_recorded) {
        // The migration has run, and the other program has recorded it first.
        return ControlFlow::Continue(());
    }
    if let Some(version) = version {
        // The error is that of the run, not that of the question.
        let Ok(records) = records(checkout, connector, migrator).await else {
            return ControlFlow::Break(());
        };
        let failed = migrator
            .iter()
            .find(|known| known.version == version && !known.migration_type.is_down_migration());
        let Some(failed) = failed else {
            return ControlFlow::Break(());
        };
        if records.has(version, &failed.checksum) {
            return ControlFlow::Continue(());
        }
        if failed.no_tx {
            // A part of it may have been done.
            return ControlFlow::Break(());
        }
    }
    let dialect = connector.dialect();
    // Without a lock, the other program's migration is a write that is under way.
    let is_conflict = dialect.migrations_lock.is_none()
        && (dialect.is_conflict(cause) || dialect.is_conflict_once_begun(cause));
    if is_conflict && has_time {
        tokio::time::sleep(TRY_AGAIN).await;
        return ControlFlow::Continue(());
    }
    ControlFlow::Break(())
}

/// Reads which migrations the database records as run. The database is not changed.
pub(super) async fn records<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    connector: &Connector<DB>,
    migrator: &Migrator,
) -> sqlx::Result<Records> {
    let table = &*migrator.table_name;
    let is_no_table = connector.dialect().inspection.is_no_table;
    let records = checkout.run(|connection, _| {
        Box::pin(async move {
            let applied = match DB::applied(connection, table).await {
                Ok(applied) => applied,
                Err(MigrateError::Execute(sqlx::Error::Database(error)))
                    if is_no_table(error.code().as_deref(), error.message()) =>
                {
                    return Ok(Records {
                        applied: Vec::new(),
                        failed: None,
                    });
                }
                Err(error) => return Err(error.into()),
            };
            let failed = DB::dirty(connection, table).await?;
            Ok::<_, sqlx::Error>(Records { applied, failed })
        })
    });
    records.await
}

impl Records {
    /// Whether this version ran with success, from a file with this checksum.
    fn has(&self, version: i64, checksum: &[u8]) -> bool {
        let mut applied = self.applied.iter();
        self.failed != Some(version)
            && applied.any(|applied| applied.version == version && *applied.checksum == *checksum)
    }

    /// Whether a run would do nothing and find no error.
    fn is_up_to_date(&self, migrator: &Migrator, target: Option<i64>) -> bool {
        let is_known = |applied: &AppliedMigration| migrator.version_exists(applied.version);
        let upwards = migrator
            .iter()
            .filter(|migration| !migration.migration_type.is_down_migration())
            .filter(|migration| target.is_none_or(|target| migration.version <= target))
            .collect::<Vec<_>>();
        self.failed.is_none()
            && (migrator.ignore_missing || self.applied.iter().all(is_known))
            && upwards
                .iter()
                .all(|migration| self.has(migration.version, &migration.checksum))
    }
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
