//! Running migrations, by one program at a time.

use std::future::Future;
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::migrate::{AppliedMigration, MigrateError, Migration, Migrator};

use super::Engine;
use crate::backend::{self, Backend};
use crate::dialect::Dialect;
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
    if given_back.await? != "1" {
        // The session is closed, so nothing depends on it.
        logging::warn!(
            engine = %connector.settings.engine,
            "the lock under which migrations run was given back while they ran, perhaps by one of them (`DISCARD ALL`)"
        );
    }
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
    let lost = "the server did not give the lock under which migrations run";
    Err(sqlx::Error::Protocol(lost.to_owned()))
}

/// Runs the driver's migrator, again and again while another program runs the same migrations.
async fn run<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    connector: &Connector<DB>,
    migrator: &Migrator,
    target: Option<i64>,
) -> sqlx::Result<()> {
    // In the transaction of a test, nobody else runs any.
    let may_be_run_by_others = connector.settings.held_transactions.is_none();
    let begun = Instant::now();
    loop {
        let before = if may_be_run_by_others {
            records(checkout, connector, migrator).await?.applied.len()
        } else {
            0
        };
        let ran = checkout.run(|connection, _| {
            Box::pin(async move { Ok(DB::migrate(connection, migrator, target).await?) })
        });
        let Err(error) = ran.await else {
            return Ok(());
        };
        let sqlx::Error::Migrate(failed) = &error else {
            return Err(error);
        };
        // The error is that of the run, not that of this question.
        if may_be_run_by_others && let Ok(records) = records(checkout, connector, migrator).await {
            if records.explain(migrator, failed, before) {
                continue;
            }
            let has_time = begun.elapsed() < connector.settings.start_timeout;
            if has_time && records.may_wait(migrator, failed, connector.dialect()) {
                tokio::time::sleep(TRY_AGAIN).await;
                continue;
            }
        }
        return Err(error);
    }
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

    /// Whether a run failed only because another program has run the same migration. `before` records were there before it.
    fn explain(&self, migrator: &Migrator, failed: &MigrateError, before: usize) -> bool {
        match failed {
            MigrateError::ExecuteMigration(_, version) => upwards(migrator)
                .find(|migration| migration.version == *version)
                .is_some_and(|migration| self.has(migration.version, &migration.checksum)),
            // Both have run it, and the other one has recorded it first.
            MigrateError::Execute(error) => {
                let is_recorded = |error: &dyn DatabaseError| error.is_unique_violation();
                self.applied.len() > before && error.as_database_error().is_some_and(is_recorded)
            }
            _ => false,
        }
    }

    /// Whether a run failed because another program writes, where no lock is there to wait for, and left nothing.
    fn may_wait(&self, migrator: &Migrator, failed: &MigrateError, dialect: &Dialect) -> bool {
        let (error, version) = match failed {
            MigrateError::ExecuteMigration(error, version) => (error, Some(*version)),
            MigrateError::Execute(error) => (error, None),
            _ => return false,
        };
        // A part of a migration without a transaction may have been done, or all of it but its record.
        let may_have_left = |migration: &&Migration| {
            migration.no_tx
                && version.is_none_or(|version| version == migration.version)
                && !self.has(migration.version, &migration.checksum)
        };
        dialect.migrations_lock.is_none()
            && (dialect.is_conflict(error) || dialect.is_conflict_once_begun(error))
            && upwards(migrator).find(may_have_left).is_none()
    }

    /// Whether a run would do nothing and find no error.
    fn is_up_to_date(&self, migrator: &Migrator, target: Option<i64>) -> bool {
        let is_known = |applied: &AppliedMigration| migrator.version_exists(applied.version);
        let mut wanted = upwards(migrator)
            .filter(|migration| target.is_none_or(|target| migration.version <= target));
        self.failed.is_none()
            && (migrator.ignore_missing || self.applied.iter().all(is_known))
            && wanted.all(|migration| self.has(migration.version, &migration.checksum))
    }
}

/// All migrations but the down migrations.
pub(super) fn upwards(migrator: &Migrator) -> impl Iterator<Item = &Migration> {
    let migrations = migrator.iter();
    migrations.filter(|migration| !migration.migration_type.is_down_migration())
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
    let migration = upwards(migrator).find(|migration| migration.version == *version)?;
    let file = settings.migration_file(migration);
    Some(
        match backend::error_line::<DB>(error, migration.sql.as_str()) {
            Some(line) => format!("{file}, line {line}"),
            None => file,
        },
    )
}
