//! The lifespan position: a function that starts its pool, and closes it however it ends.

use std::{
    future::pending,
    panic::{AssertUnwindSafe, panic_any},
    pin::pin,
    time::Duration,
};

use anyhow::{Context, ensure};
use futures_util::FutureExt;
use poolhouse::{Engine, SqliteEngine, with_pool};
use poolhouse_tests::{CaseDatabase, Proxy, Sql, Subject, subject::Own};
use tokio::sync::oneshot;

use crate::table::case_databases;

case_databases! {
    a_value_is_returned_unchanged: value, on (postgres, mariadb, sqlite);
    an_error_is_returned_unchanged: error, on (postgres, mariadb, sqlite);
    a_panic_goes_on_with_its_payload: panic, on (postgres, mariadb, sqlite);
    a_dropped_future_is_closed_in_the_background: dropped, on (postgres, mariadb, sqlite);
    a_start_that_is_dropped_leaves_nothing_open: dropped_at_start, on (postgres, mariadb);
    an_inner_lifespan_shares_the_outer_pool: shared, on (postgres, mariadb, sqlite);
    an_inner_lifespan_with_other_settings_is_an_error: differs, on (postgres, mariadb, sqlite);
    it_can_be_called_again: again, on (postgres, mariadb, sqlite);
    a_start_that_fails_midway_closes_the_others: midway, on (postgres, mariadb);
}

/// Runs a body with its engine, and returns the body's value. No environment variable configures this engine.
#[with_pool(engine = "lifespan", url = url, max_size = 2, close_timeout = "300ms")]
async fn lifespan<DB: Sql, T>(
    url: &str,
    body: impl AsyncFnOnce(Own<DB>) -> T,
    #[pool] db: Engine<DB>,
) -> Result<T, poolhouse::Error> {
    let _ = url;
    Ok(body(Own(db)).await)
}

async fn value<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let url = case_database.url();
    let returned = lifespan(&url, async |db: Own<DB>| -> sqlx::Result<Vec<u8>> {
        db.execute("SELECT 1").await?;
        let _held = db.acquire().await?;
        Ok(vec![1, 2, 3])
    });
    ensure!(returned.await?? == [1, 2, 3]);
    case_database.closed_in_good_order().await
}

/// An error type of a program.
#[derive(Debug, PartialEq)]
enum BandError {
    SplitUp { year: i32 },
    Pool(String),
}

impl From<poolhouse::Error> for BandError {
    fn from(error: poolhouse::Error) -> Self {
        Self::Pool(error.to_string())
    }
}

#[with_pool(engine = "lifespan", url = url)]
async fn splits_up<DB: Sql>(url: &str, #[pool] db: Engine<DB>) -> Result<(), BandError> {
    let _ = url;
    let rows = Own(db).number("SELECT count(*)").await;
    Err(BandError::SplitUp {
        year: rows.map_or(0, |_| 1970),
    })
}

async fn error<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let error = splits_up::<DB>(&case_database.url()).await;
    ensure!(error == Err(BandError::SplitUp { year: 1970 }), "{error:?}");
    case_database.closed_in_good_order().await?;
    let error = splits_up::<DB>("nonsense://host").await;
    ensure!(
        matches!(&error, Err(BandError::Pool(text)) if text.contains("nonsense")),
        "{error:?}"
    );
    Ok(())
}

async fn panic<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    struct Payload(u8);

    let url = case_database.url();
    let run = lifespan(&url, async |db: Own<DB>| -> anyhow::Result<()> {
        let _held = db.acquire().await?;
        panic_any(Payload(7));
    });
    let payload = AssertUnwindSafe(run).catch_unwind().await.err();
    let payload = payload.context("no panic")?.downcast::<Payload>();
    ensure!(
        payload.is_ok_and(|payload| payload.0 == 7),
        "another payload"
    );
    case_database.closed_in_good_order().await
}

async fn dropped<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (ready, is_ready) = oneshot::channel();
    let url = case_database.url();
    let mut run = Box::pin(lifespan(&url, async |db: Own<DB>| {
        let _held = db.acquire().await;
        let _ = ready.send(db.clone());
        pending::<()>().await;
    }));
    let db = tokio::select! {
        _ = &mut run => anyhow::bail!("it is over"),
        db = is_ready => db?,
    };
    drop(run);
    poolhouse::wait_closed().await;
    ensure!(db.size() == 0, "{} are open", db.size());
    case_database.closed_in_good_order().await
}

#[with_pool(engine = "lifespan", url = url, min_size = 4)]
async fn opens_four<DB: Sql>(url: &str, #[pool] db: Engine<DB>) -> Result<(), poolhouse::Error> {
    let _ = (url, db);
    pending().await
}

