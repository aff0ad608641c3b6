//! Reading and writing rows, on each kind of database.

use futures_core::future::BoxFuture;
use sqlx::{AssertSqlSafe, Connection, Row as _};

use super::rows::{Column, DatabaseRows, Difference, Row, Table, Written, differences, pairs};
use crate::backend::Backend;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::dialect::literal;

/// How often the rows are compared and restored: a trigger may change other rows meanwhile.
const PASSES: usize = 4;

/// A kind of database whose rows can be read and restored.
pub(super) trait Tables: Backend {
    /// Statements for the session that reads and writes.
    const SESSION: &'static str;
    /// A query for the columns, in order: table, column, the SQL expression that gives the value as a literal, and `w` for
    /// a column that is written freely, `i` for one that is written once, `g` for one that is never written.
    const COLUMNS: &'static str;
    /// A query for queries, which return the statements that set the counters to their current values.
    const COUNTERS: &'static str;
    /// The text between `FROM` and a table.
    const ONLY: &'static str;
    /// The text between the columns and the values of an `INSERT`.
    const OVERRIDING: &'static str;
    /// Statements to run until one returns a row: 0 outside of a transaction. Inside, one of them returns another value or
    /// fails.
    const IN_TRANSACTION: &'static [&'static str];
    /// A query for the number of other sessions in this database, and of those idle in a transaction.
    /// MySQL and MariaDB always give 0 for the latter.
    const SESSIONS: Option<&'static str>;

    /// Runs statements, and returns their rows as text.
    fn ask(
        connection: &mut Self::Connection,
        sql: String,
    ) -> BoxFuture<'_, sqlx::Result<Vec<Vec<Option<String>>>>>;

    /// A text as an SQL literal.
    fn quoted(text: &str) -> String;

    /// Restricts a condition to one of several equal rows. On SQLite the condition is left as it is.
    fn one_row(table: &Table, condition: &str) -> String;
}

/// Reads the rows and counters of the database.
pub(super) async fn read<DB: Tables>(
    connection: &mut DB::Connection,
) -> sqlx::Result<DatabaseRows> {
    let mut tables: Vec<Table> = Vec::new();
    for row in DB::ask(connection, DB::COLUMNS.to_owned()).await? {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || values.next().unwrap_or_default();
        let (name, column, literal, written) = (next(), next(), next(), next());
        let written = match written.as_str() {
            "i" => Written::Once,
            "g" => Written::Never,
            _ => Written::Freely,
        };
        let column = Column {
            name: column,
            literal,
            written,
        };
        match tables.last_mut() {
            Some(table) if table.name == name => table.columns.push(column),
            _ => tables.push(Table {
                name,
                columns: vec![column],
            }),
        }
    }
    let mut with_rows = Vec::new();
    for table in tables {
        let literals: Vec<&str> = table
            .columns
            .iter()
            .map(|column| column.literal.as_str())
            .collect();
        let query = format!(
            "SELECT {} FROM {}{}",
            literals.join(", "),
            DB::ONLY,
            table.name
        );
        let rows = DB::ask(connection, query).await?;
        let rows = rows
            .into_iter()
            .map(|row| row.into_iter().map(Option::unwrap_or_default).collect());
        with_rows.push((table, rows.collect()));
    }
    let mut counters = Vec::new();
    for query in DB::ask(connection, DB::COUNTERS.to_owned())
        .await?
        .into_iter()
        .flatten()
        .flatten()
    {
        counters.extend(
            DB::ask(connection, query)
                .await?
                .into_iter()
                .flatten()
                .flatten(),
        );
    }
    Ok(DatabaseRows::new(with_rows, counters))
}

