//! Settings and statements that cannot work behind a pooler give an error with the reason.

use anyhow::{Context, ensure};
use poolhouse::{Backend, Settings, engine_finder_with, with_pool};
use poolhouse_tests::pgbouncer::Mode;
use sqlx::{MySql, Postgres, Sqlite};

use super::Fixture;

fn settings() -> Settings {
    Settings::new()
        .engine("pooled_badly")
        .url("postgres://band:s3cret@host/db")
        .pooler("pgbouncer")
}

fn refused<DB: Backend>(settings: &Settings) -> anyhow::Result<String> {
    let error = engine_finder_with::<DB>(settings)
        .err()
        .context("it is accepted")?;
    let said = error.to_string();
    ensure!(!said.contains("s3cret"), "{said}");
    Ok(said)
}

#[track_caller]
fn says(said: &str, words: &[&str]) -> anyhow::Result<()> {
    for words in words {
        ensure!(said.contains(words), "{words:?} is not in: {said}");
    }
    Ok(())
}

#[test]
fn a_session_has_no_slot_there() -> anyhow::Result<()> {
    let said = refused::<Postgres>(&settings().session("SET TIME ZONE 'UTC'"))?;
    says(
        &said,
        &[
            "engine `pooled_badly`: session = SET … (builder, ",
            " needs a session on the server, and with pooler = pgbouncer (builder, ",
            "use ALTER ROLE",
        ],
    )
}

#[test]
fn migrations_need_a_direct_url() -> anyhow::Result<()> {
    let said = refused::<Postgres>(&settings().migrations("migrations"))?;
    says(
        &said,
        &[
            "migrations = ",
            "set `direct_url` to the URL past the pooler",
        ],
    )
}

#[test]
fn no_other_pooler_is_known() -> anyhow::Result<()> {
    let said = refused::<Postgres>(&settings().pooler("pgbounce"))?;
    says(
        &said,
        &[
            "`pooler` = \"pgbounce\" (builder, ",
            ") is not valid; expected \"pgbouncer\"",
        ],
    )
}

#[test]
fn it_is_for_postgres() -> anyhow::Result<()> {
    let said = refused::<Sqlite>(&settings().url("sqlite::memory:"))?;
    says(
        &said,
        &["is for an engine of Postgres (`PgEngine`), and this one is of SQLite"],
    )?;
    let said = refused::<MySql>(&settings().url("mysql://band:s3cret@host/db"))?;
    says(&said, &["this one is of MySQL", "Remove `pooler`"])
}

#[test]
fn a_direct_url_is_one_of_the_same_kind() -> anyhow::Result<()> {
    let said = refused::<Postgres>(&settings().direct_url("://band:s3cret@host"))?;
    says(&said, &["`direct_url` = ", "is not a database URL"])?;
    let said = refused::<Postgres>(&settings().direct_url("mysql://band:s3cret@host/db"))?;
    says(
        &said,
        &[
            "it is configured for MySQL, and the code asks for Postgres",
            "direct_url = mysql://band:***@host/db (builder, ",
        ],
    )
}

#[with_pool(engine = "pooled_badly", url = url, pooler = "pgbouncer")]
async fn on_a_sqlx_pool(url: &str, #[pool] pool: sqlx::PgPool) -> Result<(), poolhouse::Error> {
    let _ = (url, pool);
    Ok(())
}

#[tokio::test]
async fn a_sqlx_pool_is_not_safe_behind_it() -> anyhow::Result<()> {
    let started = on_a_sqlx_pool("postgres://band:s3cret@127.0.0.1:1/db").await;
    let said = started.err().context("it has started")?.to_string();
    says(
        &said,
        &[
            "whose statements are not safe with pooler = pgbouncer (attribute, ",
            "Take an engine parameter",
        ],
    )
}

#[tokio::test]
async fn nobody_listens_through_it() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::of(Mode::Transaction).await? else {
        return Ok(());
    };
    let db = fixture.started().await?;
    for listen in [
        sqlx::raw_sql("SELECT 1; LISTEN news").execute(&db).await,
        sqlx::query("LISTEN news").execute(&db).await,
    ] {
        let said = listen.err().context("it is accepted")?.to_string();
        says(
            &said,
            &[
                "engine `pooled`: LISTEN needs its own server session, which pooler = pgbouncer (builder, ",
                "Use `Engine::listener`, and set `direct_url` to the URL that bypasses the pooler",
            ],
        )?;
    }
    // A line of a text is none.
    sqlx::raw_sql("CREATE TABLE song (text text)")
        .execute(&db)
        .await?;
    sqlx::query("INSERT INTO song VALUES (E'Don\\'t go\nListen to me')")
        .execute(&db)
        .await?;
    // The connection is still usable.
    sqlx::query("SELECT 1").execute(&db).await?;
    db.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn statement_mode_allows_no_transaction() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::of(Mode::Statement).await? else {
        return Ok(());
    };
    let started = fixture.started().await;
    let said = started.err().context("it has started")?.to_string();
    says(
        &said,
        &[
            "engine `pooled`: its pool could not be started: Postgres: the pooler is in statement mode, in which it allows no \
             transaction",
            "Set pool_mode = transaction (or session) in the configuration of pgbouncer",
        ],
    )?;
    ensure!(!said.contains(fixture.database.password()), "{said}");
    Ok(())
}
