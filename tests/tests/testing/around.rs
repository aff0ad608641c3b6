//! Settings of the database and rights on it, which migrations or fixtures write, are those of each test.

use poolhouse::{PgEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer};

use crate::minimal::started;
use crate::restarts::{passes, run_of};

/// A query for the settings and rights.
const AROUND: &str = "
    SELECT CASE WHEN setrole = 0 THEN 'of all: ' ELSE 'of the role: ' END || setting
        FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(setconfig) AS setting
        WHERE datname = current_database()
    UNION ALL SELECT 'in effect: ' || current_setting('search_path') || ' ' || current_setting('work_mem')
    UNION ALL SELECT CASE WHEN grantee = 0 THEN 'of all: ' ELSE pg_get_userbyid(grantee) || ': ' END
        || privilege_type || CASE WHEN is_grantable THEN ' and to grant it' ELSE '' END
        FROM pg_database, aclexplode(datacl) WHERE datname = current_database() AND grantee <> datdba
    UNION ALL SELECT 'of the owner: ' || count(*)
        FROM pg_database, aclexplode(datacl) WHERE datname = current_database() AND grantee = datdba";

const EXPECTED: [&str; 9] = [
    r#"in effect: tours, "$user", public, "it's, here" 7MB"#,
    "of all: CONNECT",
    "of all: TimeZone=Europe/Oslo",
    r#"of all: application_name=it's = "7", \ and more"#,
    r#"of all: search_path=tours, "$user", public, "it's, here""#,
    "of the owner: 3",
    r#"of the role: temp_tablespaces="""#,
    "of the role: work_mem=7168kB",
    "pg_monitor: CREATE and to grant it",
];

async fn has_all(db: &PgEngine) {
    let mut found: Vec<String> = sqlx::query_scalar(AROUND).fetch_all(db).await.unwrap();
    // The order of the server depends on its locale.
    found.sort();
    assert_eq!(found, EXPECTED);
    sqlx::query("INSERT INTO band (id, name) VALUES (1, 'Pythonistas')")
        .execute(db)
        .await
        .unwrap();
}

/// A test that finds all settings and rights, and leaves the effects of this statement.
macro_rules! leaves {
    ($($name:ident: $sql:expr;)*) => {$(
        #[with_pool(env = "POOLHOUSE_TESTING_POSTGRES_URL", fixtures("around"))]
        #[tokio::test]
        async fn $name(db: PgEngine) {
            has_all(&db).await;
            sqlx::query($sql).execute(&db).await.unwrap();
        }
    )*};
}

mod changed {
    use super::*;

    leaves! {
        a_setting: "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET application_name = ''8''', current_database()); END $$";
        no_settings: "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET ALL', current_database()); END $$";
        one_more: "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''8MB''', current_database()); END $$";
        a_right: "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$";
        nothing: "SELECT 1";
    }
}

mod same {
    use super::*;

    leaves! {
        one: "SELECT 1";
        two: "SELECT 1";
        three: "SELECT 1";
        four: "SELECT 1";
        five: "SELECT 1";
        six: "SELECT 1";
    }
}

#[tokio::test]
async fn a_database_with_settings_and_rights_is_used_again() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(builder.setting("log_statement", "ddl")).await;
    passes(&run_of(&server, "around::changed::", 1).output().unwrap());
    let copies = || {
        let log = server.log().unwrap();
        let copies = log.lines_with(&["CREATE DATABASE", "TEMPLATE"]).unwrap();
        copies.len()
    };
    let before = copies();
    passes(&run_of(&server, "around::same::", 1).output().unwrap());
    // Six tests one after the other share one database; the others are made in advance.
    let made = copies() - before;
    assert!(made <= 4, "{made} copies for six tests");
}
