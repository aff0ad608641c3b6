//! The content of a template, and the statements that copy it.

use std::fmt::Write;

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Row};

use super::code::{self, CodeNames};
use super::marks;
use super::queries::results;

/// The engines that are known for how they write, show and remove rows.
const ENGINES: &str = "'InnoDB', 'Aria', 'MyISAM', 'MEMORY'";

/// The number of rows from which a table is truncated, which makes a new file, instead of deleting each row.
const MANY_ROWS: i64 = 1000;

/// The content of a database.
pub(super) struct Schema {
    /// The name of the database.
    pub(super) name: String,
    /// Its mark while it is complete.
    pub(super) mark: String,
    /// Whether other databases cannot be shown to have the same content.
    obstacle: bool,
    /// The statement that creates the database, without its name.
    pub(super) create: String,
    /// The names of tables and views with their types, and the engines of tables.
    pub(super) listed: Vec<String>,
    /// Triggers in full, the names of routines and events, and the rights that were granted on this database by name.
    pub(super) code: Vec<String>,
    /// Where the names of routines and events are read.
    names: CodeNames,
    /// Whether the rights on routines can be read.
    reads_rights: bool,
    pub(super) tables: Vec<TableSchema>,
    /// For each view its quoted name, and what [`shown_view`] gives.
    pub(super) views: Vec<(String, String)>,
    pub(super) routines: Vec<RoutineSchema>,
}

/// A function, procedure, package or package body.
pub(super) struct RoutineSchema {
    /// Its kind, as in `SHOW CREATE`.
    kind: String,
    /// Its quoted name.
    name: String,
    /// What [`shown_routine`] gives; `None` when the user may not read it.
    pub(super) shown: Option<String>,
}

impl RoutineSchema {
    /// The statement that shows the routine of this name in a database.
    pub(super) fn show(&self, database: &str) -> String {
        format!("SHOW CREATE {} {database}.{}", self.kind, self.name)
    }
}

/// A table.
pub(super) struct TableSchema {
    /// Its quoted name.
    pub(super) name: String,
    pub(super) create: Create,
    /// The columns that are not generated; `None` when there are no rows.
    pub(super) columns: Option<String>,
    /// Whether it has at least [`MANY_ROWS`] rows.
    pub(super) has_many_rows: bool,
    pub(super) has_triggers: bool,
}

/// The statement that creates a table, and the next value of its counter if that is not the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Create {
    pub(super) sql: String,
    pub(super) counter: Option<u64>,
}

impl TableSchema {
    /// Whether it is emptied by `TRUNCATE`, which fires no trigger, and leaves nothing in a full-text index.
    pub(super) fn is_truncated(&self) -> bool {
        self.has_triggers || self.has_many_rows || self.has_full_text()
    }

    /// Whether it has a full-text index, in which rows that were deleted or rolled back leave something.
    pub(super) fn has_full_text(&self) -> bool {
        self.create.sql.contains("FULLTEXT KEY")
    }

    /// Whether `ALTER TABLE … DISABLE KEYS` has an effect on it: <https://mariadb.com/kb/en/alter-table/>. `SHOW CREATE` does not
    /// show the effect.
    pub(super) fn can_disable_keys(&self) -> bool {
        let engines = ["ENGINE=MyISAM", "ENGINE=Aria"];
        engines
            .iter()
            .any(|engine| self.create.sql.contains(engine))
    }
}

impl Create {
    /// Reads the result of `SHOW CREATE TABLE`: <https://mariadb.com/kb/en/show-create-table/>.
    pub(super) fn new(sql: String) -> Self {
        const COUNTER: &str = " AUTO_INCREMENT=";
        // The options follow a parenthesis, on the last line before those of partitions.
        let options = sql.rfind("\n) ").unwrap_or(0);
        let counter = sql[options..].find(COUNTER).and_then(|at| {
            let from = options + at;
            let digits = &sql[from + COUNTER.len()..];
            let end = digits
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(digits.len());
            let value = digits[..end].parse().ok()?;
            Some((from, from + COUNTER.len() + end, value))
        });
        match counter {
            Some((from, to, value)) => Self {
                sql: format!("{}{}", &sql[..from], &sql[to..]),
                counter: Some(value),
            },
            None => Self { sql, counter: None },
        }
    }

    /// Whether the table has a counter, or has the word in its definition.
    pub(super) fn counts(&self) -> bool {
        self.sql.contains("AUTO_INCREMENT")
    }
}

/// The statement that lists the tables and views of a database: name, kind and engine in one text, the name alone, and whether
/// `DROP TABLE` is known to remove it whole.
pub(super) fn ask_listed(name: &str) -> String {
    format!(
        "SELECT CAST(CONCAT_WS('\\t', table_name, table_type, engine) AS CHAR), CAST(table_name AS CHAR), \
            CAST(COALESCE(table_type = 'BASE TABLE' AND engine IN ({ENGINES}), 0) AS SIGNED) \
         FROM information_schema.tables WHERE table_schema = '{name}' ORDER BY 1"
    )
}

