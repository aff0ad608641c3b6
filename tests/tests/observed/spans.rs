//! Tests of `query_spans`.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{FutureExt, TryStreamExt};
use poolhouse::{AnyEngine, PgEngine, QuerySpans, Settings, SqliteEngine, engine_finder_with};
use poolhouse_tests::{Kind, TestDatabase, eventually, servers};
use tracing::Level;

use super::captured::Captured;

async fn postgres(
    hint: &str,
    settings: Settings,
) -> anyhow::Result<Option<(TestDatabase, PgEngine)>> {
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(None);
    };
    let database = server.database(hint).await?;
    let settings = settings.engine(hint).url(database.url());
    let db: PgEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    Ok(Some((database, db)))
}

#[tokio::test]
async fn a_statement_has_a_span_with_opentelemetrys_names_and_no_value() -> anyhow::Result<()> {
    let sqlite = ("sqlite", "sqlite::memory:".to_owned(), None);
    let mut all = vec![(sqlite, None)];
    for (kind, system) in [(Kind::Postgres, "postgresql"), (Kind::MariaDb, "mariadb")] {
        if let Some(server) = servers::require(kind) {
            let database = server.database("spans").await?;
            let address = database.address()?;
            all.push((
                (system, database.url().to_owned(), Some(address)),
                Some(database),
            ));
        }
    }
    let (captured, _listening) = Captured::here();
    for ((system, url, address), database) in &all {
        let settings = Settings::new()
            .engine(*system)
            .url(url)
            .query_spans(QuerySpans::Info);
        let db: AnyEngine = engine_finder_with(&settings)?;
        db.start_connection_pool().await?;
        assert!(
            captured.take("query").is_empty(),
            "{system}: only statements of the program"
        );
        let sql = if *system == "postgresql" {
            "SELECT $1"
        } else {
            "SELECT ?"
        };
        sqlx::query(sql).bind("hunter2").fetch_one(&db).await?;
        let spans = captured.take("query");
        let [span] = &spans[..] else {
            panic!("{system}: {spans:#?}")
        };
        assert_eq!(
            (span.target.as_str(), span.level),
            ("poolhouse::query", Level::INFO)
        );
        assert_eq!(span.field("db.system.name"), Some(*system));
        assert_eq!(span.field("db.query.text"), Some(sql));
        assert_eq!(span.field("db.operation.name"), Some("SELECT"));
        assert_eq!(
            span.field("db.namespace"),
            database.as_ref().map(TestDatabase::name)
        );
        let host = address.map(|address| address.ip().to_string());
        let port = address.map(|address| address.port().to_string());
        assert_eq!(span.field("server.address"), host.as_deref());
        assert_eq!(span.field("server.port"), port.as_deref());
        assert_eq!(span.field("error.type"), None);
        assert!(!format!("{spans:?}").contains("hunter2"), "{spans:?}");
        db.close_connection_pool().await;
    }
    Ok(())
}

