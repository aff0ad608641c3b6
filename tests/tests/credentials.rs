//! Credentials from a function of the program, from the URL's parameters and from a file.

use std::{
    os::unix::fs::PermissionsExt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use poolhouse::{AcquireError, AcquireKind, Engine, Settings, engine_finder_with, with_pool};
use poolhouse_tests::{CaseDatabase, Kind, Program, Sql, Subject, servers, subject::Own};
use sqlx::{
    MySql, Postgres,
    mysql::MySqlConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::table::case_databases;

case_databases! {
    a_secret_is_fetched_for_each_connection: rotates, on (postgres, mariadb);
    a_secret_that_cannot_be_fetched_is_tried_again: fails, on (postgres, mariadb);
}

/// The service that issues the secrets.
#[derive(Clone, Debug, Default)]
struct Secrets {
    password: Arc<Mutex<String>>,
    fetched: Arc<AtomicUsize>,
}

impl Secrets {
    fn set(&self, password: &str) {
        let mut known = self.password.lock().unwrap_or_else(PoisonError::into_inner);
        password.clone_into(&mut known);
    }

    async fn fetch(&self) -> anyhow::Result<String> {
        tokio::task::yield_now().await;
        self.fetched.fetch_add(1, Relaxed);
        let known = self.password.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(!known.is_empty(), "the vault is sealed");
        Ok(known.clone())
    }

    /// The engine's settings, with a hook for each driver.
    fn settings(&self, case_database: &CaseDatabase) -> Settings {
        let (one, other) = (self.clone(), self.clone());
        Settings::new()
            .engine("credentials")
            .url(case_database.url())
            .max_size(3)
            .before_connect(move |options: PgConnectOptions| {
                let secrets = one.clone();
                async move { anyhow::Ok(options.password(&secrets.fetch().await?)) }
            })
            .before_connect(move |options: MySqlConnectOptions| {
                let secrets = other.clone();
                async move { anyhow::Ok(options.password(&secrets.fetch().await?)) }
            })
    }
}

async fn rotates<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let rotate = async |password: &str| {
        let name = database.name();
        let statement = match database.kind() {
            Kind::Postgres => format!("ALTER ROLE {name} PASSWORD '{password}'"),
            Kind::MariaDb => format!("ALTER USER {name}@'%' IDENTIFIED BY '{password}'"),
        };
        database.server().ask(&[statement]).await
    };
    let secrets = Secrets::default();
    secrets.set("first");
    rotate("first").await?;
    let engine: Engine<DB> = engine_finder_with(&secrets.settings(&case_database))?;
    engine.start_connection_pool().await?;
    let all = async || try_join_all((0..3).map(|_| engine.acquire())).await;
    drop(all().await?);
    ensure!(secrets.fetched.load(Relaxed) == 3, "{secrets:?}");

    // Open connections stay open.
    rotate("second").await?;
    secrets.set("second");
    drop(all().await?);
    ensure!(secrets.fetched.load(Relaxed) == 3, "{secrets:?}");
    engine.evict();
    drop(all().await?);
    ensure!(secrets.fetched.load(Relaxed) == 6, "{secrets:?}");

    // A secret that has expired.
    rotate("third").await?;
    engine.evict();
    let error = engine.acquire().await.err().context("it is accepted")?;
    let found = AcquireError::find(&error).context("not ours")?;
    ensure!(found.kind() == AcquireKind::Connect);
    let said = error.to_string();
    for words in [
        "the server rejected the user or the password (",
        "; the credentials were fetched at 20",
        "Z by before_connect (builder, tests/tests/credentials.rs:",
    ] {
        ensure!(said.contains(words), "{words:?} is not in {said}");
    }
    ensure!(!said.contains("second"), "{said}");
    secrets.set("third");
    drop(all().await?);
    engine.close_connection_pool().await;
    // The end of the case connects as the user.
    rotate(database.password()).await?;
    case_database.no_session_left().await
}

async fn fails<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let secrets = Secrets::default();
    let settings = secrets.settings(&case_database).start_timeout("3s");
    let engine: Engine<DB> = engine_finder_with(&settings)?;
    let error = engine.start_connection_pool().await.err();
    let said = error.context("it has started")?.to_string();
    for words in [
        "before_connect failed (the vault is sealed; before_connect (builder, tests/tests/credentials.rs:",
        "tried ",
        "; start_timeout = 3s",
        "Check what it depends on",
    ] {
        ensure!(said.contains(words), "{words:?} is not in {said}");
    }
    ensure!(secrets.fetched.load(Relaxed) > 1);
    ensure!(case_database.sessions().await? == Some(0));
    Ok(())
}

