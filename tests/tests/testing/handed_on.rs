//! A database on Postgres that is used again: a test finds no remains of the test before, in the database or its session.

use std::env;
use std::process::Command;

use poolhouse::{PgEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer};
use sqlx::{ConnectOptions, Connection, PgPool};

/// A query for the differences from a new database with the migrations, and from a new session.
const DIFFERENCES: &str = "
    SELECT 'rows' WHERE EXISTS (SELECT FROM band) OR EXISTS (SELECT FROM member)
    UNION ALL SELECT 'migrations' WHERE (SELECT count(*) FROM _sqlx_migrations) <> 2
    UNION ALL SELECT 'relation ' || relname FROM pg_class
        WHERE relname IN ('extra', 'scratch', 'band_by_name', 'bands', 'counted', 'tour', 'stage', 'mood', 'place')
    UNION ALL SELECT 'column ' || attname FROM pg_attribute
        WHERE attrelid = 'band'::regclass AND attnum > 0 AND attname NOT IN ('id', 'name')
    UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'tours'
    UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typname IN ('mood', 'positive', 'place', 'span')
    UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE proname IN ('seven', 'nothing', 'most')
    UNION ALL SELECT 'comment ' || description FROM pg_description WHERE objoid = 'band'::regclass
    UNION ALL SELECT 'large object' FROM pg_largeobject_metadata
    UNION ALL SELECT 'right ' || relname FROM pg_class WHERE oid = 'band'::regclass AND relacl IS NOT NULL
    UNION ALL SELECT 'setting of the database' FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
        WHERE d.datname = current_database()
    UNION ALL SELECT 'setting of the session' WHERE current_setting('work_mem') = '7MB'
    UNION ALL SELECT 'role ' || current_user WHERE current_user <> session_user
    UNION ALL SELECT 'prepared ' || name FROM pg_prepared_statements WHERE name = 'trace'
    UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE name = 'trace'
    UNION ALL SELECT 'lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
    UNION ALL SELECT 'channel ' || channel FROM pg_listening_channels() channel";

async fn finds_nothing(db: &PgEngine) {
    let found: Vec<String> = sqlx::query_scalar(DIFFERENCES).fetch_all(db).await.unwrap();
    assert_eq!(found, [""; 0], "left by another test");
    // With this statement, the server's log shows the database of each test.
    sqlx::query("INSERT INTO band (id, name) VALUES (1, 'Pythonistas')")
        .execute(db)
        .await
        .unwrap();
}

/// Fails unless facts that the engine takes over with a connection are true of its own connection.
async fn knows_its_server(db: &PgEngine) {
    let mut connection = db.acquire().await.unwrap();
    let (version, session): (String, i32) =
        sqlx::query_as("SELECT current_setting('server_version'), pg_backend_pid()")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(db.server().unwrap().version, version);
    let known = format!("{connection:?}");
    assert!(
        known.contains(&format!("id: \"{session}\",")),
        "{known} is {session}"
    );
}

/// A test that finds nothing, and leaves the effects of these statements.
macro_rules! leaves {
    ($($name:ident: $sql:expr;)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", max_size = 3)]
        #[tokio::test]
        async fn $name(db: PgEngine) {
            finds_nothing(&db).await;
            knows_its_server(&db).await;
            let mut connection = db.acquire().await.unwrap();
            sqlx::raw_sql($sql).execute(&mut connection).await.unwrap();
        }
    )*};
}