#[tokio::test]
async fn an_error_has_its_type() -> anyhow::Result<()> {
    let (captured, _listening) = Captured::here();
    let Some((_database, db)) =
        postgres("span_errors", Settings::new().query_spans("debug")).await?
    else {
        return Ok(());
    };
    assert!(
        sqlx::query("SELECT * FROM nonsense")
            .execute(&db)
            .await
            .is_err()
    );
    let spans = captured.take("query");
    assert_eq!(spans.len(), 1, "{spans:#?}");
    assert_eq!(spans[0].level, Level::DEBUG);
    assert_eq!(spans[0].field("error.type"), Some("42P01"));
    assert_eq!(spans[0].field("db.response.status_code"), Some("42P01"));
    assert_eq!(spans[0].field("otel.status_code"), Some("ERROR"));
    db.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn a_stream_has_one_span_to_its_end_and_a_dropped_one_is_cancelled() -> anyhow::Result<()> {
    let (captured, _listening) = Captured::here();
    let settings = Settings::new().query_spans("info");
    let Some((database, db)) = postgres("span_streams", settings).await? else {
        return Ok(());
    };
    {
        let mut rows = sqlx::query("SELECT generate_series(1, 3)").fetch(&db);
        assert!(rows.try_next().await?.is_some());
        assert!(captured.take("query").is_empty(), "it is not at its end");
        while rows.try_next().await?.is_some() {}
    }
    let spans = captured.take("query");
    assert_eq!(spans.len(), 1, "{spans:#?}");
    assert_eq!(spans[0].field("error.type"), None);

    {
        let mut rows = sqlx::query("SELECT generate_series(1, 100000)").fetch(&db);
        assert!(rows.try_next().await?.is_some());
    }
    cancelled(&captured).await?;
    tokio::select! {
        ended = sqlx::query("SELECT pg_sleep(600)").execute(&db) => anyhow::bail!("{ended:?}"),
        runs = database.sessions_become("it runs", |sessions| {
            sessions.iter().any(|session| {
                session.state == "active" && session.statement.contains("pg_sleep")
            })
        }) => drop(runs?),
    }
    cancelled(&captured).await?;
    db.close_connection_pool().await;
    Ok(())
}

async fn cancelled(captured: &Captured) -> anyhow::Result<()> {
    let mut spans = Vec::new();
    eventually("the span is closed", async || {
        spans.extend(captured.take("query"));
        anyhow::ensure!(!spans.is_empty(), "none");
        Ok(())
    })
    .await?;
    anyhow::ensure!(
        spans[0].field("error.type") == Some("cancelled"),
        "{spans:#?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_wait_has_a_span() -> anyhow::Result<()> {
    let (captured, _listening) = Captured::here();
    let settings = Settings::new().engine("span_waits").url("sqlite::memory:");
    let db: SqliteEngine = engine_finder_with(&settings.max_size(1).query_spans("info"))?;
    db.start_connection_pool().await?;
    let held = db.acquire().await?;
    captured.take("wait for a checkout");
    let mut waiting = Box::pin(db.acquire());
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(
        captured.take("wait for a checkout").is_empty(),
        "it still waits"
    );
    drop(held);
    drop(waiting.await?);
    let spans = captured.take("wait for a checkout");
    assert_eq!(spans.len(), 1, "{spans:#?}");
    assert_eq!(
        spans[0].field("db.client.connection.pool.name"),
        Some("span_waits")
    );
    db.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn a_transaction_has_a_span_with_its_tries_around_its_statements() -> anyhow::Result<()> {
    let (captured, _listening) = Captured::here();
    let settings = Settings::new().query_spans("info");
    let Some((_database, db)) = postgres("span_transactions", settings).await? else {
        return Ok(());
    };
    let tries = AtomicUsize::new(0);
    let one: i32 = db
        .transaction(async |tx| {
            if tries.fetch_add(1, Ordering::Relaxed) == 0 {
                let conflict =
                    "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$";
                sqlx::query(conflict).execute(&mut *tx).await?;
            }
            sqlx::query_scalar("SELECT 1").fetch_one(&mut *tx).await
        })
        .await
        .map_err(|error: sqlx::Error| error)?;
    assert_eq!((one, tries.load(Ordering::Relaxed)), (1, 2));
    let spans = captured.take("transaction");
    assert_eq!(spans.len(), 1, "{spans:#?}");
    assert_eq!(spans[0].field("tries"), Some("2"));
    let statements = captured.take("query");
    let parents: Vec<_> = statements.iter().map(|span| span.parent).collect();
    assert_eq!(parents, [Some("transaction"); 2], "{statements:#?}");
    assert_eq!(statements[0].field("error.type"), Some("40001"));
    db.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn off_is_the_default_and_makes_no_span() -> anyhow::Result<()> {
    let (captured, _listening) = Captured::here();
    let settings = Settings::new()
        .engine("span_off")
        .url("sqlite::memory:")
        .max_size(1);
    let db: SqliteEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    db.transaction(async |tx| sqlx::query("SELECT 1").execute(&mut *tx).await)
        .await?;
    let held = db.acquire().await?;
    let mut waiting = Box::pin(db.acquire());
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(held);
    drop(waiting.await?);
    db.close_connection_pool().await;
    assert!(captured.is_empty());
    Ok(())
}
