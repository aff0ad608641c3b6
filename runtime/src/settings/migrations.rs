//! The migrations of an engine: a directory, embedded files, or a driver's own set.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};

use sqlx::migrate::{Migration, MigrationType, Migrator, ResolveConfig, ResolveWith};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::sqlx_toml::{self, SqlxToml};

use crate::lock::lock;

/// The migrations that a start runs.
#[derive(Clone, Default, Debug)]
pub(crate) enum Migrations {
    /// Nothing.
    #[default]
    None,
    /// The files of a directory, read at start.
    Directory(PathBuf),
    /// The files of a directory, read when the program was compiled.
    Embedded {
        /// The directory as it was written.
        directory: &'static str,
        /// Names and contents of the files, and of the crate's `sqlx.toml` if there is one.
        files: &'static [(&'static str, &'static str)],
    },
    /// A driver's own set.
    Migrator(SharedMigrator),
}

/// The migrators of [`Migrations::Embedded`], by the address and the number of the files. All tests of a crate begin with
/// the same one, and the driver hashes each file.
static EMBEDDED: LazyLock<Mutex<HashMap<(usize, usize), SharedMigrator>>> =
    LazyLock::new(Mutex::default);

/// A [`Migrator`] that is owned or `static`.
#[derive(Clone)]
pub(crate) struct SharedMigrator(Arc<dyn Borrow<Migrator> + Send + Sync>);

impl SharedMigrator {
    pub(super) fn new(migrator: impl Borrow<Migrator> + Send + Sync + 'static) -> Self {
        Self(Arc::new(migrator))
    }
}

impl SharedMigrator {
    /// Copies a borrowed migrator.
    pub(crate) fn copy_of(migrator: &Migrator) -> Self {
        Self::new(copy(migrator, migrator.locking))
    }

    /// A copy that does not take the driver's lock.
    pub(crate) fn unlocked(&self) -> Migrator {
        copy(self, false)
    }
}

fn copy(migrator: &Migrator, locking: bool) -> Migrator {
    Migrator {
        migrations: migrator.migrations.clone(),
        ignore_missing: migrator.ignore_missing,
        locking,
        no_tx: migrator.no_tx,
        table_name: migrator.table_name.clone(),
        create_schemas: migrator.create_schemas.clone(),
    }
}

impl Deref for SharedMigrator {
    type Target = Migrator;

    fn deref(&self) -> &Migrator {
        (*self.0).borrow()
    }
}

impl fmt::Debug for SharedMigrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a migrator with {} migrations", self.iter().count())
    }
}

impl fmt::Display for Migrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Directory(path) => write!(f, "{:?}", path.display().to_string()),
            Self::Embedded { directory, files } => {
                let files = files.iter().filter(|(name, _)| *name != sqlx_toml::NAME);
                let files = files.count();
                let noun = if files == 1 { "file" } else { "files" };
                write!(f, "{directory:?}, {files} {noun} embedded")
            }
            Self::Migrator(migrator) => write!(f, "{migrator:?}"),
        }
    }
}

impl Migrations {
    /// The set in the driver's own form; `None` when there are none to run.
    ///
    /// # Errors
    /// The reason, with the name of the file.
    pub(super) async fn migrator(&self) -> Result<Option<SharedMigrator>, String> {
        match self {
            Self::None => Ok(None),
            Self::Directory(path) => {
                let sqlx_toml = SqlxToml::beside(path)?;
                let mut config = ResolveConfig::new();
                config.ignore_chars(sqlx_toml.ignored_chars().iter().copied());
                let source = ResolveWith(path.as_path(), config);
                let migrator = Migrator::new(source).await;
                let mut migrator = migrator.map_err(|error| with_causes(&error))?;
                sqlx_toml.apply(&mut migrator);
                Ok(Some(SharedMigrator::new(migrator)))
            }
            Self::Embedded { files, .. } => {
                let key = (files.as_ptr().addr(), files.len());
                let mut embedded = lock(&EMBEDDED);
                if let Some(known) = embedded.get(&key) {
                    return Ok(Some(known.clone()));
                }
                let sqlx_toml = files.iter().find(|(name, _)| *name == sqlx_toml::NAME);
                let sqlx_toml = sqlx_toml.map(|(_, text)| SqlxToml::parse(text));
                let sqlx_toml = sqlx_toml.transpose()?.unwrap_or_default();
                let ignored = sqlx_toml.ignored_chars();
                let migrations = files.iter().filter_map(|file| migration(*file, ignored));
                let migrations = migrations.collect::<Result<Vec<_>, _>>()?;
                let mut migrator = Migrator::with_migrations(migrations);
                sqlx_toml.apply(&mut migrator);
                let migrator = SharedMigrator::new(migrator);
                embedded.insert(key, migrator.clone());
                Ok(Some(migrator))
            }
            Self::Migrator(migrator) => Ok(Some(migrator.clone())),
        }
    }

