//! Tests of `POOLHOUSE_RUN=check`.

use poolhouse_tests::{Kind, PgBouncer, Server, TestDatabase, pgbouncer::Mode, servers};
use sqlx::{Connection, Executor, PgConnection};

use super::golden::Run;

pub(super) const BANDS: &str = "CREATE TABLE band (id INTEGER PRIMARY KEY)";

async fn postgres(hint: &str) -> anyhow::Result<Option<TestDatabase>> {
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(None);
    };
    Ok(Some(server.database(hint).await?))
}

/// Runs statements as the superuser, in this database.
async fn as_superuser(database: &TestDatabase, statements: &[String]) -> anyhow::Result<()> {
    let mut url: url::Url = database.server().url.parse()?;
    url.set_path(database.name());
    let mut connection = PgConnection::connect(url.as_str()).await?;
    for statement in statements {
        connection
            .execute(sqlx::AssertSqlSafe(statement.clone()))
            .await?;
    }
    Ok(connection.close().await?)
}

#[tokio::test]
async fn nothing_is_wrong() -> anyhow::Result<()> {
    let Some(database) = postgres("good").await? else {
        return Ok(());
    };
    Run::new("check")?.on(&database)?.golden("good", 0).await?;
    database.no_session_left().await?;
    assert_eq!(database.ended_uncleanly().await?, 0);
    Ok(())
}

#[tokio::test]
async fn nothing_is_wrong_on_mariadb() -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::MariaDb) else {
        return Ok(());
    };
    let database = server.database("good").await?;
    let run = Run::new("check")?.on(&database)?;
    let run = run.variable("POOLHOUSE_MIGRATIONS", "migrations");
    let run = run.file("migrations/1_bands.sql", BANDS)?;
    run.golden("good_on_mariadb", 0).await?;
    database.no_session_left().await
}

#[tokio::test]
async fn the_password_is_wrong() -> anyhow::Result<()> {
    let Some(database) = postgres("wrong").await? else {
        return Ok(());
    };
    let url = database.url().replace(database.password(), "hunter2");
    let run = Run::new("check")?.on(&database)?.secret("hunter2");
    let run = run.variable("DATABASE_URL", &url);
    run.golden("wrong_password", 1).await
}

#[tokio::test]
async fn the_database_does_not_exist() -> anyhow::Result<()> {
    let Some(database) = postgres("unknown").await? else {
        return Ok(());
    };
    let run = Run::new("check")?.on(&database)?;
    let run = run.variable("DATABASE_URL", &format!("{}x", database.url()));
    run.golden("unknown_database", 1).await
}

#[tokio::test]
async fn nobody_listens() -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    drop(listener);
    let url = format!("postgres://app:hunter2@{address}/bands");
    let run = Run::new("check")?.variable("DATABASE_URL", &url);
    let run = run.secret("hunter2").mask(address, "HOST");
    run.golden("refused", 1).await
}

#[tokio::test]
async fn a_pooler_is_not_declared() -> anyhow::Result<()> {
    let Some(database) = postgres("pooler").await? else {
        return Ok(());
    };
    let pooler = PgBouncer::start(&database, Mode::Transaction, &[]).await?;
    let run = Run::new("check")?.on(&database)?;
    let run = run.variable("DATABASE_URL", pooler.url());
    let run = run.mask(pooler.address().to_string(), "POOLER");
    run.golden("pooler_not_declared", 1).await
}

#[tokio::test]
async fn a_pooler_is_declared() -> anyhow::Result<()> {
    let Some(database) = postgres("declared").await? else {
        return Ok(());
    };
    let pooler = PgBouncer::start(&database, Mode::Transaction, &[]).await?;
    let run = Run::new("check")?.on(&database)?;
    let run = run.variable("DATABASE_URL", pooler.url());
    let run = run.variable("POOLHOUSE_POOLER", "pgbouncer");
    let run = run.variable("POOLHOUSE_DIRECT_URL", database.url());
    let run = run.variable("POOLHOUSE_MIGRATIONS", "migrations");
    let run = run.file("migrations/1_bands.sql", BANDS)?;
    let run = run.mask(pooler.address().to_string(), "POOLER");
    run.golden("pooler_declared", 0).await
}

