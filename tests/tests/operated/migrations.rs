//! `POOLHOUSE_RUN=migrate` and `info`, on every database.

use poolhouse_tests::{Kind, program::Signal, servers};

use super::{check::BANDS, golden::Run};

const ALBUMS: &str = "CREATE TABLE album (id INTEGER PRIMARY KEY)";

/// The location of a database: on a server or in a file.
enum On {
    Server(poolhouse_tests::TestDatabase),
    File(tempfile::TempDir),
}

impl On {
    async fn each(hint: &str) -> anyhow::Result<Vec<(&'static str, Self)>> {
        let mut all = vec![("sqlite", Self::File(tempfile::tempdir()?))];
        for (name, kind) in [("postgres", Kind::Postgres), ("mariadb", Kind::MariaDb)] {
            if let Some(server) = servers::require(kind) {
                all.push((name, Self::Server(server.database(hint).await?)));
            }
        }
        Ok(all)
    }

    /// A run of the program with these migrations.
    fn run(&self, command: &str, files: &[(&str, &str)]) -> anyhow::Result<Run> {
        let mut run = match self {
            Self::Server(database) => Run::new(command)?.on(database)?,
            Self::File(folder) => {
                let folder = folder.path().display().to_string();
                let url = format!("sqlite:{folder}/bands.db?mode=rwc");
                Run::new(command)?
                    .variable("DATABASE_URL", &url)
                    .mask(folder, "ELSEWHERE")
            }
        };
        run = run.variable("POOLHOUSE_MIGRATIONS", "migrations");
        for (name, sql) in files {
            run = run.file(&format!("migrations/{name}"), sql)?;
        }
        Ok(run)
    }
}

const BOTH: [(&str, &str); 2] = [("1_bands.sql", BANDS), ("2_more_albums.sql", ALBUMS)];

#[tokio::test]
async fn pending_ones_are_listed_run_and_listed_again() -> anyhow::Result<()> {
    for (name, on) in On::each("pending").await? {
        let golden = |step: &str| format!("{step}_{name}");
        on.run("info", &BOTH)?.golden(&golden("pending"), 0).await?;
        on.run("check", &BOTH)?
            .golden(&golden("check_pending"), 0)
            .await?;
        on.run("migrate", &BOTH)?
            .golden(&golden("migrate"), 0)
            .await?;
        on.run("migrate", &BOTH)?
            .golden(&golden("migrated"), 0)
            .await?;
        on.run("info", &BOTH)?.golden(&golden("applied"), 0).await?;
        // The program itself finds no pending migration, and runs its body.
        let run = on
            .run("", &BOTH)?
            .variable("POOLHOUSE_MIGRATIONS", "migrations");
        assert!(
            run.run(0)
                .await
                .is_err_and(|error| error.to_string().contains("the body runs"))
        );
    }
    Ok(())
}

#[tokio::test]
async fn one_that_fails_is_named_and_those_before_it_stay() -> anyhow::Result<()> {
    let sql = "CREATE TABLE album (id INTEGER);\nCREATE NONSENSE;\n";
    let broken = [("1_bands.sql", BANDS), ("2_broken.sql", sql)];
    for (name, on) in On::each("broken").await? {
        let run = on.run("migrate", &broken)?;
        run.golden(&format!("migrate_fails_{name}"), 1).await?;
        // MariaDB cannot roll back a migration, so the failure is noted.
        let code = i32::from(name == "mariadb");
        on.run("info", &broken)?
            .golden(&format!("after_a_failure_{name}"), code)
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_changed_one_and_one_that_the_program_does_not_have() -> anyhow::Result<()> {
    for (name, on) in On::each("changed").await? {
        on.run("migrate", &BOTH)?.run(0).await?;
        let changed = [("1_bands.sql", "CREATE TABLE band (id BIGINT)")];
        on.run("info", &changed)?
            .golden(&format!("changed_{name}"), 1)
            .await?;
        on.run("check", &changed)?.run(1).await?;
        on.run("migrate", &changed)?.run(1).await?;
    }
    Ok(())
}

#[tokio::test]
async fn sqlx_toml_names_the_table() -> anyhow::Result<()> {
    for (name, on) in On::each("table").await? {
        let toml = "[migrate]\ntable-name = \"noted_migrations\"\n";
        let run = on.run("migrate", &BOTH)?.file("sqlx.toml", toml)?;
        run.golden(&format!("table_{name}"), 0).await?;
        // Without the file, the table is another one.
        on.run("info", &BOTH)?
            .golden(&format!("pending_{name}"), 0)
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_program_without_migrations() -> anyhow::Result<()> {
    for command in ["migrate", "info"] {
        let run = Run::new(command)?.variable("DATABASE_URL", "sqlite::memory:");
        run.golden("no_migrations", 0).await?;
    }
    Ok(())
}

#[tokio::test]
async fn for_machines() -> anyhow::Result<()> {
    for (_, on) in On::each("machines").await? {
        let run = on
            .run("migrate", &BOTH)?
            .variable("POOLHOUSE_OUTPUT", "json");
        let ended = run.run(0).await?;
        let answer: serde_json::Value = serde_json::from_str(&ended.output)?;
        let migrations = &answer["engines"][0]["migrations"];
        assert_eq!(migrations["table"], "_sqlx_migrations");
        assert_eq!(migrations["list"][1]["version"], 2);
        assert_eq!(migrations["list"][1]["state"], "applied");
        assert!(migrations["list"][1]["took_ms"].is_u64(), "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn a_signal_ends_a_running_migration_and_its_session() -> anyhow::Result<()> {
    for (name, on) in On::each("signalled").await? {
        let On::Server(database) = &on else { continue };
        let sleep = match name {
            "postgres" => "SELECT pg_sleep(3600)",
            _ => "DO SLEEP(3600)",
        };
        if name == "postgres" {
            // The server must not find out by itself that the client is gone: the program ends the session.
            let role = database.name();
            let rarely = format!(
                "DO $$ BEGIN IF current_setting('client_connection_check_interval', true) IS NOT NULL THEN \
                 ALTER ROLE {role} SET client_connection_check_interval = '1h'; END IF; END $$"
            );
            database.server().ask(&[rarely]).await?;
        }
        let slow = [("1_bands.sql", BANDS), ("2_slow.sql", sleep)];
        let program = on.run("migrate", &slow)?.start()?;
        database
            .sessions_become("the migration runs", |sessions| {
                let mut running = sessions.iter().filter(|session| session.state == "active");
                running.any(|session| session.statement.contains(sleep))
            })
            .await?;
        program.signal(Signal::SIGTERM)?;
        let ended = program.end().await?;
        let said = ended.everything();
        assert_eq!(ended.code(), Some(143), "{said}");
        assert!(said.contains("signal 15 ended the command"), "{said}");
        database.no_session_left().await?;
        let ended = (database.ended_uncleanly().await?, database.killed().await?);
        assert_eq!(ended, (0, 1), "{said}");
        // The lock is free, and the migration was rolled back.
        on.run("migrate", &BOTH)?.run(0).await?;
    }
    Ok(())
}