/// Restores the rows and counters of an earlier state.
///
/// # Errors
///
/// A statement that fails in two passes, or the tables that still differ after the last one.
pub(super) async fn put_back<DB: Tables>(
    connection: &mut DB::Connection,
    before: &DatabaseRows,
    state: &DatabaseRows,
) -> Result<(), String> {
    let mut state = state.clone();
    let mut refused = None;
    for _ in 0..PASSES {
        if state == *before {
            for counter in &before.counters {
                DB::ask(connection, counter.clone())
                    .await
                    .map_err(|error| format!("{counter}: {error}"))?;
            }
            return Ok(());
        }
        // Updates of two rows with swapped unique values block each other, so a refused pass is followed by one without
        // updates.
        let change = refused.is_none();
        let differing = differences(before, &state);
        let statements = differing
            .iter()
            .flat_map(|difference| statements::<DB>(difference, change))
            .collect();
        let was = refused.take();
        refused = run_all::<DB>(connection, statements).await;
        if let (Some(_), Some(why)) = (was, &refused) {
            return Err(why.clone());
        }
        state = read::<DB>(connection)
            .await
            .map_err(|error| error.to_string())?;
    }
    let differing: Vec<String> = differences(before, &state)
        .iter()
        .map(|differing| differing.table.name.clone())
        .collect();
    Err(format!(
        "{} differs again and again, as if a trigger changed it",
        differing.join(", ")
    ))
}

/// Runs statements in an order that the constraints allow; returns an error when there is none.
async fn run_all<DB: Tables>(
    connection: &mut DB::Connection,
    mut statements: Vec<String>,
) -> Option<String> {
    while !statements.is_empty() {
        let mut refused = Vec::new();
        let mut why = String::new();
        let before = statements.len();
        for statement in statements {
            if let Err(error) = DB::ask(connection, statement.clone()).await {
                why = format!("{statement}: {error}");
                refused.push(statement);
            }
        }
        if refused.len() == before {
            return Some(why);
        }
        statements = refused;
    }
    None
}

/// The statements that restore the rows of a table: with updates where possible, or by deleting and inserting alone.
fn statements<DB: Tables>(difference: &Difference<'_>, change: bool) -> Vec<String> {
    let Difference { table, fewer, more } = difference;
    let same_once = |one: &Row, other: &Row| {
        let mut columns = table.columns.iter().zip(one.iter().zip(other));
        change
            && columns.all(|(column, (one, other))| column.written != Written::Once || one == other)
    };
    let (changed, gone, come) = pairs(fewer, more, same_once);
    let mut statements = Vec::new();
    for row in come {
        statements.push(format!(
            "DELETE FROM {}{} WHERE {}",
            DB::ONLY,
            table.name,
            this_row::<DB>(table, row)
        ));
    }
    for (was, is) in changed {
        let columns = table.columns.iter().zip(was.iter().zip(is));
        let set: Vec<String> = columns
            .filter(|(column, (was, is))| column.written == Written::Freely && was != is)
            .map(|(column, (was, _))| format!("{} = {was}", column.name))
            .collect();
        if !set.is_empty() {
            let of_this = this_row::<DB>(table, is);
            statements.push(format!(
                "UPDATE {}{} SET {} WHERE {of_this}",
                DB::ONLY,
                table.name,
                set.join(", ")
            ));
        }
    }
    for row in gone {
        let columns = table
            .columns
            .iter()
            .zip(row)
            .filter(|(column, _)| column.written != Written::Never);
        let (names, values): (Vec<&str>, Vec<&str>) = columns
            .map(|(column, value)| (column.name.as_str(), value.as_str()))
            .unzip();
        statements.push(format!(
            "INSERT INTO {} ({}) {}VALUES ({})",
            table.name,
            names.join(", "),
            DB::OVERRIDING,
            values.join(", ")
        ));
    }
    statements
}

/// The condition for one row that holds these values.
fn this_row<DB: Tables>(table: &Table, row: &Row) -> String {
    let values = table.columns.iter().zip(row);
    let conditions: Vec<String> = values
        .map(|(column, value)| format!("{} = {}", column.literal, DB::quoted(value)))
        .collect();
    DB::one_row(table, &conditions.join(" AND "))
}