async fn dropped_at_start<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let proxy = Proxy::before(database.address()?)?;
    proxy.delay(Duration::from_millis(5));
    let url = database.url_through(proxy.address());
    // At different points of the start.
    for sessions in [0, 1, 4] {
        let mut run = Box::pin(opens_four::<DB>(&url));
        let opened = database.sessions_become("some are open", |open| open.len() >= sessions);
        tokio::select! {
            result = &mut run => anyhow::bail!("it is over: {result:?}"),
            () = async { let _ = proxy.open_become(4).await; } => {}
        }
        tokio::select! {
            result = &mut run => anyhow::bail!("it is over: {result:?}"),
            opened = opened => drop(opened?),
        }
        drop(run);
        poolhouse::wait_closed().await;
        proxy.open_become(0).await?;
        case_database.closed_in_good_order().await?;
    }
    Ok(())
}

async fn shared<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let url = case_database.url();
    lifespan(&url, async |outer: Own<DB>| -> anyhow::Result<()> {
        let held = outer.acquire().await?;
        lifespan(&url, async |inner: Own<DB>| -> anyhow::Result<()> {
            inner.execute("SELECT 1").await?;
            let _both = inner.acquire().await?;
            ensure!(outer.status().in_use == 2, "{}", outer.status());
            Ok(())
        })
        .await??;
        drop(held);
        outer.execute("SELECT 1").await?;
        Ok(())
    })
    .await??;
    case_database.closed_in_good_order().await
}

#[with_pool(engine = "lifespan", url = url, max_size = 3)]
async fn wants_three<DB: Sql>(url: &str, #[pool] db: Engine<DB>) -> Result<(), poolhouse::Error> {
    let _ = (url, db);
    Ok(())
}

async fn differs<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let url = case_database.url();
    lifespan(&url, async |outer: Own<DB>| -> anyhow::Result<()> {
        let error = wants_three::<DB>(&url).await.err().context("no error")?;
        let said = error.to_string();
        for words in [
            "engine `lifespan` is already started with other settings: max_size = 3 (attribute, ",
            "lifespan.rs:",
            ", started with max_size = 2 (attribute, ",
            "Give both the same, or start it once",
        ] {
            ensure!(said.contains(words), "{said}");
        }
        outer.execute("SELECT 1").await?;
        Ok(())
    })
    .await??;
    case_database.closed_in_good_order().await
}

async fn again<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let url = case_database.url();
    for _ in 0..3 {
        lifespan(&url, async |db: Own<DB>| db.execute("SELECT 1").await).await??;
        case_database.no_session_left().await?;
        // After the close, other settings are accepted.
        wants_three::<DB>(&url).await?;
    }
    case_database.closed_in_good_order().await
}

#[with_pool(engine = "first", url = url, start_timeout = "3s")]
async fn two<DB: Sql>(
    url: &str,
    other: &str,
    #[pool] first: Engine<DB>,
    #[pool(engine = "second", url = other, start_timeout = "3s")] second: Engine<DB>,
) -> Result<(), poolhouse::Error> {
    let _ = (url, other, first, second);
    Ok(())
}

async fn midway<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let proxy = Proxy::before(database.address()?)?;
    let (url, other) = (case_database.url(), database.url_through(proxy.address()));
    two::<DB>(&url, &other).await?;

    proxy.refuse();
    let run = pin!(two::<DB>(&url, &other));
    let said = run.await.err().context("no error")?.to_string();
    for words in [
        "engine `second`: its pool could not be started: ",
        "the server refused the connection",
        "times in ",
        "start_timeout = 3s (attribute, ",
        "Start the server, or correct host and port of the url",
        ":***@127.0.0.1:",
    ] {
        ensure!(said.contains(words), "{words:?} is not in {said}");
    }
    ensure!(!said.contains(database.password()), "{said}");
    case_database.closed_in_good_order().await
}

/// The engine of the attribute, once without and once with its name.
#[with_pool(
    engine = "beneath",
    url = "sqlite::memory:",
    max_size = 2,
    min_size = 1
)]
async fn on_top(
    #[pool(max_size = 3)] db: SqliteEngine,
    #[pool(engine = "beneath", max_size = 3)] same: SqliteEngine,
) -> Result<[usize; 4], poolhouse::Error> {
    let (db, same) = (db.status(), same.status());
    Ok([db.max, db.size, same.max, same.size])
}

#[tokio::test]
async fn settings_of_a_parameter_lie_on_those_of_the_attribute() -> anyhow::Result<()> {
    ensure!(on_top().await? == [3, 1, 3, 1]);
    Ok(())
}

const ANOTHER: &str = "another";

/// The macro does not know the parameter's engine.
#[with_pool(engine = "unused", max_size = 2, shutdown_timeout = "1s")]
async fn without_the_attributes_engine(
    #[pool(engine = ANOTHER, url = "sqlite::memory:")] db: SqliteEngine,
) -> Result<usize, poolhouse::Error> {
    Ok(db.status().max)
}

#[tokio::test]
async fn settings_of_an_engine_that_no_parameter_has_are_an_error() -> anyhow::Result<()> {
    let error = without_the_attributes_engine()
        .await
        .err()
        .context("it was started")?;
    let said = error.to_string();
    ensure!(
        said.starts_with("engine `unused`: no parameter has it, so these settings of the attribute have no effect: `engine` (attribute, "),
        "{said}"
    );
    ensure!(
        said.contains("`max_size` (attribute, ") && !said.contains("shutdown_timeout"),
        "{said}"
    );
    Ok(())
}
