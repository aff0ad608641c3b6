//! Which migrations are applied and which are pending, and running them one by one.

use std::collections::BTreeMap;
use std::time::Instant;

use sqlx::migrate::{AppliedMigration, Migrator};

use super::super::migrate::{Ran, Records, migrate, records, upwards};
use super::report::{EngineReport, MigrationReport, MigrationState, MigrationsReport, Progress};
use crate::backend::Backend;
use crate::error::Error;
use crate::pool::{CheckedOut, Connector};
use crate::settings::SharedMigrator;

/// The recorded state of the program's migrations. The database is not changed.
pub(super) async fn state<DB: Backend>(
    checkout: &mut CheckedOut<DB>,
    connector: &Connector<DB>,
    migrator: &Migrator,
) -> sqlx::Result<MigrationsReport> {
    let Records { applied, failed } = records(checkout, connector, migrator).await?;
    Ok(MigrationsReport {
        table: migrator.table_name.to_string(),
        list: list(migrator, applied, failed),
    })
}

fn list(
    migrator: &Migrator,
    applied: Vec<AppliedMigration>,
    failed: Option<i64>,
) -> Vec<MigrationReport> {
    let mut applied: BTreeMap<i64, _> = applied
        .into_iter()
        .map(|applied| (applied.version, applied.checksum))
        .collect();
    let mut list: Vec<MigrationReport> = upwards(migrator)
        .map(|migration| {
            let state = match applied.remove(&migration.version) {
                _ if failed == Some(migration.version) => MigrationState::Failed,
                None => MigrationState::Pending,
                Some(checksum) if checksum == migration.checksum => MigrationState::Applied,
                Some(_) => MigrationState::Changed,
            };
            MigrationReport {
                version: migration.version,
                description: migration.description.to_string(),
                state,
                took_ms: None,
            }
        })
        .collect();
    list.extend(applied.into_keys().map(|version| MigrationReport {
        version,
        description: String::new(),
        state: if failed == Some(version) {
            MigrationState::Failed
        } else {
            MigrationState::Missing
        },
        took_ms: None,
    }));
    list.sort_by_key(|migration| migration.version);
    list
}

/// Reports those that would make a start fail.
pub(super) fn find(migrator: &Migrator, migrations: &MigrationsReport, report: &mut EngineReport) {
    for migration in &migrations.list {
        let MigrationReport { version, .. } = migration;
        match migration.state {
            MigrationState::Applied | MigrationState::Pending => {}
            MigrationState::Failed => report.problem(format!(
                "the migration {version} failed half-way, and no further one is run. Undo or finish what it did by hand, \
                 then delete its row of {}",
                migrations.table
            )),
            MigrationState::Changed => report.problem(format!(
                "the migration {version} was applied, and its file has changed since. Restore the file, and put the change \
                 into a new migration"
            )),
            MigrationState::Missing if migrator.ignore_missing => {}
            MigrationState::Missing => report.problem(format!(
                "the migration {version} was applied, and this program does not have it. Deploy a version of the program that \
                 does"
            )),
        }
    }
}

/// Runs the pending migrations one by one, so that each has its duration.
///
/// # Errors
///
/// As a start's; the migrations before the failed one are applied.
pub(super) async fn run<DB: Backend>(
    mut checkout: CheckedOut<DB>,
    connector: &Connector<DB>,
    migrator: &SharedMigrator,
    migrations: &mut MigrationsReport,
    progress: &Progress<'_>,
) -> Result<(), Error> {
    let pending = |migration: &&mut MigrationReport| migration.state == MigrationState::Pending;
    for migration in migrations.list.iter_mut().filter(pending) {
        let begun = Instant::now();
        let target = Some(migration.version);
        let ran = match migrate(&mut checkout, connector, migrator, target).await {
            Ok(ran) => ran,
            Err(error) => {
                // A failed run keeps its locks until its session ends.
                checkout.discard();
                return Err(error);
            }
        };
        migration.state = MigrationState::Applied;
        // Another program may have run it since the list was read.
        if ran == Ran::Pending {
            let took = begun.elapsed().as_millis();
            migration.took_ms = Some(u64::try_from(took).unwrap_or(u64::MAX));
            progress(&connector.settings.engine, migration);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::SqlSafeStr;
    use sqlx::migrate::{AppliedMigration, Migration, MigrationType, Migrator};

    use super::list;

    #[test]
    fn each_migration_has_the_state_that_a_start_would_find() {
        let migration = |version, kind| {
            Migration::new(version, "a".into(), kind, "SELECT 1".into_sql_str(), false)
        };
        let applied = |version, checksum: &[u8]| AppliedMigration {
            version,
            checksum: checksum.to_vec().into(),
        };
        let migrator = Migrator::with_migrations(vec![
            migration(1, MigrationType::ReversibleUp),
            migration(1, MigrationType::ReversibleDown),
            migration(2, MigrationType::Simple),
            migration(4, MigrationType::Simple),
            migration(5, MigrationType::Simple),
        ]);
        let checksum = migrator.migrations[0].checksum.clone();
        let noted = vec![
            applied(1, &checksum),
            applied(2, b"other"),
            applied(3, b"other"),
            applied(4, &checksum),
        ];
        let states: Vec<String> = list(&migrator, noted, Some(4))
            .iter()
            .map(|migration| format!("{} {}", migration.version, migration.state))
            .collect();
        assert_eq!(
            states,
            [
                "1 applied",
                "2 changed",
                "3 missing",
                "4 failed",
                "5 pending"
            ]
        );
    }
}
