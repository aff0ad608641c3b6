//! URLs have the same meaning as in sqlx.

use anyhow::{Context, ensure};
use poolhouse::{AnyEngine, Backend, Engine, Settings, engine_finder_with};
use poolhouse_tests::{CaseDatabase, Kind, Sql, Subject, subject::Own};
use sqlx::{ConnectOptions, Connection, MySql, Postgres, Sqlite};

use super::{settings, started};
use crate::table::case_databases;

case_databases! {
    a_statement_cache_in_the_url_counts: statement_cache, on (postgres);
    any_engine_takes_on_the_settings_of_a_server: any, on (postgres);
    a_socket_folder_and_a_port_are_parameters: socket, on (postgres);
    a_port_among_the_parameters_is_none_of_mysqls: port, on (mariadb);
}

/// Compares the connect options of poolhouse and of sqlx for a URL.
fn compare<DB: Backend>(url: &str) -> anyhow::Result<()> {
    type OptionsOf<DB> = <<DB as sqlx::Database>::Connection as Connection>::Options;
    let theirs = url.parse::<OptionsOf<DB>>();
    let ours = engine_finder_with::<DB>(&Settings::new().engine("urls").url(url));
    match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => {
            let (theirs, ours) = (theirs.to_url_lossy(), ours.connect_options().to_url_lossy());
            ensure!(
                theirs == ours,
                "{url}:\nsqlx      {theirs}\npoolhouse {ours}"
            );
            Ok(())
        }
        (Err(_), Err(_)) => Ok(()),
        (theirs, ours) => anyhow::bail!(
            "{url}: sqlx {:?}, poolhouse {:?}",
            theirs.map(|_| "takes it"),
            ours.map(|_| "takes it")
        ),
    }
}

#[tokio::test]
async fn urls_of_postgres() -> anyhow::Result<()> {
    for url in [
        "postgres://",
        "postgres:///",
        "postgres:///db",
        "postgres://h",
        "postgres://h:5433",
        "postgres://h:/db",
        "postgres://h:99999/db",
        "postgres://h:x/db",
        "postgresql://u@h/db",
        "postgres://u:p@h:5433/db",
        "postgres://u%40x:p%2F%3A%40%3F%23@h/d%20b",
        "postgres://:p@h/db",
        "postgres://u:@h/db",
        "postgres://[::1]:5433/db",
        "postgres://[::1]/db?port=5433",
        "postgres://%2Frun%2Fpostgresql/db",
        "postgres://%2Frun%2Fpostgresql:5433/db",
        "postgres:///db?host=/run/postgresql",
        "postgres:///db?host=/run/postgresql&port=5433",
        "postgres:///db?host=%2Frun%2Fpostgresql&port=5433&user=me",
        "postgres://h/db?host=other",
        "postgres://h:1/db?port=2",
        "postgres://h/db?port=2&port=3",
        "postgres://h/db?port=",
        "postgres://h/db?port=x",
        "postgres://h/db?h%6Fst=other&%70ort=7",
        "postgres://h/db?hostaddr=127.0.0.1",
        "postgres://h/db?hostaddr=nowhere",
        "postgres://h/db?dbname=other&user=u&password=p%26q",
        "postgres://h/db?sslmode=require",
        "postgres://h/db?ssl-mode=verify-full&sslrootcert=/ca.pem",
        "postgres://h/db?sslmode=sometimes",
        "postgres://h/db?sslcert=/c.pem&sslkey=/k.pem",
        // 0 is left out: the driver never closes a statement that it does not cache, so the engine caches one.
        "postgres://h/db?statement-cache-capacity=100",
        "postgres://h/db?statement-cache-capacity=18446744073709551615",
        "postgres://h/db?statement-cache-capacity=x",
        "postgres://h/db?application_name=a%20b+c",
        "postgres://h/db?options=-c%20a%3Db&options[c.d]=e%20f",
        "postgres://h/db?options[x]=1&options=-c%20y%3D2",
        "postgres://h/db?unknown=1&sslmode=disable",
        "postgres://h/db?unknown",
        "postgres://h/db?&&sslmode=disable&",
        "postgres://h/db?a=b?c&port=9",
        "postgres://h/db#fragment",
        "postgres://u:p@ss@h/db",
        "postgres://u:p#x@h/db",
        "postgres://h /db",
        "POSTGRES://h/db",
    ] {
        compare::<Postgres>(url)?;
    }
    Ok(())
}

