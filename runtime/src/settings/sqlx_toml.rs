//! `sqlx.toml`: its settings for migrations, which sqlx's own macros and its command read too.
//!
//! See <https://docs.rs/sqlx/0.9/sqlx/config/migrate/struct.Config.html>.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use sqlx::migrate::Migrator;

/// The name of the file.
pub(crate) const NAME: &str = "sqlx.toml";

/// The part of the file about migrations.
#[derive(Default, Deserialize)]
pub(crate) struct SqlxToml {
    #[serde(default)]
    migrate: Migrate,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Migrate {
    table_name: Option<String>,
    create_schemas: BTreeSet<String>,
    ignored_chars: BTreeSet<char>,
}

impl SqlxToml {
    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// The text is not valid. The message does not quote it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| format!("{NAME} cannot be read: {}", error.message()))
    }

    /// Reads the nearest file above a directory of migrations; the default without one.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not valid.
    pub(super) fn beside(directory: &Path) -> Result<Self, String> {
        let mut above = directory.ancestors().skip(1);
        let Some(path) =
            above.find_map(|above| Some(above.join(NAME)).filter(|path| path.is_file()))
        else {
            return Ok(Self::default());
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text),
            Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        }
    }

    /// The characters that a migration's checksum ignores.
    pub(super) fn ignored_chars(&self) -> &BTreeSet<char> {
        &self.migrate.ignored_chars
    }

    /// Sets the table of applied migrations and the schemas to create.
    pub(super) fn apply(self, migrator: &mut Migrator) {
        if let Some(table) = self.migrate.table_name {
            migrator.dangerous_set_table_name(table);
        }
        for schema in self.migrate.create_schemas {
            migrator.create_schema(schema);
        }
    }
}