leaves! {
    rows: "INSERT INTO band VALUES (2, 'C-Sharps'); INSERT INTO member SELECT 1, 2, 'Anna' WHERE false";
    rows_once_more: "INSERT INTO band VALUES (2, 'C-Sharps')";
    no_rows: "DELETE FROM band";
    rows_that_were_rolled_back: "BEGIN; INSERT INTO band VALUES (2, 'C-Sharps'); ROLLBACK";
    a_missing_migration: "DELETE FROM _sqlx_migrations WHERE version = 2";
    a_table: "CREATE TABLE extra (id INTEGER)";
    a_table_that_was_rolled_back: "BEGIN; CREATE TABLE extra (id INTEGER); ROLLBACK";
    a_table_that_was_dropped: "CREATE TABLE extra (id INTEGER); DROP TABLE extra";
    a_table_of_many_parts: "CREATE TYPE mood AS ENUM ('merry'); \
        CREATE FUNCTION seven() RETURNS int LANGUAGE sql AS 'SELECT 7'; \
        CREATE TABLE tour (id SERIAL PRIMARY KEY, stage INT DEFAULT seven(), mood mood, notes TEXT UNIQUE); \
        CREATE TABLE stage (id BIGINT GENERATED ALWAYS AS IDENTITY, tour INT REFERENCES tour) PARTITION BY RANGE (tour); \
        CREATE TABLE extra PARTITION OF stage FOR VALUES FROM (0) TO (9); \
        CREATE INDEX band_by_name ON tour (lower(notes)); CREATE VIEW bands AS SELECT id FROM tour; \
        INSERT INTO tour (notes) SELECT n FROM generate_series(1, 9) n; INSERT INTO stage (tour) SELECT id FROM tour LIMIT 1";
    a_table_that_refers_to_one: "CREATE TABLE extra (band INTEGER REFERENCES band); INSERT INTO extra VALUES (1)";
    a_table_beneath_one: "CREATE TABLE extra () INHERITS (band); INSERT INTO extra VALUES (2, 'C-Sharps')";
    a_table_that_replaces_one: "ALTER TABLE member RENAME TO extra; CREATE TABLE member (LIKE extra INCLUDING ALL)";
    a_column: "ALTER TABLE band ADD COLUMN founded INTEGER";
    a_column_of_a_new_type: "CREATE TYPE mood AS ENUM ('merry'); ALTER TABLE band ADD COLUMN mood mood";
    a_missing_column: "ALTER TABLE member DROP COLUMN name";
    a_missing_table: "DROP TABLE member";
    a_trigger: "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
        CREATE TRIGGER nothing BEFORE INSERT ON band FOR EACH ROW EXECUTE FUNCTION nothing()";
    a_schema: "CREATE SCHEMA tours CREATE TABLE tour (id INTEGER PRIMARY KEY); CREATE VIEW bands AS SELECT * FROM tours.tour";
    a_view: "CREATE VIEW bands AS SELECT * FROM band; CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM bands";
    a_sequence: "CREATE SEQUENCE counted; SELECT nextval('counted')";
    an_aggregate: "CREATE AGGREGATE most (int) (SFUNC = int4larger, STYPE = int)";
    a_domain: "CREATE DOMAIN positive AS int CHECK (value > 0); CREATE TYPE place AS (x positive); \
        CREATE TYPE span AS RANGE (SUBTYPE = date)";
    emptied_tables: "TRUNCATE band CASCADE";
    a_temporary_table: "CREATE TEMPORARY TABLE scratch (id INTEGER)";
    an_index: "CREATE INDEX band_by_name ON band (name)";
    a_type: "CREATE TYPE mood AS ENUM ('merry')";
    a_function: "CREATE FUNCTION seven() RETURNS int LANGUAGE sql AS 'SELECT 7'";
    a_comment: "COMMENT ON TABLE band IS 'of the test'";
    a_large_object: "SELECT lo_create(0)";
    a_right: "GRANT SELECT ON band TO PUBLIC";
    a_setting_of_the_database: "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''7MB''', current_database()); END $$";
    a_setting_of_the_session: "SET work_mem = '7MB'";
    a_prepared_statement: "PREPARE trace AS SELECT 1";
    a_cursor: "DECLARE trace CURSOR WITH HOLD FOR SELECT 1";
    a_lock: "SELECT pg_advisory_lock_shared(1)";
    a_channel: "LISTEN trace";
    // Only a superuser can do this; the driver below is one.
    hidden_counts: "DO $$ BEGIN IF current_setting('is_superuser')::bool THEN SET track_counts = off; END IF; END $$; \
        COMMENT ON TABLE band IS 'of the test'";
}