/// Whether a session is in a transaction.
pub(super) async fn in_transaction<DB: Tables>(
    connection: &mut DB::Connection,
) -> sqlx::Result<bool> {
    for question in DB::IN_TRANSACTION {
        match DB::ask(connection, (*question).to_owned()).await {
            Ok(rows) => {
                let answer = rows.into_iter().flatten().flatten().next();
                if let Some(answer) = answer {
                    return Ok(answer != "0");
                }
            }
            // The server has no such variable; the next statement is for it.
            Err(sqlx::Error::Database(error)) if error.message().contains("system variable") => {}
            Err(sqlx::Error::Database(_)) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

macro_rules! ask {
    ($decode:expr) => {
        fn ask(
            connection: &mut Self::Connection,
            sql: String,
        ) -> BoxFuture<'_, sqlx::Result<Vec<Vec<Option<String>>>>> {
            Box::pin(async move {
                // A session that ends in the middle of a test is noticed by the next statement.
                let rows = sqlx::raw_sql(AssertSqlSafe(sql))
                    .fetch_all(connection)
                    .await?;
                rows.iter()
                    .map(|row| (0..row.len()).map(|column| $decode(row, column)).collect())
                    .collect()
            })
        }
    };
}

#[cfg(feature = "postgres")]
impl Tables for sqlx::Postgres {
    // Row security gives an error instead of fewer rows: <https://www.postgresql.org/docs/current/ddl-rowsecurity.html>
    const SESSION: &'static str =
        "SET application_name = 'poolhouse cancel_everywhere'; SET row_security = off";
    const COLUMNS: &'static str = "
        SELECT format('%I.%I', n.nspname, c.relname), quote_ident(a.attname), format('quote_nullable(%I::text)', a.attname),
            CASE WHEN a.attgenerated <> '' THEN 'g' WHEN a.attidentity = 'a' THEN 'i' ELSE 'w' END
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY c.oid, a.attnum";
    const COUNTERS: &'static str = "
        SELECT format('SELECT format(''SELECT setval(%%L, %%s, %%L)'', %L, last_value, is_called) FROM %1$s', format('%I.%I', n.nspname, c.relname))
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'S' AND c.relpersistence <> 't'";
    const ONLY: &'static str = "ONLY ";
    const OVERRIDING: &'static str = "OVERRIDING SYSTEM VALUE ";
    const IN_TRANSACTION: &'static [&'static str] =
        &["SELECT CASE WHEN transaction_timestamp() = statement_timestamp() THEN 0 ELSE 1 END"];
    const SESSIONS: Option<&'static str> = Some(
        "SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%') FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' \
         AND application_name <> 'poolhouse cancel_everywhere'",
    );

    ask!(|row: &<Self as sqlx::Database>::Row, column| row.try_get_unchecked(column));

    fn quoted(text: &str) -> String {
        literal(text)
    }

    fn one_row(table: &Table, condition: &str) -> String {
        format!(
            "ctid = (SELECT ctid FROM ONLY {} WHERE {condition} LIMIT 1)",
            table.name
        )
    }
}