#[tokio::test]
async fn urls_of_mysql() -> anyhow::Result<()> {
    for url in [
        "mysql://",
        "mysql://h",
        "mysql://h:3307/db",
        "mysql://h:3306/db?port=1",
        "mysql://h/db?host=other&user=x&password=y",
        "mysql:///db?port=1",
        "mysql://u%40x:p%2F%3A%40@h/d%20b",
        "mysql://[::1]:3307/db",
        "mysql://h/db?ssl-mode=DISABLED",
        "mysql://h/db?sslmode=sometimes",
        "mysql://h/db?ssl-ca=/ca.pem&ssl-cert=/c.pem&ssl-key=/k.pem",
        "mysql://h/db?charset=utf8mb4&collation=utf8mb4_bin",
        "mysql://h/db?statement-cache-capacity=0",
        "mysql://h/db?statement-cache-capacity=7",
        "mysql://h/db?socket=/run/mysqld.sock",
        "mysql://h/db?timezone=%2B03:00",
        "mysql://h/db?unknown=1",
        "mysql://h:x/db",
        "mariadb://h/db",
    ] {
        compare::<MySql>(url)?;
    }
    Ok(())
}

#[tokio::test]
async fn urls_of_sqlite() -> anyhow::Result<()> {
    for url in [
        "sqlite:a.db",
        "sqlite://a.db?mode=ro",
        "sqlite:///tmp/a%20b.db?mode=rwc&cache=shared",
        "sqlite:a.db?mode=sometimes",
        "sqlite:a.db?unknown=1",
        "sqlite:a.db?immutable=1",
        "sqlite:a,b.db",
    ] {
        compare::<Sqlite>(url)?;
    }
    Ok(())
}

/// The number of prepared statements in the engine's session, after twenty different ones.
async fn prepared(engine: &AnyOr<'_>) -> anyhow::Result<i64> {
    for number in 0..20 {
        engine.number(&format!("SELECT {number}::int8")).await?;
    }
    engine
        .number("SELECT count(*)::int8 FROM pg_prepared_statements")
        .await
}

/// An engine of either kind.
enum AnyOr<'a> {
    Any(&'a AnyEngine),
    Postgres(&'a Engine<Postgres>),
}

impl AnyOr<'_> {
    async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        Ok(match self {
            Self::Any(engine) => sqlx::query_scalar(sql).fetch_one(*engine).await?,
            Self::Postgres(engine) => sqlx::query_scalar(sql).fetch_one(*engine).await?,
        })
    }
}

#[allow(clippy::extra_unused_type_parameters, reason = "a case of the table")]
async fn statement_cache<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let with = |more: &str| settings("cache", format!("{}{more}", case_database.url())).max_size(1);
    for (settings, most) in [
        (with("").statement_cache(5), 5),
        (with("?statement-cache-capacity=7"), 7),
        (with("?statement-cache-capacity=7").statement_cache(5), 7),
    ] {
        let engine: Engine<Postgres> = started(&settings).await?;
        let kept = prepared(&AnyOr::Postgres(&engine)).await?;
        ensure!(
            (most - 1..=most).contains(&kept),
            "{kept} instead of {most}"
        );
        engine.close_connection_pool().await;
        let engine: AnyEngine = engine_finder_with(&settings.engine("any_cache"))?;
        engine.start_connection_pool().await?;
        let kept = prepared(&AnyOr::Any(&engine)).await?;
        ensure!(
            (most - 1..=most).contains(&kept),
            "{kept} instead of {most}"
        );
        engine.close_connection_pool().await;
    }
    Ok(())
}

#[allow(clippy::extra_unused_type_parameters, reason = "a case of the table")]
async fn any<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let named = settings("any_named", case_database.url()).application_name("a name");
    let engine: AnyEngine = engine_finder_with(&named)?;
    engine.start_connection_pool().await?;
    let sessions = case_database.database()?.sessions().await?;
    let session = sessions.first().context("no session")?;
    ensure!(session.application == "a name", "{session:?}");
    engine.close_connection_pool().await;
    Ok(())
}

async fn socket<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let folders = "SHOW unix_socket_directories".to_owned();
    let rows = database.server().ask(&[folders]).await?;
    let folders = rows.into_iter().flatten().flatten().next();
    let folders = folders.unwrap_or_default();
    let Some(folder) = folders
        .split(',')
        .map(str::trim)
        .find(|folder| !folder.is_empty())
    else {
        return Ok(());
    };
    let url = format!(
        "postgres:///{name}?host={folder}&port={port}&user={name}&password={password}",
        name = database.name(),
        port = database.address()?.port(),
        password = database.password(),
    );
    let engine: Engine<DB> = started(&settings("socket", url)).await?;
    Own(engine.clone()).execute("SELECT 1").await?;
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn port<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    ensure!(case_database.database()?.kind() == Kind::MariaDb);
    let url = format!("{}?port=1&host=nowhere", case_database.url());
    let engine: Engine<DB> = started(&settings("port", url)).await?;
    Own(engine.clone()).execute("SELECT 1").await?;
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}