#[derive(Debug, PartialEq, sqlx::Type)]
#[sqlx(type_name = "mood", rename_all = "lowercase")]
enum Mood {
    Merry,
}

/// The driver caches the type's number. There are several tests, because two or three databases are used in turn.
macro_rules! use_a_type_of_their_own {
    ($($name:ident)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", max_size = 3)]
        #[tokio::test]
        async fn $name(db: PgEngine) {
            finds_nothing(&db).await;
            let create = "CREATE TYPE mood AS ENUM ('merry')";
            sqlx::query(create).execute(&db).await.unwrap();
            let mood = sqlx::query_scalar("SELECT $1").bind(Mood::Merry);
            let mood: Mood = mood.fetch_one(&db).await.unwrap();
            assert_eq!(mood, Mood::Merry);
        }
    )*};
}

use_a_type_of_their_own! {
    a_type_of_the_driver_1 a_type_of_the_driver_2 a_type_of_the_driver_3 a_type_of_the_driver_4 a_type_of_the_driver_5
}

/// Other clients than the engine may come back, so that the database has another name for the next test.
#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", max_size = 3)]
#[tokio::test]
async fn a_visitor(db: PgEngine) {
    finds_nothing(&db).await;
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&db)
        .await
        .unwrap();
    let options = db.connect_options().database(&name);
    options.connect().await.unwrap().close().await.unwrap();
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", max_size = 3)]
#[tokio::test]
async fn several_connections(db: PgEngine) {
    finds_nothing(&db).await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(db.acquire().await.unwrap());
    }
}

/// The kept connection ends, and facts about it are not used for another one.
#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", max_size = 3)]
#[tokio::test]
async fn another_connection_comes_back(db: PgEngine) {
    finds_nothing(&db).await;
    let mut checkout = db.acquire().await.unwrap();
    let session: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut checkout)
        .await
        .unwrap();
    sqlx::query("SELECT pg_terminate_backend($1)")
        .bind(session)
        .execute(&db)
        .await
        .unwrap();
    sqlx::query("SELECT 1")
        .execute(&mut checkout)
        .await
        .unwrap_err();
}

#[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", max_size = 3)]
#[tokio::test]
async fn a_pool_of_sqlx(db: PgEngine, pool: PgPool) {
    finds_nothing(&db).await;
    sqlx::query("INSERT INTO band VALUES (2, 'C-Sharps')")
        .execute(&pool)
        .await
        .unwrap();
}

/// An end without a close: the task holds a connection for ever, and the test's runtime drops it.
#[with_pool(
    env = "POOLHOUSE_TESTING_POSTGRES_URL",
    max_size = 3,
    close_timeout = "100ms"
)]
#[tokio::test]
async fn a_connection_that_does_not_come_back(db: PgEngine) {
    finds_nothing(&db).await;
    let held = db.acquire().await.unwrap();
    tokio::spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn most_tests_get_the_database_and_the_session_of_another() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = server
        .setting("log_statement", "mod")
        .start()
        .await
        .unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["handed_on::", "--skip", "most_tests", "--test-threads=1"])
        .env("POOLHOUSE_TESTING_POSTGRES_URL", &server.url)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let inserts = server
        .log()
        .unwrap()
        .lines_with(&["INSERT INTO band (id, name) VALUES (1, 'Pythonistas')"])
        .unwrap();
    let mut sessions: Vec<&str> = inserts
        .iter()
        .filter_map(|line| line.split(['[', ']']).nth(1))
        .collect();
    assert_eq!(sessions.len(), 47, "{inserts:?}");
    sessions.sort_unstable();
    sessions.dedup();
    // Tests that changed the schema or had visitors ended their sessions, and two or three are used in turn. Kept sessions are
    // closed now and then, more often on a busy machine.
    assert!(sessions.len() <= 35, "{sessions:?}");
    // Objects that were only added to a schema are removed again. Otherwise there would be about 30 clones.
    let copies = server.log().unwrap();
    let copies = copies.lines_with(&["CREATE DATABASE"]).unwrap();
    assert!(copies.len() <= 24, "{copies:?}");
}