#[cfg(feature = "mysql")]
impl Tables for sqlx::MySql {
    // MySQL 8 caches the counters of tables for a day: <https://dev.mysql.com/doc/refman/8.0/en/information-schema-optimization.html>.
    // MariaDB, which has no such setting, ignores the comment.
    const SESSION: &'static str =
        "SET SESSION foreign_key_checks = 0 /*!80003 , information_schema_stats_expiry = 0 */";
    // The text of a FLOAT has fewer digits than its value. Bytes are compared, because texts that differ can be equal in a collation.
    const COLUMNS: &'static str = "
        SELECT CONCAT('`', REPLACE(c.table_name, '`', '``'), '`'), CONCAT('`', REPLACE(c.column_name, '`', '``'), '`'),
            CASE
            WHEN c.data_type IN ('binary', 'varbinary', 'tinyblob', 'blob', 'mediumblob', 'longblob', 'vector')
                OR c.data_type LIKE '%geom%' OR c.data_type LIKE '%point' OR c.data_type LIKE '%linestring' OR c.data_type LIKE '%polygon'
            THEN REPLACE('IF(? IS NULL, ''NULL'', CONCAT(''x'''''', HEX(?), ''''''''))', '?', CONCAT('`', REPLACE(c.column_name, '`', '``'), '`'))
            WHEN c.data_type = 'bit'
            THEN REPLACE('IF(? IS NULL, ''NULL'', CONCAT(''b'''''', BIN(? + 0), ''''''''))', '?', CONCAT('`', REPLACE(c.column_name, '`', '``'), '`'))
            WHEN c.data_type = 'float'
            THEN REPLACE('CAST(QUOTE(? + 0e0) AS BINARY)', '?', CONCAT('`', REPLACE(c.column_name, '`', '``'), '`'))
            ELSE REPLACE('CAST(CONVERT(QUOTE(?) USING utf8mb4) AS BINARY)', '?', CONCAT('`', REPLACE(c.column_name, '`', '``'), '`')) END,
            IF(COALESCE(c.generation_expression, '') <> '', 'g', 'w')
        FROM information_schema.columns c
        JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
        WHERE c.table_schema = DATABASE() AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')
        ORDER BY c.table_name, c.ordinal_position";
    // MySQL 8 caches the statistics of tables, but not the definitions of columns. A sequence of MariaDB shows no value that the
    // server has cached, so that numbers are skipped when it is restored. One that has no next value cannot be restored.
    const COUNTERS: &'static str = "
        SELECT CONCAT('SELECT CONCAT(''ALTER TABLE `', REPLACE(REPLACE(table_name, '`', '``'), '''', ''''''), '` AUTO_INCREMENT = '', \
            auto_increment) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ''',
            REPLACE(table_name, '''', ''''''), ''' AND auto_increment IS NOT NULL')
        FROM information_schema.columns WHERE table_schema = DATABASE() AND extra LIKE '%auto_increment%'
        UNION ALL SELECT CONCAT('SELECT CONCAT(''ALTER SEQUENCE `', REPLACE(REPLACE(table_name, '`', '``'), '''', ''''''), '` RESTART '', \
            next_not_cached_value) FROM `', REPLACE(table_name, '`', '``'), '` \
            WHERE next_not_cached_value BETWEEN minimum_value AND maximum_value')
        FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'SEQUENCE'";
    const ONLY: &'static str = "";
    const OVERRIDING: &'static str = "";
    const IN_TRANSACTION: &'static [&'static str] = &[
        "SELECT CAST(@@in_transaction AS CHAR)",
        // The server refuses it inside a transaction. It applies only to the next transaction, which is the next statement.
        "SET TRANSACTION READ WRITE",
        "SELECT '0'",
    ];
    const SESSIONS: Option<&'static str> = Some(
        "SELECT CAST(COUNT(*) AS CHAR), '0' FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
    );

    ask!(|row: &<Self as sqlx::Database>::Row, column| {
        let bytes: Option<Vec<u8>> = row.try_get_unchecked(column)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    });

    fn quoted(text: &str) -> String {
        format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    }

    fn one_row(_: &Table, condition: &str) -> String {
        format!("{condition} LIMIT 1")
    }
}

#[cfg(feature = "sqlite")]
impl Tables for sqlx::Sqlite {
    const SESSION: &'static str = "PRAGMA foreign_keys = OFF";
    const COLUMNS: &'static str = r#"
        SELECT '"' || replace(l.name, '"', '""') || '"', '"' || replace(c.name, '"', '""') || '"',
            'quote("' || replace(c.name, '"', '""') || '")', CASE WHEN c.hidden IN (2, 3) THEN 'g' ELSE 'w' END
        FROM pragma_table_list l JOIN pragma_table_xinfo(l.name) c
        WHERE l.schema = 'main' AND l.type IN ('table', 'shadow') AND l.name NOT IN ('sqlite_schema') AND c.hidden <> 1
        ORDER BY l.name, c.cid"#;
    // The counters are rows of a table, `sqlite_sequence`, which is read like all others.
    const COUNTERS: &'static str = "SELECT NULL WHERE 0";
    const ONLY: &'static str = "";
    const OVERRIDING: &'static str = "";
    const IN_TRANSACTION: &'static [&'static str] = &["BEGIN", "ROLLBACK"];
    const SESSIONS: Option<&'static str> = None;

    ask!(|row: &<Self as sqlx::Database>::Row, column| row.try_get_unchecked(column));

    fn quoted(text: &str) -> String {
        literal(text)
    }

    fn one_row(_: &Table, condition: &str) -> String {
        condition.to_owned()
    }
}

/// Opens the session that reads and writes.
pub(super) async fn open<DB: Tables>(
    options: crate::backend::OptionsOf<DB>,
) -> sqlx::Result<DB::Connection> {
    let mut connection = DB::Connection::connect_with(&options).await?;
    DB::ask(&mut connection, DB::SESSION.to_owned()).await?;
    Ok(connection)
}