async fn limit(server: &Server, database: &TestDatabase, limit: u32) -> anyhow::Result<()> {
    let statement = format!("ALTER ROLE {} CONNECTION LIMIT {limit}", database.name());
    server.ask(&[statement]).await.map(drop)
}

#[tokio::test]
async fn max_size_is_larger_than_the_server_allows() -> anyhow::Result<()> {
    let Some(database) = postgres("large").await? else {
        return Ok(());
    };
    limit(database.server(), &database, 5).await?;
    let run = Run::new("check")?.on(&database)?;
    run.golden("max_size_too_large", 1).await
}

#[tokio::test]
async fn there_is_no_room_for_another_instance() -> anyhow::Result<()> {
    let Some(database) = postgres("crowded").await? else {
        return Ok(());
    };
    limit(database.server(), &database, 25).await?;
    let url = format!("{}?application_name=poolhouse-tests", database.url());
    let mut there = Vec::new();
    for _ in 0..12 {
        there.push(PgConnection::connect(&url).await?);
    }
    Run::new("check")?
        .on(&database)?
        .golden("crowded", 0)
        .await?;
    for connection in there {
        connection.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_right_for_migrations_is_missing() -> anyhow::Result<()> {
    let Some(database) = postgres("right").await? else {
        return Ok(());
    };
    let name = database.name();
    let statements = [
        "CREATE SCHEMA locked".to_owned(),
        format!("GRANT USAGE ON SCHEMA locked TO {name}"),
        format!("ALTER ROLE {name} SET search_path = locked"),
    ];
    as_superuser(&database, &statements).await?;
    let run = Run::new("check")?.on(&database)?;
    let run = run.variable("POOLHOUSE_MIGRATIONS", "migrations");
    let run = run.file("migrations/1_bands.sql", BANDS)?;
    run.golden("missing_right", 1).await
}

#[tokio::test]
async fn migrations_are_recorded_in_another_schema() -> anyhow::Result<()> {
    let Some(database) = postgres("schema").await? else {
        return Ok(());
    };
    let name = database.name();
    let statements = [
        "ALTER SCHEMA public OWNER TO CURRENT_USER".to_owned(),
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC".to_owned(),
        format!("CREATE SCHEMA app AUTHORIZATION {name}"),
        "CREATE SCHEMA locked".to_owned(),
        format!("GRANT USAGE ON SCHEMA locked TO {name}"),
    ];
    as_superuser(&database, &statements).await?;
    let check = async |schema: &str, code| -> anyhow::Result<String> {
        let toml = format!("[migrate]\ntable-name = \"{schema}._sqlx_migrations\"\n");
        let run = Run::new("check")?.on(&database)?;
        let run = run.variable("POOLHOUSE_MIGRATIONS", "migrations");
        let run = run.file("sqlx.toml", &toml)?;
        let run = run.file(
            "migrations/1_bands.sql",
            "CREATE TABLE app.band (id INTEGER)",
        )?;
        Ok(run.run(code).await?.output)
    };
    check("app", 0).await?;
    for (schema, words) in [
        ("locked", "the right CREATE on the schema locked is missing"),
        ("absent", "the schema absent does not exist"),
    ] {
        let said = check(schema, 1).await?;
        assert!(said.contains(words), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_session_statement_is_no_pooler() -> anyhow::Result<()> {
    let Some(database) = postgres("encoding").await? else {
        return Ok(());
    };
    let run = Run::new("check")?.on(&database)?;
    let run = run.variable("POOLHOUSE_SESSION", "SET client_encoding = 'UTF8'");
    let said = run.run(0).await?.output;
    assert!(!said.contains("a pooler seems"), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_server_ends_sessions_sooner() -> anyhow::Result<()> {
    let Some(database) = postgres("sooner").await? else {
        return Ok(());
    };
    let name = database.name();
    let statements = [
        format!("ALTER ROLE {name} SET idle_session_timeout = '1min'"),
        format!("ALTER ROLE {name} SET idle_in_transaction_session_timeout = '30s'"),
    ];
    database.server().ask(&statements).await?;
    let run = Run::new("check")?.on(&database)?;
    let run = run.variable("POOLHOUSE_LEAK_AFTER", "1m");
    run.golden("timeouts", 0).await
}

#[tokio::test]
async fn mariadb_ends_sessions_sooner() -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::MariaDb) else {
        return Ok(());
    };
    let database = server.database("sooner").await?;
    let run = Run::new("check")?.on(&database)?;
    let run = run.variable("POOLHOUSE_SESSION", "SET SESSION wait_timeout = 60");
    run.golden("timeouts_on_mariadb", 0).await
}

#[tokio::test]
async fn several_engines() -> anyhow::Result<()> {
    let Some(database) = postgres("several").await? else {
        return Ok(());
    };
    let run = Run::new("check")?.on(&database)?;
    let run = run.variable("MAIN", "several");
    let run = run.variable("REPORTS_DATABASE_URL", "sqlite:reports.db");
    let run = run.variable("POOLHOUSE_REPORTS_MAX_SIZE", "3");
    run.golden("several_engines", 1).await
}

#[tokio::test]
async fn nodes() -> anyhow::Result<()> {
    let Some(database) = postgres("nodes").await? else {
        return Ok(());
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    drop(listener);
    let run = Run::new("check")?.on(&database)?.secret("hunter2");
    let run = run.variable("POOLHOUSE_NODES_FIRST_URL", database.url());
    let run = run.mask(address.clone(), "NOBODY");
    let url = format!("postgres://app:hunter2@{address}/bands");
    let run = run.variable("POOLHOUSE_NODES_SECOND_URL", &url);
    run.golden("nodes", 0).await
}

#[tokio::test]
async fn a_file_that_is_only_read() -> anyhow::Result<()> {
    let run = Run::new("migrate")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bands.db").display().to_string();
    let run = run.variable("DATABASE_URL", &format!("sqlite:{file}?mode=rwc"));
    let run = run.variable("POOLHOUSE_MIGRATIONS", "migrations");
    run.file("migrations/1_bands.sql", BANDS)?.run(0).await?;

    let run = Run::new("check")?.mask(folder.path().display().to_string(), "ELSEWHERE");
    let run = run.variable("DATABASE_URL", &format!("sqlite:{file}?mode=ro"));
    let run = run.variable("POOLHOUSE_MIGRATIONS", "migrations");
    let run = run.file("migrations/1_bands.sql", BANDS)?;
    let run = run.file("migrations/2_albums.sql", "CREATE TABLE album (id INTEGER)")?;
    run.golden("sqlite_read_only", 1).await
}

#[tokio::test]
async fn on_a_pool_of_sqlx_inside_a_runtime_and_with_nothing_to_return() -> anyhow::Result<()> {
    let Some(database) = postgres("mains").await? else {
        return Ok(());
    };
    for main in ["sqlx", "tokio", "exit_code"] {
        let run = Run::new("check")?.on(&database)?;
        run.variable("MAIN", main).golden("good", 0).await?;
    }
    database.no_session_left().await
}

#[tokio::test]
async fn for_machines() -> anyhow::Result<()> {
    let Some(database) = postgres("json").await? else {
        return Ok(());
    };
    limit(database.server(), &database, 5).await?;
    let json = |run: Run| run.variable("POOLHOUSE_OUTPUT", "json");
    let run = Run::new("check")?.on(&database)?;
    json(run).golden("max_size_too_large_json", 1).await?;
    let run = Run::new("check")?.on(&database)?;
    let ended = json(run).run(1).await?;
    let answer: serde_json::Value = serde_json::from_str(&ended.output)?;
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["engines"][0]["findings"][0]["level"], "problem");
    Ok(())
}