    /// The file of a migration; its likely name when the file is not known.
    pub(super) fn file_of(&self, migration: &Migration) -> String {
        let is_it = |name: &str| {
            let version = name
                .split_once('_')
                .and_then(|(version, _)| version.parse().ok());
            version == Some(migration.version) && !name.ends_with(".down.sql")
        };
        match self {
            Self::Embedded { directory, files } => {
                if let Some((name, _)) = files.iter().find(|(name, _)| is_it(name)) {
                    return format!("{directory}/{name}");
                }
            }
            Self::Directory(path) => {
                let mut entries = std::fs::read_dir(path).into_iter().flatten().flatten();
                let file = entries.find(|entry| is_it(&entry.file_name().to_string_lossy()));
                if let Some(file) = file {
                    return file.path().display().to_string();
                }
            }
            Self::None | Self::Migrator(_) => {}
        }
        let description = migration.description.replace(' ', "_");
        format!("{}_{description}.sql", migration.version)
    }

    /// Whether both run the same migrations.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Directory(one), Self::Directory(other)) => one == other,
            (Self::Embedded { files: one, .. }, Self::Embedded { files: other, .. }) => {
                one == other
            }
            (Self::Migrator(one), Self::Migrator(other)) => one
                .iter()
                .map(|migration| (migration.version, &migration.checksum))
                .eq(other
                    .iter()
                    .map(|migration| (migration.version, &migration.checksum))),
            _ => false,
        }
    }
}

/// Reads a file as sqlx does: `<VERSION>_<DESCRIPTION>.sql`, `.up.sql` or `.down.sql`. Other names are skipped, as in
/// sqlx, but a prefix before the `_` that is not a number is an error.
///
/// See <https://docs.rs/sqlx/latest/sqlx/migrate/trait.MigrationSource.html>.
fn migration(
    (name, sql): (&'static str, &'static str),
    ignored: &BTreeSet<char>,
) -> Option<Result<Migration, String>> {
    let (version, rest) = name.split_once('_')?;
    let kind = MigrationType::from_filename(rest);
    let description = rest.strip_suffix(kind.suffix())?.replace('_', " ");
    let Ok(version) = version.parse() else {
        return Some(Err(format!(
            "the file {name} does not begin with a version number; name it like 0001_{rest}"
        )));
    };
    let no_transaction = sql.starts_with("-- no-transaction");
    let of = |sql: SqlStr| {
        Migration::new(
            version,
            description.clone().into(),
            kind,
            sql,
            no_transaction,
        )
    };
    let mut migration = of(sql.into_sql_str());
    if sql.contains(|c| ignored.contains(&c)) {
        let counts = sql.replace(|c| ignored.contains(&c), "");
        migration.checksum = of(AssertSqlSafe(counts).into_sql_str()).checksum;
    }
    Some(Ok(migration))
}

/// An error and all its causes in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(beneath) = cause {
        let beneath_text = beneath.to_string();
        // Some errors already quote their cause.
        if !text.contains(&beneath_text) {
            text = format!("{text}: {beneath_text}");
        }
        cause = beneath.source();
    }
    text
}
