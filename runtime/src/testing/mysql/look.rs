//! A look at a database without its rows and the columns of its tables. A difference here saves the check of each table.

use sqlx::Row;
use sqlx::mysql::MySqlConnection;

use super::queries::{SESSIONS, results, sessions_in};
use super::schema::{Schema, ask_listed, created, quote, texts};

/// The properties of a database besides the content of its tables and views.
pub(super) struct Look {
    /// The number of sessions in it.
    pub(super) sessions: usize,
    create: String,
    listed: Vec<String>,
    code: Vec<String>,
    /// Whether a table of another database has a foreign key to a table of this one.
    is_referred_to: bool,
    /// For each table and view the statement that drops it; `None` when it is not known that this removes all of it.
    drops: Vec<Option<String>>,
}

impl Look {
    /// Looks at a database that is to be like this template.
    pub(super) async fn new(
        connection: &mut MySqlConnection,
        template: &Schema,
        name: &str,
    ) -> sqlx::Result<Self> {
        // A session that is left may hold a lock on a table while it changes it. The wait is in seconds.
        let asked = format!(
            "SET SESSION lock_wait_timeout = 2; {SESSIONS}; {}; SHOW CREATE DATABASE {name}; {}; {}",
            ask_listed(name),
            referring(name),
            template.ask_code(name).join("; ")
        );
        let results = results(connection, asked).await?;
        let [_, sessions, rows, create, referring, code @ ..] = results.as_slice() else {
            return Err(sqlx::Error::RowNotFound);
        };
        let mut look = Self {
            sessions: sessions_in(name, sessions)?.len(),
            create: created(name, create)?,
            listed: Vec::new(),
            code: texts(name, code)?,
            is_referred_to: !referring.is_empty(),
            drops: Vec::new(),
        };
        for row in rows {
            let (table, is_plain): (String, i64) = (row.try_get(1)?, row.try_get(2)?);
            let drop = format!("DROP TABLE {name}.{};", quote(&table));
            look.listed.push(row.try_get(0)?);
            look.drops.push((is_plain == 1).then_some(drop));
        }
        Ok(look)
    }

    /// The statements that drop the tables that the template does not have. Returns `None` when the database has sessions, or
    /// differs in something else.
    pub(super) fn further_tables(&self, template: &Schema) -> Option<String> {
        let has_another = self.create != template.create || self.code != template.code;
        if self.sessions > 0 || self.is_referred_to || has_another {
            return None;
        }
        let mut drops = String::new();
        let mut common = 0;
        for (listed, drop) in self.listed.iter().zip(&self.drops) {
            if template.listed.contains(listed) {
                common += 1;
            } else {
                drops.push_str(drop.as_ref()?);
            }
        }
        (common == template.listed.len()).then_some(drops)
    }
}

/// A query for a row if a table of another database has a foreign key to a table of this one. Such a key refuses changes to this
/// database, and does not end with its own test. The keys of tables that the user has no right to are not seen.
fn referring(name: &str) -> String {
    format!(
        "SELECT 1 FROM information_schema.referential_constraints \
         WHERE unique_constraint_schema = '{name}' AND constraint_schema <> '{name}' LIMIT 1"
    )
}
