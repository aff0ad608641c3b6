//! Changes that a test may make to its database, each a piece of SQL. Some are refused; the next test must see none of them.

use poolhouse_tests::Kind;

/// The role that may run a piece.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Anyone,
    Superuser,
}
use By::{Anyone, Superuser};

/// The messes of a kind of database; `None` is SQLite.
pub(crate) fn of(kind: Option<Kind>) -> &'static [(By, &'static str)] {
    match kind {
        Some(Kind::Postgres) => POSTGRES,
        Some(Kind::MariaDb) => MARIADB,
        None => SQLITE,
    }
}

const POSTGRES: &[(By, &str)] = &[
    // Rows.
    (Anyone, "INSERT INTO label VALUES (1, 'one')"),
    (
        Anyone,
        "INSERT INTO label SELECT n, 'many' FROM generate_series(100, 5000) n",
    ),
    (Anyone, "INSERT INTO band (name) VALUES ('Gophers')"),
    (
        Anyone,
        "INSERT INTO band (id, name) VALUES (77, 'Without a sequence')",
    ),
    (
        Anyone,
        "INSERT INTO archive.tour VALUES (1, 'in another schema')",
    ),
    (Anyone, "INSERT INTO gig VALUES ('2024-06-01', 3)"),
    (Anyone, "UPDATE band SET name = upper(name) WHERE id = 1"),
    (Anyone, "UPDATE band SET name = name"),
    (Anyone, "UPDATE cover SET picture = repeat('another', 6000)"),
    (Anyone, "DELETE FROM member WHERE id % 7 = 0"),
    (Anyone, "DELETE FROM seen"),
    (Anyone, "DELETE FROM band"),
    (
        Anyone,
        "DELETE FROM member; INSERT INTO member (id, band, name) SELECT n, 1, 'same count' FROM generate_series(1, 60) n",
    ),
    (Anyone, "TRUNCATE label"),
    (Anyone, "TRUNCATE band RESTART IDENTITY CASCADE"),
    (
        Anyone,
        "TRUNCATE seen; INSERT INTO seen VALUES (1, 10), (2, 21)",
    ),
    (
        Anyone,
        "BEGIN; INSERT INTO label VALUES (2, 'two'); ROLLBACK",
    ),
    (
        Anyone,
        "BEGIN; INSERT INTO band (name) VALUES ('rolled back'); ROLLBACK",
    ),
    (
        Anyone,
        "BEGIN; DELETE FROM band; SAVEPOINT s; INSERT INTO label VALUES (3, 'three'); ROLLBACK TO s; COMMIT",
    ),
    (
        Anyone,
        "INSERT INTO label VALUES (4, 'four'); DELETE FROM label",
    ),
    (
        Anyone,
        "UPDATE _sqlx_migrations SET description = 'another' WHERE version = 1",
    ),
    (Anyone, "DELETE FROM _sqlx_migrations WHERE version = 2"),
    (Anyone, "REFRESH MATERIALIZED VIEW members"),
    (
        Anyone,
        "DELETE FROM member; REFRESH MATERIALIZED VIEW members",
    ),
    (Anyone, "LOCK TABLE band; SELECT * FROM band FOR UPDATE"),
    // Sequences.
    (Anyone, "SELECT nextval('ticket')"),
    (Anyone, "SELECT setval('band_id_seq', 1000)"),
    (Anyone, "ALTER SEQUENCE ticket RESTART"),
    (Anyone, "ALTER SEQUENCE ticket INCREMENT 3"),
    (Anyone, "BEGIN; SELECT nextval('ticket'); ROLLBACK"),
    // Large objects.
    (Anyone, "SELECT lo_create(0)"),
    (Anyone, "SELECT lo_from_bytea(77, 'another')"),
    (Anyone, "SELECT lo_put(424242, 4, 'last')"),
    (Anyone, "SELECT lo_unlink(424242)"),
    (
        Anyone,
        "SELECT lo_unlink(424242); SELECT lo_from_bytea(424242, 'the first SONG')",
    ),
    (Anyone, "GRANT SELECT ON LARGE OBJECT 424242 TO PUBLIC"),
    // New objects.
    (Anyone, "CREATE TABLE extra (id integer)"),
    (
        Anyone,
        "CREATE TABLE extra (id serial PRIMARY KEY, name text UNIQUE); INSERT INTO extra (name) VALUES ('one')",
    ),
    (Anyone, "CREATE TABLE extra (id integer); DROP TABLE extra"),
    (Anyone, "CREATE TABLE extra AS SELECT * FROM band"),
    (Anyone, "CREATE UNLOGGED TABLE extra AS SELECT 1 AS one"),
    (
        Anyone,
        "CREATE TABLE extra (band integer REFERENCES band); INSERT INTO extra VALUES (1)",
    ),
    (
        Anyone,
        "CREATE TABLE extra () INHERITS (band); INSERT INTO extra (name) VALUES ('below')",
    ),
    (
        Anyone,
        "CREATE TABLE gig_2026 PARTITION OF gig FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    ),
    (
        Anyone,
        "CREATE SCHEMA extra CREATE TABLE extra (id integer)",
    ),
    (Anyone, "CREATE VIEW extra AS SELECT 1"),
    (Anyone, "CREATE SEQUENCE extra"),
    (Anyone, "CREATE TYPE extra AS ENUM ('a', 'b')"),
    (Anyone, "CREATE DOMAIN extra AS text"),
    (
        Anyone,
        "CREATE FUNCTION extra() RETURNS int LANGUAGE sql AS 'SELECT 7'",
    ),
    (
        Anyone,
        "CREATE AGGREGATE extra (int) (SFUNC = int4larger, STYPE = int)",
    ),
    (Anyone, "CREATE COLLATION extra (LOCALE = 'C')"),
    (
        Anyone,
        "CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
    ),
    (
        Anyone,
        "CREATE TEXT SEARCH DICTIONARY extra (TEMPLATE = simple)",
    ),
    (
        Anyone,
        "CREATE TEXT SEARCH CONFIGURATION extra (COPY = simple)",
    ),
    (Anyone, "CREATE STATISTICS extra ON id, name FROM band"),
    (Anyone, "CREATE PUBLICATION extra FOR TABLE band"),
    (Anyone, "CREATE INDEX extra ON band (genre)"),
    (Anyone, "CREATE INDEX CONCURRENTLY extra ON band (genre)"),
    (Anyone, "CREATE EXTENSION citext"),
    (Anyone, "CREATE CAST (genre AS integer) WITH INOUT"),
    (
        Anyone,
        "CREATE TEMPORARY TABLE extra (id integer); CREATE TEMPORARY TABLE band (id integer)",
    ),
    (
        Anyone,
        "CREATE POLICY extra ON band USING (id = 1); ALTER TABLE band ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    ),
    (
        Anyone,
        "CREATE RULE extra AS ON INSERT TO label DO INSTEAD NOTHING",
    ),
    (
        Anyone,
        "CREATE TRIGGER extra BEFORE UPDATE ON label FOR EACH ROW EXECUTE FUNCTION note()",
    ),
    (
        Superuser,
        "CREATE FUNCTION extra() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER extra ON ddl_command_end EXECUTE FUNCTION extra()",
    ),
    (
        Superuser,
        "CREATE FOREIGN DATA WRAPPER extra; CREATE SERVER extra FOREIGN DATA WRAPPER extra",
    ),
    // Changed objects.
    (
        Anyone,
        "ALTER TABLE band ADD COLUMN founded integer DEFAULT 1970",
    ),
    (Anyone, "ALTER TABLE band DROP COLUMN rating"),
    (
        Anyone,
        "ALTER TABLE label ADD COLUMN extra text; ALTER TABLE label DROP COLUMN extra",
    ),
    (Anyone, "ALTER TABLE label ALTER id TYPE integer"),
    (
        Anyone,
        "ALTER TABLE label ALTER id TYPE integer; ALTER TABLE label ALTER id TYPE bigint",
    ),
    (Anyone, "ALTER TABLE label RENAME TO extra"),
    (
        Anyone,
        "ALTER TABLE label RENAME TO extra; CREATE TABLE label (LIKE extra INCLUDING ALL)",
    ),
    (Anyone, "ALTER TABLE label SET (fillfactor = 50)"),
    (Anyone, "ALTER TABLE label SET UNLOGGED"),
    (Anyone, "ALTER TABLE band DISABLE TRIGGER note"),
    (
        Anyone,
        "ALTER TABLE member DROP CONSTRAINT member_band_fkey",
    ),
    (Anyone, "ALTER TABLE member CLUSTER ON member_pkey"),
    (Anyone, "ALTER TABLE band ALTER name SET STATISTICS 500"),
    (Anyone, "ALTER TABLE gig DETACH PARTITION gig_2025"),
    (Anyone, "ALTER TABLE band SET SCHEMA archive"),
    (Anyone, "ALTER TYPE genre ADD VALUE 'punk'"),
    (Anyone, "ALTER TYPE genre RENAME VALUE 'jazz' TO 'rock'"),
    (Anyone, "ALTER DOMAIN rating DROP CONSTRAINT rating_check"),
    (Anyone, "ALTER FUNCTION loud(text) STRICT"),
    (
        Anyone,
        "CREATE OR REPLACE FUNCTION loud(name text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(name)'",
    ),
    (
        Anyone,
        "CREATE OR REPLACE VIEW folk AS SELECT id, name FROM band WHERE genre = 'jazz'",
    ),
    (
        Anyone,
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    ),
    (Anyone, "COMMENT ON TABLE band IS 'changed'"),
    (Anyone, "COMMENT ON COLUMN band.name IS 'changed'"),
    (Anyone, "COMMENT ON FUNCTION loud(text) IS 'changed'"),
    (Anyone, "GRANT SELECT ON label TO PUBLIC"),
    (Anyone, "GRANT SELECT (name) ON label TO PUBLIC"),
    (Anyone, "REVOKE ALL ON band FROM PUBLIC"),
    (Anyone, "REVOKE EXECUTE ON FUNCTION loud(text) FROM PUBLIC"),
    (Anyone, "GRANT CREATE ON SCHEMA archive TO PUBLIC"),
    (
        Anyone,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''7MB''', current_database()); END $$",
    ),
    (
        Anyone,
        "DO $$ BEGIN EXECUTE format('ALTER ROLE %I IN DATABASE %I SET work_mem = ''8MB''', current_user, current_database()); END $$",
    ),
    (
        Anyone,
        "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC WITH GRANT OPTION', current_database()); END $$",
    ),
    (
        Anyone,
        "DO $$ BEGIN EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()); END $$",
    ),
    (
        Anyone,
        "DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS ''mine''', current_database()); END $$",
    ),
    (
        Anyone,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 50', current_database()); END $$",
    ),
    (
        Anyone,
        "REINDEX TABLE band; CLUSTER member USING member_pkey",
    ),
    (Superuser, "ALTER TABLE label OWNER TO lowly"),
    (
        Superuser,
        "GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO PUBLIC",
    ),
    (
        Superuser,
        "UPDATE pg_class SET relhasindex = true WHERE relname = 'label'",
    ),
    (
        Superuser,
        "UPDATE pg_proc SET prosrc = 'SELECT 8' WHERE proname = 'loud'",
    ),
    (
        Superuser,
        "UPDATE pg_description SET description = 'of the server' WHERE objoid = 'pg_class'::regclass AND objsubid = 0",
    ),
    // Dropped objects.
    (Anyone, "DROP TABLE member CASCADE"),
    (Anyone, "DROP VIEW folk"),
    (Anyone, "DROP INDEX member_name"),
    (
        Anyone,
        "DROP INDEX member_name; CREATE INDEX member_name ON member (upper(name))",
    ),
    (Anyone, "DROP TRIGGER note ON band"),
    (Anyone, "DROP SEQUENCE ticket"),
    (
        Anyone,
        "DROP SEQUENCE ticket; CREATE SEQUENCE ticket START 100 INCREMENT 10",
    ),
    (Anyone, "DROP STATISTICS member_pairs"),
    (Anyone, "DROP FUNCTION loud(text)"),
    (Anyone, "DROP SCHEMA archive CASCADE"),
    (Anyone, "DROP SCHEMA public CASCADE"),
    (Anyone, "DROP MATERIALIZED VIEW members"),
    (
        Anyone,
        "DROP TABLE seen; CREATE UNLOGGED TABLE seen (band integer PRIMARY KEY, times integer NOT NULL); INSERT INTO seen VALUES (1, 10), (2, 20)",
    ),
    // Statements that may hide changes.
    (
        Anyone,
        "INSERT INTO label VALUES (5, 'frozen'); VACUUM (FREEZE) label",
    ),
    (
        Anyone,
        "INSERT INTO label VALUES (6, 'rewritten'); VACUUM (FULL, FREEZE) label",
    ),
    (Anyone, "COMMENT ON TABLE band IS 'frozen'; VACUUM FREEZE"),
    (Anyone, "DELETE FROM member WHERE id = 60; VACUUM member"),
    (
        Anyone,
        "BEGIN; TRUNCATE label; INSERT INTO label VALUES (8, 'truncated'); COMMIT",
    ),
    (Anyone, "VACUUM"),
    (Anyone, "VACUUM FULL"),
    (Anyone, "ANALYZE"),
    (
        Superuser,
        "SET track_counts = off; INSERT INTO label VALUES (7, 'not counted'); COMMENT ON TABLE band IS 'not counted'",
    ),
    (
        Superuser,
        "SET track_counts = off; CREATE TABLE extra (id integer); SET track_counts = on",
    ),
    (
        Superuser,
        "INSERT INTO label VALUES (8, 'reset'); SELECT pg_stat_reset()",
    ),
    (
        Superuser,
        "INSERT INTO label VALUES (9, 'reset'); SELECT pg_stat_force_next_flush(); SELECT pg_stat_reset_single_table_counters('label'::regclass)",
    ),
    (
        Superuser,
        "DELETE FROM member WHERE id = 1; SELECT pg_stat_reset(); CHECKPOINT",
    ),
    (
        Superuser,
        "SET session_replication_role = replica; DELETE FROM band",
    ),
    (
        Superuser,
        "BEGIN; INSERT INTO label VALUES (10, 'prepared'); PREPARE TRANSACTION 'extra'",
    ),
    (
        Anyone,
        "BEGIN; INSERT INTO label VALUES (11, 'prepared'); PREPARE TRANSACTION 'more'; COMMIT PREPARED 'more'",
    ),
    // State of the session.
    (Anyone, "SET work_mem = '9MB'"),
    (
        Anyone,
        "SET search_path = archive; SET default_transaction_read_only = on",
    ),
    (
        Anyone,
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    ),
    (Superuser, "SET ROLE lowly"),
    (Superuser, "SET SESSION AUTHORIZATION lowly"),
    (Anyone, "PREPARE trace AS SELECT 1"),
    (Anyone, "DECLARE trace CURSOR WITH HOLD FOR SELECT 1"),
    (Anyone, "SELECT pg_advisory_lock(1234567)"),
    (Anyone, "SELECT pg_advisory_unlock_all()"),
    (Anyone, "LISTEN trace"),
    (Anyone, "BEGIN; INSERT INTO label VALUES (12, 'open')"),
    (Anyone, "BEGIN; SELECT broken"),
    (Anyone, "DISCARD ALL"),
];

const MARIADB: &[(By, &str)] = &[
    // Rows.
    (Anyone, "INSERT INTO label VALUES (1, 'one')"),
    (
        Anyone,
        "INSERT INTO label SELECT seq, 'many' FROM seq_100_to_3000",
    ),
    (Anyone, "INSERT INTO band (name) VALUES ('Gophers')"),
    (Anyone, "INSERT INTO stage (name) VALUES ('main')"),
    (Anyone, "INSERT INTO gig VALUES ('2024-06-01', 3)"),
    (Anyone, "UPDATE band SET name = UPPER(name) WHERE id = 1"),
    (Anyone, "UPDATE band SET name = name"),
    (Anyone, "UPDATE cover SET picture = REPEAT('another', 6000)"),
    (Anyone, "UPDATE price SET price = 11 WHERE band = 1"),
    (Anyone, "DELETE FROM member WHERE id % 4 = 0"),
    (Anyone, "DELETE FROM band"),
    (
        Anyone,
        "DELETE FROM member; INSERT INTO member (id, band, name) SELECT seq, 1, 'same count' FROM seq_1_to_9",
    ),
    (
        Anyone,
        "INSERT INTO stage (name) VALUES ('gone'); DELETE FROM stage",
    ),
    (
        Anyone,
        "BEGIN; INSERT INTO stage (name) VALUES ('rolled back'); ROLLBACK",
    ),
    (
        Anyone,
        "BEGIN; INSERT INTO label VALUES (2, 'rolled back'); ROLLBACK",
    ),
    (Anyone, "BEGIN; DELETE FROM band; ROLLBACK"),
    (Anyone, "TRUNCATE label"),
    (Anyone, "TRUNCATE member"),
    (Anyone, "SET foreign_key_checks = 0; TRUNCATE band"),
    (Anyone, "INSERT INTO old VALUES (2, 'two')"),
    (Anyone, "DELETE FROM old"),
    (Anyone, "REPLACE INTO old VALUES (1, 'uno')"),
    (
        Anyone,
        "UPDATE _sqlx_migrations SET description = 'another' WHERE version = 1",
    ),
    (Anyone, "DELETE FROM _sqlx_migrations WHERE version = 2"),
    (
        Anyone,
        "INSERT INTO label VALUES (3, 'three'); DELETE FROM label",
    ),
    // Counters of rows.
    (Anyone, "ALTER TABLE stage AUTO_INCREMENT = 500"),
    (
        Anyone,
        "INSERT INTO band (id, name) VALUES (900, 'far'); DELETE FROM band WHERE id = 900",
    ),
    (
        Anyone,
        "INSERT IGNORE INTO band (name) VALUES ('Rustaceans')",
    ),
    // New objects.
    (Anyone, "CREATE TABLE extra (id INTEGER)"),
    (Anyone, "CREATE TABLE extra AS SELECT * FROM band"),
    (Anyone, "CREATE TABLE extra (id INTEGER); DROP TABLE extra"),
    (
        Anyone,
        "CREATE TABLE extra (id INTEGER) ENGINE = MEMORY; INSERT INTO extra VALUES (1)",
    ),
    (
        Anyone,
        "CREATE TABLE extra (band INTEGER, FOREIGN KEY (band) REFERENCES band (id)); INSERT INTO extra VALUES (1)",
    ),
    (Anyone, "CREATE VIEW extra AS SELECT * FROM band"),
    (Anyone, "CREATE SEQUENCE extra; SELECT NEXTVAL(extra)"),
    (
        Anyone,
        "CREATE FUNCTION extra() RETURNS INT DETERMINISTIC RETURN 7",
    ),
    (Anyone, "CREATE PROCEDURE extra() SELECT 7"),
    (
        Anyone,
        "CREATE TRIGGER extra BEFORE INSERT ON label FOR EACH ROW SET NEW.name = 'extra'",
    ),
    (
        Anyone,
        "CREATE EVENT extra ON SCHEDULE EVERY 1 HOUR DO DELETE FROM band",
    ),
    (Anyone, "CREATE INDEX extra ON band (genre)"),
    (Anyone, "CREATE TEMPORARY TABLE trace_table (id INTEGER)"),
    (Anyone, "CREATE TEMPORARY TABLE band (id INTEGER)"),
    // Changed objects.
    (
        Anyone,
        "ALTER TABLE band ADD COLUMN founded INTEGER DEFAULT 1970",
    ),
    (Anyone, "ALTER TABLE band DROP COLUMN rating"),
    (
        Anyone,
        "ALTER TABLE label ADD COLUMN extra TEXT, ALGORITHM = INSTANT",
    ),
    (Anyone, "ALTER TABLE label MODIFY id INTEGER"),
    (Anyone, "ALTER TABLE label COMMENT 'changed'"),
    (Anyone, "ALTER TABLE label ENGINE = MyISAM"),
    (Anyone, "ALTER TABLE label ROW_FORMAT = COMPRESSED"),
    (Anyone, "ALTER TABLE label CONVERT TO CHARACTER SET latin1"),
    (Anyone, "ALTER TABLE member DROP FOREIGN KEY member_ibfk_1"),
    (
        Anyone,
        "ALTER TABLE gig ADD PARTITION (PARTITION p2026 VALUES LESS THAN (2027))",
    ),
    (Anyone, "ALTER TABLE gig TRUNCATE PARTITION p2024"),
    (Anyone, "ALTER TABLE label ADD SYSTEM VERSIONING"),
    (Anyone, "RENAME TABLE label TO extra"),
    (
        Anyone,
        "RENAME TABLE label TO extra; CREATE TABLE label LIKE extra",
    ),
    (
        Anyone,
        "CREATE OR REPLACE TABLE label (id BIGINT PRIMARY KEY, name TEXT)",
    ),
    (Anyone, "ALTER DATABASE CHARACTER SET latin1"),
    (Anyone, "ALTER DATABASE COMMENT 'changed'"),
    (Anyone, "OPTIMIZE TABLE label"),
    (Anyone, "ANALYZE TABLE band, label"),
    // Dropped objects.
    (Anyone, "DROP TABLE label"),
    (Anyone, "DROP TABLE member"),
    (Anyone, "DROP INDEX member_name ON member"),
    (
        Anyone,
        "DROP TABLE label; CREATE TABLE label (id BIGINT PRIMARY KEY, name TEXT)",
    ),
    // Statements that may hide changes.
    (
        Superuser,
        "INSERT INTO label VALUES (5, 'flushed'); FLUSH TABLES; FLUSH STATUS",
    ),
    (
        Superuser,
        "INSERT INTO label VALUES (6, 'not logged'); TRUNCATE performance_schema.table_io_waits_summary_by_table",
    ),
    (
        Superuser,
        "SET sql_log_bin = 0; INSERT INTO label VALUES (7, 'not logged')",
    ),
    (
        Anyone,
        "LOCK TABLES label WRITE; INSERT INTO label VALUES (8, 'locked')",
    ),
    (Anyone, "SET foreign_key_checks = 0; DELETE FROM band"),
    (
        Anyone,
        "SET unique_checks = 0; INSERT INTO label VALUES (9, 'unchecked')",
    ),
    (Superuser, "GRANT SELECT ON label TO lowly@'%'"),
    // State of the session.
    (Anyone, "SET @trace = 7"),
    (
        Anyone,
        "SET time_zone = '+07:00', sql_mode = '', sql_select_limit = 1000",
    ),
    (
        Anyone,
        "SET autocommit = 0; INSERT INTO label VALUES (11, 'open')",
    ),
    (Anyone, "SET SESSION TRANSACTION READ ONLY"),
    (Anyone, "SELECT GET_LOCK('trace', 1)"),
    (Anyone, "SELECT RELEASE_ALL_LOCKS()"),
    (Anyone, "PREPARE trace FROM 'SELECT 1'"),
    (Anyone, "BEGIN; INSERT INTO label VALUES (12, 'open')"),
    (Anyone, "USE information_schema"),
    (Anyone, "SET NAMES latin1"),
];

const SQLITE: &[(By, &str)] = &[
    (Anyone, "INSERT INTO label VALUES (1, 'one')"),
    (Anyone, "INSERT INTO band (name) VALUES ('Gophers')"),
    (Anyone, "UPDATE band SET name = upper(name)"),
    (Anyone, "DELETE FROM band"),
    (
        Anyone,
        "BEGIN; INSERT INTO band (name) VALUES ('rolled back'); ROLLBACK",
    ),
    (Anyone, "INSERT INTO song VALUES ('another')"),
    (Anyone, "DELETE FROM _sqlx_migrations WHERE version = 2"),
    (Anyone, "CREATE TABLE extra (id INTEGER)"),
    (Anyone, "ALTER TABLE band ADD COLUMN founded INTEGER"),
    (Anyone, "ALTER TABLE label RENAME TO extra"),
    (Anyone, "DROP TABLE member"),
    (Anyone, "DROP VIEW folk"),
    (Anyone, "DROP TRIGGER note"),
    (Anyone, "CREATE TEMPORARY TABLE extra (id INTEGER)"),
    (Anyone, "ATTACH ':memory:' AS extra"),
    (Anyone, "PRAGMA user_version = 99"),
    (Anyone, "PRAGMA application_id = 99"),
    (Anyone, "PRAGMA foreign_keys = off; DELETE FROM band"),
    (Anyone, "PRAGMA journal_mode = delete"),
    (Anyone, "PRAGMA query_only = on"),
    (
        Anyone,
        "PRAGMA writable_schema = on; UPDATE sqlite_schema SET sql = replace(sql, 'folk', 'jazz') WHERE name = 'folk'",
    ),
    (Anyone, "VACUUM"),
    (Anyone, "PRAGMA wal_checkpoint(TRUNCATE)"),
    (Anyone, "BEGIN; INSERT INTO label VALUES (2, 'open')"),
];
