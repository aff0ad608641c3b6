//! The forms of closures in handlers: their captures, calls and return types.

use std::fmt::Display;
use std::sync::Arc;

use anyhow::{Context, ensure};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use poolhouse::{Backend, Engine, Settings, SqliteEngine, Transaction, engine_finder_with};
use sqlx::Sqlite;

const ADD: &str = "INSERT INTO band VALUES (?)";

#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("{0} is there already")]
    Taken(String),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

async fn add(tx: &mut Transaction<Sqlite>, name: &str) -> sqlx::Result<()> {
    sqlx::query(ADD).bind(name).execute(tx).await.map(drop)
}

/// Owns a `String` that each statement borrows, and returns its own error type.
async fn owned(db: &SqliteEngine, name: String) -> Result<(), AppError> {
    db.transaction(async move |tx| {
        let known: Option<String> = sqlx::query_scalar("SELECT name FROM band WHERE name = ?")
            .bind(&name)
            .fetch_optional(&mut *tx)
            .await?;
        if known.is_some() {
            return Err(AppError::Taken(name));
        }
        add(tx, &name).await?;
        Ok(())
    })
    .await
}

/// Borrows a `&str`, and a `String` that the function owns.
async fn borrowed(db: &SqliteEngine, name: &str) -> sqlx::Result<usize> {
    let owned = format!("{name} too");
    let added = db
        .transaction(async |tx| {
            add(tx, name).await?;
            add(tx, &owned).await?;
            Ok::<_, sqlx::Error>([name, &owned])
        })
        .await?;
    Ok(added.len())
}

/// A loop over references.
async fn looped(db: &SqliteEngine, names: &[String]) -> sqlx::Result<()> {
    db.transaction(async |tx| {
        for name in names {
            add(tx, name).await?;
        }
        Ok(())
    })
    .await
}

/// A closure in a closure, and a scoped one in both; all of them borrow.
async fn nested(db: &SqliteEngine, one: &str, two: &str, three: &str) -> sqlx::Result<()> {
    db.transaction(async |tx| {
        add(tx, one).await?;
        tx.transaction(async |tx| {
            add(tx, two).await?;
            db.scoped_transaction(async |tx| add(tx, three).await).await
        })
        .await
    })
    .await
}

/// Values that a spawned task owns.
async fn spawned(db: &SqliteEngine, name: &Arc<str>) -> anyhow::Result<()> {
    let (db, name) = (db.clone(), Arc::clone(name));
    tokio::spawn(async move { db.transaction(async move |tx| add(tx, &name).await).await })
        .await??;
    Ok(())
}

/// Any database.
async fn counted<DB: Backend>(db: &Engine<DB>, by: i64) -> sqlx::Result<i64> {
    let sum = db
        .transaction(async |_tx: &mut Transaction<DB>| Ok::<_, sqlx::Error>(by + 1))
        .await?;
    Ok(sum)
}

/// An opaque error type.
async fn opaque(db: &SqliteEngine, name: &str) -> Result<(), impl Display + use<>> {
    db.transaction(async |tx| {
        add(tx, name).await?;
        Ok::<_, AppError>(())
    })
    .await
}

/// `anyhow`, with a context.
async fn with_context(db: &SqliteEngine, name: &str) -> anyhow::Result<()> {
    db.transaction(async |tx| {
        add(tx, name).await.context("adding a band")?;
        Ok(())
    })
    .await
}

struct Bands {
    db: SqliteEngine,
    prefix: String,
}

impl Bands {
    /// Borrows `self`.
    async fn add(&self, name: &str) -> sqlx::Result<()> {
        self.db
            .transaction(async |tx| add(tx, &format!("{} {name}", self.prefix)).await)
            .await
    }
}

/// A handler of axum, whose future has to be `Send`.
async fn handler(State(db): State<SqliteEngine>, Path(name): Path<String>) -> StatusCode {
    let added = db
        .transaction(async |tx| {
            add(tx, &name).await?;
            Ok::<_, AppError>(StatusCode::CREATED)
        })
        .await;
    added.unwrap_or(StatusCode::CONFLICT)
}

#[tokio::test]
async fn each_form_commits_what_it_writes() -> anyhow::Result<()> {
    let settings = Settings::new().engine("closures").url("sqlite::memory:");
    let db: SqliteEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql("CREATE TABLE band (name TEXT PRIMARY KEY)")
        .execute(&db)
        .await?;

    owned(&db, "owned".into()).await?;
    let again = owned(&db, "owned".into()).await;
    ensure!(
        matches!(&again, Err(AppError::Taken(name)) if name == "owned"),
        "{again:?}"
    );
    ensure!(borrowed(&db, "borrowed").await? == 2);
    looped(&db, &["first".into(), "second".into()]).await?;
    nested(&db, "outer", "inner", "innermost").await?;
    spawned(&db, &Arc::from("spawned")).await?;
    ensure!(counted(&db, 1).await? == 2);
    ensure!(opaque(&db, "opaque").await.is_ok());
    let taken = opaque(&db, "opaque").await.err().context("it is taken")?;
    ensure!(taken.to_string().contains("UNIQUE"), "{taken}");
    with_context(&db, "with context").await?;
    let taken = with_context(&db, "opaque")
        .await
        .err()
        .context("it is taken")?;
    ensure!(taken.to_string() == "adding a band", "{taken}");
    let bands = Bands {
        db: db.clone(),
        prefix: "the".into(),
    };
    bands.add("method").await?;
    let _: Router = Router::new()
        .route("/{name}", post(handler))
        .with_state(db.clone());
    for expected in [StatusCode::CREATED, StatusCode::CONFLICT] {
        let name = Path("handler".to_owned());
        ensure!(handler(State(db.clone()), name).await == expected);
    }

    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM band ORDER BY rowid")
        .fetch_all(&db)
        .await?;
    let expected = [
        "owned",
        "borrowed",
        "borrowed too",
        "first",
        "second",
        "outer",
        "inner",
        "innermost",
        "spawned",
        "opaque",
        "with context",
        "the method",
        "handler",
    ];
    ensure!(names == expected, "{names:?}");
    db.close_connection_pool().await;
    Ok(())
}
