//! The handlers, the same for every framework and database.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use poolhouse::{Checkout, Engine, EngineName, Error, Named, RequestTransaction, TransactionError};
use poolhouse_tests::{Kind, Sql};
use sqlx::{AssertSqlSafe, Executor};
use tokio::sync::Semaphore;

/// The name of the second engine.
pub(crate) struct Reports;

impl EngineName for Reports {
    const NAME: &'static str = "reports";
}

/// Synchronises a handler with its test.
pub(crate) struct Point {
    /// Has a permit when the handler waits.
    pub(crate) reached: Semaphore,
    /// A permit lets the handler continue.
    pub(crate) go: Semaphore,
    /// Has a permit when the handler has ended or is dropped.
    pub(crate) gone: Semaphore,
    /// The result of a task that outlives the handler.
    pub(crate) said: Mutex<String>,
}

static POINTS: LazyLock<Mutex<HashMap<i32, Arc<Point>>>> = LazyLock::new(Mutex::default);

/// The point of the request with this key.
pub(crate) fn point(key: i32) -> Arc<Point> {
    let mut points = POINTS.lock().unwrap_or_else(PoisonError::into_inner);
    let point = points.entry(key).or_insert_with(|| {
        Arc::new(Point {
            reached: Semaphore::new(0),
            go: Semaphore::new(0),
            gone: Semaphore::new(0),
            said: Mutex::default(),
        })
    });
    Arc::clone(point)
}

/// A key that is unique in this process, and the id of the row that the request writes. It is even, and the nine after it
/// are free.
pub(crate) fn key() -> i32 {
    static NEXT: AtomicI32 = AtomicI32::new(1000);
    NEXT.fetch_add(10, Relaxed)
}

impl Point {
    async fn wait(&self) {
        self.reached.add_permits(1);
        if let Ok(go) = self.go.acquire().await {
            go.forget();
        }
    }
}

struct Gone(Arc<Point>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.gone.add_permits(1);
    }
}

/// The answer of a handler.
pub(crate) struct Reply<DB: Sql> {
    pub(crate) status: u16,
    /// The transaction that the streamed body holds.
    pub(crate) kept: Option<RequestTransaction<DB>>,
}

impl<DB: Sql> From<u16> for Reply<DB> {
    fn from(status: u16) -> Self {
        Self { status, kept: None }
    }
}

pub(crate) async fn run<'e, DB: Sql>(
    on: impl Executor<'e, Database = DB>,
    sql: String,
) -> sqlx::Result<()> {
    on.execute(sqlx::raw_sql(AssertSqlSafe(sql)))
        .await
        .map(drop)
}

async fn insert<'e, DB: Sql>(on: impl Executor<'e, Database = DB>, key: i32) -> sqlx::Result<()> {
    run(on, format!("INSERT INTO entry VALUES ({key}, 0)")).await
}