async fn as_ever(options: MySqlConnectOptions) -> Result<MySqlConnectOptions, std::io::Error> {
    Ok(options)
}

#[test]
fn a_function_for_another_driver_is_named() -> anyhow::Result<()> {
    let settings = Settings::new()
        .engine("credentials")
        .url("postgres://u@h/db")
        .before_connect(as_ever);
    let found = engine_finder_with::<Postgres>(&settings);
    let said = found.err().context("it is accepted")?.to_string();
    ensure!(
        said.contains("`before_connect` (builder, ")
            && said.contains("MySqlConnectOptions, but this engine's driver takes"),
        "{said}"
    );
    Ok(())
}

async fn as_it_is(options: PgConnectOptions) -> Result<PgConnectOptions, std::io::Error> {
    Ok(options)
}

#[with_pool(engine = "credentials", url = url, before_connect = as_it_is)]
async fn on_a_sqlx_pool(url: &str, #[pool] pool: sqlx::PgPool) -> Result<(), poolhouse::Error> {
    let _ = (url, pool);
    Ok(())
}

#[with_pool(engine = "credentials", url = url, before_connect = as_it_is)]
async fn one(url: &str, #[pool] db: poolhouse::PgEngine) -> anyhow::Result<i64> {
    let _ = url;
    Ok(Own(db).number("SELECT 1::int8").await?)
}

#[tokio::test]
async fn the_attribute_takes_its_path() -> anyhow::Result<()> {
    let started = on_a_sqlx_pool("postgres://u@127.0.0.1:1/db").await;
    let said = started.err().context("it has started")?.to_string();
    ensure!(
        said.contains("which does not call before_connect"),
        "{said}"
    );
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(());
    };
    ensure!(one(server.database("credentials").await?.url()).await? == 1);
    Ok(())
}

#[tokio::test]
async fn parameters_of_the_url_reach_the_driver() -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(());
    };
    let database = server.database("credentials").await?;
    let url = format!(
        "{}?sslmode=disable&options=-c%20work_mem%3D3MB&target_session_attrs=any",
        database.url()
    );
    let settings = Settings::new().engine("credentials").url(url);
    let engine = engine_finder_with::<Postgres>(&settings)?;
    ensure!(matches!(
        engine.connect_options().get_ssl_mode(),
        PgSslMode::Disable
    ));
    engine.start_connection_pool().await?;
    let set = "SELECT (current_setting('work_mem') = '3MB')::int::int8";
    ensure!(Own(engine.clone()).number(set).await? == 1);
    engine.close_connection_pool().await;

    // The private servers have no certificate.
    if server.log.is_some() {
        let settings = settings.url(format!("{}?sslmode=require", database.url()));
        let engine = engine_finder_with::<Postgres>(&settings.engine("encrypted"))?;
        let error = engine.start_connection_pool().await.err();
        let said = error.context("it has started")?.to_string();
        ensure!(said.contains("the TLS handshake failed"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn parameters_of_the_url_reach_the_driver_on_mariadb() -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::MariaDb) else {
        return Ok(());
    };
    let database = server.database("credentials").await?;
    let url = format!(
        "{}?ssl-mode=disabled&charset=utf8mb4&collation=utf8mb4_bin&load_balance_hosts=random",
        database.url()
    );
    let settings = Settings::new().engine("credentials_mariadb").url(url);
    let engine = engine_finder_with::<MySql>(&settings)?;
    engine.start_connection_pool().await?;
    let set = "SELECT CAST(@@collation_connection = 'utf8mb4_bin' AS SIGNED)";
    ensure!(Own(engine.clone()).number(set).await? == 1);
    engine.close_connection_pool().await;
    Ok(())
}

/// <https://www.postgresql.org/docs/current/libpq-pgpass.html>
#[tokio::test]
async fn a_password_file_is_the_drivers() -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(());
    };
    let database = server.database("credentials").await?;
    let (address, name) = (database.address()?, database.name());
    let folder = tempfile::TempDir::new()?;
    let file = folder.path().join("pgpass");
    std::fs::write(
        &file,
        format!(
            "{}:{}:{name}:{name}:{}\n",
            address.ip(),
            address.port(),
            database.password()
        ),
    )?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    let program = Program::new(env!("CARGO_BIN_EXE_plain"))?
        .argument("any")
        .variable(
            "DATABASE_URL",
            format!("postgres://{name}@{address}/{name}"),
        )
        .variable("PGPASSFILE", file);
    let ended = program.run().await?;
    ensure!(
        ended.code() == Some(0) && ended.output.contains("done"),
        "{}",
        ended.everything()
    );
    Ok(())
}