/// The texts of some results, without the database's name.
pub(super) fn texts(name: &str, results: &[Vec<MySqlRow>]) -> sqlx::Result<Vec<String>> {
    let texts = results
        .iter()
        .flatten()
        .map(|row| row.try_get::<String, _>(0));
    texts.map(|text| Ok(text?.replace(name, ""))).collect()
}

/// What `SHOW CREATE` tells, without the database's name.
pub(super) fn created(name: &str, rows: &[MySqlRow]) -> sqlx::Result<String> {
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok(row.try_get::<String, _>(1)?.replace(name, ""))
}

/// What `SHOW CREATE` tells of a view, without the database's name: the statement, and the character set and the collation of the
/// session that created the view, which decide the types of texts: <https://mariadb.com/kb/en/show-create-view/>.
pub(super) fn shown_view(name: &str, row: &MySqlRow) -> sqlx::Result<String> {
    let [create, character_set, collation]: [String; 3] =
        [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?];
    Ok(format!(
        "{}\t{character_set}\t{collation}",
        create.replace(name, "")
    ))
}

/// What `SHOW CREATE` tells of a routine, without the database's name: the statement with the types of parameters in full, the mode,
/// and the character sets and collations that it was created with: <https://mariadb.com/kb/en/show-create-function/>. `None` when
/// the user may not read the statement.
pub(super) fn shown_routine(name: &str, row: &MySqlRow) -> sqlx::Result<Option<String>> {
    let Some(create) = row.try_get::<Option<String>, _>(2)? else {
        return Ok(None);
    };
    let mut shown = create.replace(name, "");
    for column in [1, 3, 4, 5] {
        shown.push('\t');
        shown.push_str(row.try_get(column)?);
    }
    Ok(Some(shown))
}

