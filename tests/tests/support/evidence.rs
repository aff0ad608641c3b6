//! The server's counts change with the events that they count.

use poolhouse_tests::{Kind, TestDatabase, eventually, servers};
use sqlx::{AnyConnection, Connection, Executor, any::install_default_drivers};

async fn connect(database: &TestDatabase) -> anyhow::Result<AnyConnection> {
    install_default_drivers();
    Ok(AnyConnection::connect(database.url()).await?)
}

/// The counts of sessions that ended uncleanly and that were killed, once no session is left.
async fn ended(database: &TestDatabase) -> anyhow::Result<(u64, u64)> {
    database.no_session_left().await?;
    Ok((database.ended_uncleanly().await?, database.killed().await?))
}

#[tokio::test]
async fn an_orderly_end_leaves_nothing() -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let Some(server) = servers::require(kind) else {
            continue;
        };
        let database = server.database("orderly").await?;
        let connection = connect(&database).await?;
        assert_eq!(database.sessions().await?.len(), 1, "{kind}");
        connection.close().await?;
        assert_eq!(ended(&database).await?, (0, 0), "{kind}");
    }
    Ok(())
}

#[tokio::test]
async fn a_dropped_socket_is_an_unclean_end() -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let Some(server) = servers::require(kind) else {
            continue;
        };
        let database = server.database("dropped").await?;
        let other = server.database("bystander").await?;
        drop((connect(&database).await?, connect(&database).await?));
        connect(&other).await?.close().await?;
        assert_eq!(ended(&database).await?, (2, 0), "{kind}");
        assert_eq!(
            ended(&other).await?,
            (0, 0),
            "{kind}: a test sees its own sessions only"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_session_that_the_server_ends_is_counted_as_killed() -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let Some(server) = servers::require(kind) else {
            continue;
        };
        let database = server.database("killed").await?;
        let connection = connect(&database).await?;
        let id = database.sessions().await?[0].id;
        let statement = match kind {
            Kind::Postgres => format!("SELECT pg_terminate_backend({id})"),
            Kind::MariaDb => format!("KILL CONNECTION {id}"),
        };
        server.ask(&[statement]).await?;
        assert_eq!(ended(&database).await?, (0, 1), "{kind}");
        drop(connection);
    }
    Ok(())
}

#[tokio::test]
async fn a_transaction_is_seen_from_its_first_statement_to_its_last() -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let Some(server) = servers::require(kind) else {
            continue;
        };
        let database = server.database("transaction").await?;
        let mut connection = connect(&database).await?;
        assert_eq!(database.idle_in_transaction().await?, 0, "{kind}");
        connection.execute("BEGIN").await?;
        // The answer is sent a moment before the session counts as idle.
        eventually("the open transaction is seen", async || {
            anyhow::ensure!(database.idle_in_transaction().await? == 1, "{kind}");
            Ok(())
        })
        .await?;
        connection.execute("ROLLBACK").await?;
        assert_eq!(database.idle_in_transaction().await?, 0, "{kind}");
        connection.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_database_goes_with_its_user_and_sessions() -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let Some(server) = servers::require(kind) else {
            continue;
        };
        let database = server.database("gone").await?;
        let (name, further) = (
            database.name().to_owned(),
            format!("{}_further", database.name()),
        );
        let mut connection = connect(&database).await?;
        for statement in [
            &format!("CREATE DATABASE {further}"),
            "CREATE TABLE band (id INT)",
            "BEGIN",
        ] {
            connection
                .execute(sqlx::AssertSqlSafe(statement.to_owned()))
                .await?;
        }
        connection.execute("INSERT INTO band VALUES (1)").await?;
        drop(database);

        let (databases, users) = match kind {
            Kind::Postgres => (
                "SELECT datname FROM pg_database",
                "SELECT rolname FROM pg_roles",
            ),
            Kind::MariaDb => ("SHOW DATABASES", "SELECT user FROM mysql.user"),
        };
        for list in [databases, users] {
            let names = server.ask(&[list.to_owned()]).await?;
            let left: Vec<_> = names
                .into_iter()
                .flatten()
                .flatten()
                .filter(|row| row.starts_with(&name))
                .collect();
            assert!(left.is_empty(), "{kind}: {left:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_state_that_does_not_come_is_an_error_that_says_what_there_is() {
    let waiting = tokio::spawn(async {
        tokio::time::pause();
        eventually("pigs fly", async || {
            anyhow::bail!("they walk") as anyhow::Result<()>
        })
        .await
    });
    let error = waiting
        .await
        .expect("no panic")
        .expect_err("pigs do not fly");
    let said = format!("{error:#}");
    assert!(
        said.contains("pigs fly") && said.contains("they walk"),
        "{said}"
    );
}