/// Whether the row of this key is visible.
async fn sees<'e, DB: Sql>(on: impl Executor<'e, Database = DB>, key: i32) -> sqlx::Result<bool> {
    let sql = format!("SELECT id FROM entry WHERE id = {key}");
    let row = on.fetch_optional(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
    Ok(row.is_some())
}

/// Code that only has the engine.
async fn scoped<DB: Sql>(db: &Engine<DB>, key: i32) -> sqlx::Result<()> {
    db.scoped_transaction(async move |tx| insert(tx, key).await)
        .await
}

/// A handler that takes the request's transaction, twice, and the engine.
#[allow(clippy::too_many_lines, reason = "one arm for each case")]
pub(crate) async fn act<DB: Sql>(
    case: &str,
    status: u16,
    key: i32,
    mut tx: RequestTransaction<DB>,
    mut again: RequestTransaction<DB>,
    db: Engine<DB>,
) -> Result<Reply<DB>, Error> {
    let _gone = Gone(point(key));
    let reply = Ok(Reply::from(status));
    match case {
        "nothing" => {}
        "write" => insert(&mut tx, key).await?,
        "shared" => {
            insert(&mut *tx, key).await?;
            assert!(sees(&mut again, key).await?, "one transaction");
            assert!(!sees(&db, key).await?, "not committed yet");
        }
        "at_once" => {
            let mut guard = tx.begin().await?;
            insert(&mut *guard, key).await?;
            let error = insert(&mut again, key + 1).await.err();
            let error = error.as_ref().and_then(TransactionError::find);
            assert!(
                matches!(error, Some(TransactionError::InUse { .. })),
                "{error:?}"
            );
            // One after the other, both can be used again.
            drop(guard);
            insert(&mut again, key + 1).await?;
        }
        "panic" => {
            insert(&mut tx, key).await?;
            panic!("on purpose");
        }
        "wait" => {
            insert(&mut tx, key).await?;
            point(key).wait().await;
        }
        "wait_beside_task" => {
            insert(&mut tx, key).await?;
            tokio::spawn(async move {
                let _tx = tx;
                std::future::pending::<()>().await;
            });
            point(key).wait().await;
        }
        "given_up" => {
            // The first statement is dropped half-way, while the transaction begins.
            let mut first = Box::pin(insert(&mut tx, key));
            let _ = futures_util::poll!(first.as_mut());
            drop(first);
            insert(&mut tx, key + 1).await?;
        }
        "body" => {
            insert(&mut tx, key).await?;
            drop(again);
            return Ok(Reply {
                status,
                kept: Some(tx),
            });
        }
        "body_unused" => {
            return Ok(Reply {
                status,
                kept: Some(tx),
            });
        }
        "task" => {
            insert(&mut tx, key).await?;
            tokio::spawn(async move {
                let point = point(key);
                point.wait().await;
                let later = insert(&mut tx, key + 1).await;
                *point.said.lock().unwrap_or_else(PoisonError::into_inner) = format!("{later:?}");
                point.reached.add_permits(1);
            });
        }
        "joins" => {
            scoped(&db, key).await?;
            assert!(sees(&mut tx, key).await?, "one transaction");
            assert!(!sees(&db, key).await?, "not committed yet");
        }
        "joins_guard" => {
            let mut guard = tx.begin().await?;
            insert(&mut *guard, key + 1).await?;
            scoped(&db, key).await?;
            let failed: sqlx::Result<()> = guard
                .transaction(async |nested| {
                    insert(&mut *nested, key + 2).await?;
                    insert(nested, key).await
                })
                .await;
            assert!(failed.is_err() && sees(&mut *guard, key).await?);
            assert!(!sees(&mut *guard, key + 2).await?);
        }
        "swallows" => {
            insert(&mut tx, key).await?;
            assert!(insert(&mut tx, key).await.is_err());
        }
        "commit_fails" => {
            insert(&mut tx, key).await?;
            match DB::END_SESSION.filter(|_| DB::SERVER == Some(Kind::MariaDb)) {
                // MariaDB has no deferred constraints.
                Some(end) => assert!(run(&mut tx, end.to_owned()).await.is_err()),
                None => run(&mut tx, format!("INSERT INTO child VALUES ({key})")).await?,
            }
        }
        "conflicts" => conflicts(key, &mut tx, &db).await?,
        "deadlocks" => {
            // The statement in the deadlock fails, and the handler ignores the error.
            run(&mut tx, touch(key % 2 + 1)).await?;
            point(key).wait().await;
            let _ = run(&mut tx, touch((key + 1) % 2 + 1)).await;
        }
        case => panic!("no case {case}"),
    }
    reply
}

fn touch(id: i32) -> String {
    format!("UPDATE entry SET value = value + 1 WHERE id = {id}")
}

/// Causes a conflict between an even and an odd key, without a deadlock.
async fn conflicts<DB: Sql>(
    key: i32,
    tx: &mut RequestTransaction<DB>,
    db: &Engine<DB>,
) -> Result<(), Error> {
    if DB::SERVER.is_some() {
        // Postgres detects the conflict at the commit.
        let level = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE";
        run(&mut *tx, level.to_owned()).await?;
        run(&mut *tx, "SELECT sum(value) FROM entry".to_owned()).await?;
        run(&mut *tx, touch(key % 2 + 1)).await?;
        point(key).wait().await;
    } else {
        // SQLite detects the conflict at a statement, if another connection has written since the first.
        sees(&mut *tx, 1).await?;
        run(db, touch(1)).await?;
        point(key).wait().await;
        run(&mut *tx, touch(2)).await?;
    }
    Ok(())
}

/// A handler that takes only the engine.
pub(crate) async fn plain<DB: Sql>(
    case: &str,
    status: u16,
    key: i32,
    db: Engine<DB>,
) -> Result<Reply<DB>, Error> {
    match case {
        "write" => insert(&db, key).await?,
        "scoped" => scoped(&db, key).await?,
        case => panic!("no case {case}"),
    }
    Ok(status.into())
}

/// A handler that takes a connection.
pub(crate) async fn holds<DB: Sql>(
    status: u16,
    key: i32,
    mut connection: Checkout<DB>,
) -> Result<Reply<DB>, Error> {
    insert(&mut connection, key).await?;
    Ok(status.into())
}

/// A handler that takes the transactions of two engines.
pub(crate) async fn two<DB: Sql>(
    status: u16,
    key: i32,
    mut tx: RequestTransaction<DB>,
    mut reports: Named<Reports, RequestTransaction<DB>>,
    db: Named<Reports, Engine<DB>>,
) -> Result<Reply<DB>, Error> {
    insert(&mut tx, key).await?;
    insert(&mut **reports, key).await?;
    scoped(&db, key + 1).await?;
    Ok(status.into())
}
