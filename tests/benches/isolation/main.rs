//! The tests that `test_isolation` times: the same 200, under `#[sqlx::test]` and under `#[with_pool]`.
//!
//! `cargo test` does not run them. `DATABASE_URL` must name a server of the kind in the prefix of a module's name.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Instant;

use poolhouse::{MySqlEngine, PgEngine, SqliteEngine, with_pool};
use sqlx::migrate::Migrator;
use sqlx::{MySqlPool, PgPool, SqlitePool};

/// 50 migrations, with a table each.
static MIGRATOR: Migrator = sqlx::migrate!("benches/isolation/migrations");

/// A table with a million rows, and the one that the tests use.
static MILLION_ON_POSTGRES: Migrator = sqlx::migrate!("benches/isolation/million/postgres");
static MILLION_ON_MARIADB: Migrator = sqlx::migrate!("benches/isolation/million/mariadb");
static MILLION_ON_SQLITE: Migrator = sqlx::migrate!("benches/isolation/million/sqlite");

const CREATE: &str = include_str!("migrations/0025_table_25.sql");
const INSERT: &str = "INSERT INTO table_25 (id, name) VALUES (1, 'Pythonistas')";
const COUNT: &str = "SELECT count(*) FROM table_25";

thread_local! {
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Records the call of the test function, which evaluates the value of a setting first.
fn begin(max_size: u32) -> u32 {
    BEGUN.set(Some(Instant::now()));
    max_size
}

/// Records the time until the first line of the body, in the file that `ISOLATION_STARTS` names.
fn body_starts() {
    let (Some(begun), Some(file)) = (BEGUN.get(), std::env::var_os("ISOLATION_STARTS")) else {
        return;
    };
    let line = format!("{}\n", begun.elapsed().as_micros());
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

/// A module with two hundred tests: the attribute, the type of the parameter, and the body.
macro_rules! suite {
    ($module:ident, [$($attribute:tt)*], $db:ident: $ty:ty, $body:expr) => {
        suite! { @ $module, [$($attribute)*], $db: $ty, $body,
            t000 t001 t002 t003 t004 t005 t006 t007 t008 t009 t010 t011 t012 t013 t014 t015 t016 t017 t018
            t019 t020 t021 t022 t023 t024 t025 t026 t027 t028 t029 t030 t031 t032 t033 t034 t035 t036 t037
            t038 t039 t040 t041 t042 t043 t044 t045 t046 t047 t048 t049 t050 t051 t052 t053 t054 t055 t056
            t057 t058 t059 t060 t061 t062 t063 t064 t065 t066 t067 t068 t069 t070 t071 t072 t073 t074 t075
            t076 t077 t078 t079 t080 t081 t082 t083 t084 t085 t086 t087 t088 t089 t090 t091 t092 t093 t094
            t095 t096 t097 t098 t099 t100 t101 t102 t103 t104 t105 t106 t107 t108 t109 t110 t111 t112 t113
            t114 t115 t116 t117 t118 t119 t120 t121 t122 t123 t124 t125 t126 t127 t128 t129 t130 t131 t132
            t133 t134 t135 t136 t137 t138 t139 t140 t141 t142 t143 t144 t145 t146 t147 t148 t149 t150 t151
            t152 t153 t154 t155 t156 t157 t158 t159 t160 t161 t162 t163 t164 t165 t166 t167 t168 t169 t170
            t171 t172 t173 t174 t175 t176 t177 t178 t179 t180 t181 t182 t183 t184 t185 t186 t187 t188 t189
            t190 t191 t192 t193 t194 t195 t196 t197 t198 t199
        }
    };
    (@ $module:ident, $attribute:tt, $db:ident: $ty:ty, $body:expr, $($name:ident)*) => {
        mod $module {
            use super::*;
            $(suite! { @one $attribute, $name, $db: $ty, $body })*
        }
    };
    (@one [$($attribute:tt)*], $name:ident, $db:ident: $ty:ty, $body:expr) => {
        $($attribute)*
        async fn $name($db: $ty) {
            $body
        }
    };
}

/// The body of each test.
macro_rules! insert_and_count {
    ($db:ident) => {{
        body_starts();
        sqlx::query(INSERT).execute(&$db).await.unwrap();
        let rows: i64 = sqlx::query_scalar(COUNT).fetch_one(&$db).await.unwrap();
        assert_eq!(rows, 1);
    }};
}

/// The same without migrations: each test creates the table itself.
macro_rules! create_insert_and_count {
    ($db:ident) => {{
        sqlx::query(CREATE).execute(&$db).await.unwrap();
        sqlx::query(INSERT).execute(&$db).await.unwrap();
        let rows: i64 = sqlx::query_scalar(COUNT).fetch_one(&$db).await.unwrap();
        assert_eq!(rows, 1);
    }};
}

/// The minimal test without a schema.
macro_rules! select {
    ($db:ident) => {{
        let one: i64 = sqlx::query_scalar("SELECT count(*) FROM (SELECT 1 AS one) AS ones")
            .fetch_one(&$db)
            .await
            .unwrap();
        assert_eq!(one, 1);
    }};
}

suite!(postgres_sqlx, [#[sqlx::test(migrator = "MIGRATOR")]], db: PgPool, insert_and_count!(db));
suite!(postgres_database, [#[with_pool(max_size = begin(5), migrator = MIGRATOR)] #[tokio::test]], db: PgEngine, insert_and_count!(db));
suite!(postgres_rollback, [#[with_pool(max_size = begin(5), migrator = MIGRATOR, isolation = "rollback")] #[tokio::test]], db: PgEngine, insert_and_count!(db));
suite!(mysql_sqlx, [#[sqlx::test(migrator = "MIGRATOR")]], db: MySqlPool, insert_and_count!(db));
suite!(mysql_database, [#[with_pool(max_size = begin(5), migrator = MIGRATOR)] #[tokio::test]], db: MySqlEngine, insert_and_count!(db));
suite!(mysql_rollback, [#[with_pool(max_size = begin(5), migrator = MIGRATOR, isolation = "rollback")] #[tokio::test]], db: MySqlEngine, insert_and_count!(db));
suite!(sqlite_sqlx, [#[sqlx::test(migrator = "MIGRATOR")]], db: SqlitePool, insert_and_count!(db));
suite!(sqlite_database, [#[with_pool(max_size = begin(5), migrator = MIGRATOR)] #[tokio::test]], db: SqliteEngine, insert_and_count!(db));
suite!(sqlite_rollback, [#[with_pool(max_size = begin(5), migrator = MIGRATOR, isolation = "rollback")] #[tokio::test]], db: SqliteEngine, insert_and_count!(db));
suite!(postgres_bare_sqlx, [#[sqlx::test(migrations = false)]], db: PgPool, select!(db));
suite!(postgres_bare_database, [#[with_pool(migrations = false)] #[tokio::test]], db: PgEngine, select!(db));
suite!(mysql_bare_sqlx, [#[sqlx::test(migrations = false)]], db: MySqlPool, select!(db));
suite!(mysql_bare_database, [#[with_pool(migrations = false)] #[tokio::test]], db: MySqlEngine, select!(db));
suite!(sqlite_bare_sqlx, [#[sqlx::test(migrations = false)]], db: SqlitePool, select!(db));
suite!(sqlite_bare_database, [#[with_pool(migrations = false)] #[tokio::test]], db: SqliteEngine, select!(db));
suite!(postgres_table_sqlx, [#[sqlx::test(migrations = false)]], db: PgPool, create_insert_and_count!(db));
suite!(postgres_table_database, [#[with_pool(migrations = false)] #[tokio::test]], db: PgEngine, create_insert_and_count!(db));
suite!(mysql_table_sqlx, [#[sqlx::test(migrations = false)]], db: MySqlPool, create_insert_and_count!(db));
suite!(mysql_table_database, [#[with_pool(migrations = false)] #[tokio::test]], db: MySqlEngine, create_insert_and_count!(db));
suite!(sqlite_table_sqlx, [#[sqlx::test(migrations = false)]], db: SqlitePool, create_insert_and_count!(db));
suite!(sqlite_table_database, [#[with_pool(migrations = false)] #[tokio::test]], db: SqliteEngine, create_insert_and_count!(db));
suite!(postgres_million, [#[with_pool(max_size = begin(5), migrator = MILLION_ON_POSTGRES)] #[tokio::test]], db: PgEngine, insert_and_count!(db));
suite!(mysql_million, [#[with_pool(max_size = begin(5), migrator = MILLION_ON_MARIADB)] #[tokio::test]], db: MySqlEngine, insert_and_count!(db));
suite!(sqlite_million, [#[with_pool(max_size = begin(5), migrator = MILLION_ON_SQLITE)] #[tokio::test]], db: SqliteEngine, insert_and_count!(db));