impl Schema {
    /// Reads a template that no other session uses.
    pub(super) async fn read(
        connection: &mut MySqlConnection,
        name: &str,
        mark: String,
    ) -> sqlx::Result<Self> {
        let reads_rights = code::reads_rights(connection).await;
        let asked = format!(
            "SHOW CREATE DATABASE {name}; {}; {}",
            ask_listed(name),
            code::ask_in_full(name, reads_rights).join("; ")
        );
        let outline = results(connection, asked).await?;
        let [create, listed, code @ ..] = outline.as_slice() else {
            return Err(sqlx::Error::RowNotFound);
        };
        let (events, unknown): (i64, i64) = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT CAST((SELECT COUNT(*) FROM information_schema.events WHERE event_schema = '{name}') AS SIGNED), \
             CAST((SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{name}' \
                AND NOT (table_type = 'VIEW' OR table_type = 'BASE TABLE' AND engine IN ({ENGINES}))) AS SIGNED)"
        )))
        .fetch_one(&mut *connection)
        .await?;
        let with_triggers: Vec<String> = sqlx::query_scalar(
            "SELECT CAST(event_object_table AS CHAR) FROM information_schema.triggers WHERE trigger_schema = ?",
        )
        .bind(name)
        .fetch_all(&mut *connection)
        .await?;
        let names: Vec<(String, String)> = sqlx::query_as(
            "SELECT CAST(table_name AS CHAR), CAST(table_type AS CHAR) FROM information_schema.tables \
             WHERE table_schema = ? ORDER BY 1",
        )
        .bind(name)
        .fetch_all(&mut *connection)
        .await?;
        let routines: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT CAST(routine_type AS CHAR), CAST(routine_name AS CHAR) {} ORDER BY 1, 2",
            code::routines(name)
        )))
        .fetch_all(&mut *connection)
        .await?;
        let mut schema = Self {
            name: name.to_owned(),
            mark,
            obstacle: events + unknown > 0,
            create: created(name, create)?,
            listed: texts(name, std::slice::from_ref(listed))?,
            code: texts(name, code)?,
            names: CodeNames::of_user(connection).await,
            reads_rights,
            tables: Vec::new(),
            views: Vec::new(),
            routines: Vec::new(),
        };
        for (kind, routine) in routines {
            let mut routine = RoutineSchema {
                kind,
                name: quote(&routine),
                shown: None,
            };
            let row = sqlx::raw_sql(AssertSqlSafe(routine.show(name)))
                .fetch_one(&mut *connection)
                .await?;
            routine.shown = shown_routine(name, &row)?;
            schema.obstacle |= routine.shown.is_none();
            schema.routines.push(routine);
        }
        for (table, kind) in names {
            let quoted = quote(&table);
            let create = format!("SHOW CREATE TABLE {name}.{quoted}");
            let create = sqlx::raw_sql(AssertSqlSafe(create))
                .fetch_one(&mut *connection)
                .await?;
            if kind == "VIEW" {
                schema.views.push((quoted, shown_view(name, &create)?));
                continue;
            }
            let create: String = create.try_get(1)?;
            let filled = format!(
                "SELECT CAST(COUNT(*) AS SIGNED) FROM (SELECT 1 FROM {name}.{quoted} LIMIT {MANY_ROWS}) AS few"
            );
            let filled: i64 = sqlx::query_scalar(AssertSqlSafe(filled))
                .fetch_one(&mut *connection)
                .await?;
            let has_triggers = with_triggers.contains(&table);
            // The effect of a trigger on rows that are written again is unknown.
            schema.obstacle |= filled > 0 && has_triggers;
            schema.tables.push(TableSchema {
                create: Create::new(create),
                columns: match filled {
                    0 => None,
                    _ => Some(columns(connection, name, &table).await?),
                },
                name: quoted,
                has_many_rows: filled == MANY_ROWS,
                has_triggers,
            });
        }
        Ok(schema)
    }

    /// The statements that show the code of a database, for a comparison with that of the template.
    pub(super) fn ask_code(&self, database: &str) -> Vec<String> {
        if self.code.is_empty() {
            vec![self.names.ask(database, !self.tables.is_empty())]
        } else {
            code::ask_in_full(database, self.reads_rights)
        }
    }

    /// Whether it cannot be shown that another database holds the same.
    pub(super) fn obstacle(&self) -> bool {
        self.obstacle
    }

    /// The statements that make a copy of this name, in one text. `None` when only the recipe can make it: views, triggers,
    /// routines and events name databases and users in their texts.
    pub(super) fn replay(&self, name: &str) -> Option<String> {
        if self.obstacle || !self.views.is_empty() || !self.code.is_empty() {
            return None;
        }
        // The name belongs between the quotes.
        let create = self.create.replacen("``", name, 1);
        let mut script = format!(
            "{}; DROP DATABASE IF EXISTS {name}; {create}; USE {name}; \
             SET SESSION foreign_key_checks = 0;",
            // A database of this name may have been dropped by hand.
            marks::removal(name)
        );
        for table in &self.tables {
            // Writing to a string does not fail.
            let _ = write!(script, "{};", table.create.sql);
            script.push_str(&self.fill(name, table));
            script.push_str(&set_counter(name, table));
        }
        // The connection must not count as a session in the database.
        script.push_str("USE information_schema");
        Some(script)
    }

    /// The statements that set the counters of all tables.
    pub(super) fn set_counters(&self, database: &str) -> String {
        let tables = self.tables.iter();
        tables.map(|table| set_counter(database, table)).collect()
    }

    /// The statement that writes a table's rows into another database.
    pub(super) fn fill(&self, database: &str, table: &TableSchema) -> String {
        let Some(columns) = &table.columns else {
            return String::new();
        };
        let (name, template) = (&table.name, &self.name);
        format!(
            "INSERT INTO {database}.{name} ({columns}) SELECT {columns} FROM {template}.{name};"
        )
    }
}

/// The statement that sets a table's counter.
pub(super) fn set_counter(database: &str, table: &TableSchema) -> String {
    match table.create.counter {
        Some(counter) => {
            format!(
                "ALTER TABLE {database}.{} AUTO_INCREMENT = {counter};",
                table.name
            )
        }
        None => String::new(),
    }
}

/// The columns of a table that are not generated.
async fn columns(
    connection: &mut MySqlConnection,
    database: &str,
    table: &str,
) -> sqlx::Result<String> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
         WHERE table_schema = ? AND table_name = ? AND COALESCE(generation_expression, '') = '' ORDER BY ordinal_position",
    )
    .bind(database)
    .bind(table)
    .fetch_all(connection)
    .await?;
    let quoted: Vec<String> = names.iter().map(|name| quote(name)).collect();
    Ok(quoted.join(", "))
}

pub(super) fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_among_the_rest() {
        let table = |options: &str| {
            format!(
                "CREATE TABLE `band` (\n  `id` int(11) NOT NULL AUTO_INCREMENT,\n  `note` text DEFAULT ' AUTO_INCREMENT=9',\n  \
                 PRIMARY KEY (`id`)\n) ENGINE=InnoDB{options} DEFAULT CHARSET=utf8mb4"
            )
        };
        let create = Create::new(table(" AUTO_INCREMENT=42"));
        assert_eq!(create.counter, Some(42));
        assert_eq!(
            create,
            Create {
                sql: table(""),
                counter: Some(42)
            }
        );
        assert_eq!(Create::new(table("")).counter, None);
    }
}
