//! What a returned connection is to its next user: no answer to an earlier statement, no transaction, no running statement.

use std::{thread, time::Duration};

use anyhow::{Context, ensure};
use futures_util::{FutureExt, future};
use poolhouse::{
    AcquireError, Engine, MySqlEngine, PgEngine, Readiness, SqliteEngine, TransactionError,
    engine_finder_with,
};
use poolhouse_tests::{CaseDatabase, PgBouncer, Sql, eventually, pgbouncer::Mode};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgConnectOptions, PgTypeInfo};
use sqlx::{Acquire, Connection, Database, MySql, MySqlConnection, Postgres, Row, Sqlite};

use super::{bounded, settings, started, through_proxy};
use crate::table::case_databases;

case_databases! {
    an_evicted_connection_ends_its_statement: evicted, on (postgres, mariadb);
    a_closed_checkout_ends_its_statement: closed, on (postgres, mariadb);
    a_query_before_the_start_ends_with_its_caller: before_the_start, on (postgres, mariadb);
    an_error_after_a_cancellation_leaves_the_connection: refused, on (postgres, mariadb);
    a_panic_of_before_connect_is_named: panics, on (postgres);
    the_server_is_asked_inside_a_runtime_only: outside, on (postgres, mariadb, sqlite);
    no_literal_is_shown_to_other_tasks: literals, on (postgres);
    a_close_does_not_wait_for_a_silent_server: silent_start, on (postgres, mariadb);
    what_is_shown_as_held_is_held: recovered_at_the_close, on (postgres, mariadb);
}

/// Sessions that end while they are held. The pool sees their statements.
macro_rules! held {
    ($name:ident, $database:ty) => {
        #[tokio::test]
        async fn $name() -> anyhow::Result<()> {
            let Some(case_database) = CaseDatabase::of::<$database>("held").await? else {
                return Ok(());
            };
            let session = <$database as Sql>::SESSION.context("no sessions")?;
            let end = |session: i64| match <$database as Database>::NAME {
                "MySQL" => format!("KILL CONNECTION {session}"),
                _ => format!("SELECT pg_terminate_backend({session})"),
            };

            // Nobody has noticed the end. The connection was last known to be good at its last answer, and not at its return.
            let long = settings("held_for_long", case_database.url())
                .max_size(2)
                .validate_after("50ms");
            let engine: Engine<$database> = started(&long).await?;
            let (mut held, mut other) =
                future::try_join(engine.acquire(), engine.acquire()).await?;
            let id: i64 = sqlx::query_scalar(session).fetch_one(&mut held).await?;
            <$database>::run(&mut other, &end(id)).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(held);
            // The other slot is taken.
            sqlx::query("SELECT 1").execute(&engine).await?;
            drop(other);
            engine.close_connection_pool().await;

            // Another connection was found broken since its last answer.
            let meanwhile = settings("held_meanwhile", case_database.url())
                .max_size(3)
                .validate_after("1h");
            let engine: Engine<$database> = started(&meanwhile).await?;
            let all = future::try_join3(engine.acquire(), engine.acquire(), engine.acquire());
            let (mut held, mut broken, mut other) = all.await?;
            for connection in [&mut held, &mut broken] {
                let id: i64 = sqlx::query_scalar(session).fetch_one(connection).await?;
                <$database>::run(&mut other, &end(id)).await?;
            }
            let error = sqlx::query("SELECT 1").execute(&mut broken).await;
            ensure!(error.is_err());
            drop(broken);
            eventually("it is closed", async || {
                // Not `size`: the pool may open another one at once.
                let status = engine.status();
                ensure!(status.in_use == 2, "{status:?}");
                Ok(())
            })
            .await?;
            drop(held);
            sqlx::query("SELECT 1").execute(&engine).await?;
            drop(other);
            engine.close_connection_pool().await;
            Ok(())
        }
    };
}

held!(
    a_session_that_ended_while_it_was_held_is_replaced_on_postgres,
    Postgres
);
held!(
    a_session_that_ended_while_it_was_held_is_replaced_on_mariadb,
    MySql
);

/// A value that the driver cannot send.
struct Unsendable;

impl sqlx::Type<Postgres> for Unsendable {
    fn type_info() -> PgTypeInfo {
        <i32 as sqlx::Type<Postgres>>::type_info()
    }
}

impl sqlx::Encode<'_, Postgres> for Unsendable {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Err("it cannot be sent".into())
    }
}

/// The driver refuses a statement alone, and asks the server nothing.
#[tokio::test]
async fn an_error_of_the_driver_alone_does_not_show_that_a_session_lives() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("alone").await? else {
        return Ok(());
    };
    let settings = settings("driver_alone", case_database.url())
        .max_size(1)
        .validate_after("500ms");
    let engine: PgEngine = started(&settings).await?;
    let session: i64 = sqlx::query_scalar("SELECT pg_backend_pid()::int8")
        .fetch_one(&engine)
        .await?;
    let end = format!("SELECT pg_terminate_backend({session})");
    case_database.run::<Postgres>(&end).await?;
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let refused = sqlx::query("SELECT $1").bind(Unsendable).execute(&engine);
        let error = refused.await.err().context("it was sent")?;
        ensure!(matches!(error, sqlx::Error::Encode(_)), "{error}");
    }
    sqlx::query("SELECT 1").execute(&engine).await?;
    engine.close_connection_pool().await;
    Ok(())
}

/// At its limit, a close does not name code that has given its checkout back, although the connection is still being recovered.
async fn recovered_at_the_close<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let settings = settings("recovered", case_database.url()).close_timeout("300ms");
    let engine: Engine<DB> = started(&settings).await?;
    let sql = DB::SLEEP.context("it cannot sleep")?;
    let slow = tokio::spawn(DB::answer_on(engine.clone(), sql));
    case_database.one_runs("3600").await?;
    slow.abort();
    let _ = slow.await;
    let report = engine.close_connection_pool().await;
    ensure!(report.is_clean(), "{report}");
    case_database.no_session_left().await
}

/// The begin of sqlx's transaction on a checkout, which is cancelled after it was sent.
macro_rules! cancelled_begin {
    ($name:ident, $database:ty) => {
        #[tokio::test]
        async fn $name() -> anyhow::Result<()> {
            let Some(case_database) = CaseDatabase::of::<$database>("cancelled_begin").await?
            else {
                return Ok(());
            };
            case_database
                .run::<$database>("CREATE TABLE entry (id INTEGER)")
                .await?;
            let settings = settings("cancelled_begin", case_database.url()).max_size(1);
            let engine: Engine<$database> = started(&settings).await?;
            let mut checkout = engine.acquire().await?;
            while let Some(begun) = Acquire::begin(&mut checkout).now_or_never() {
                // It was answered at once. Its rollback is sent before the next `BEGIN`.
                drop(begun?);
            }
            sqlx::query("INSERT INTO entry VALUES (1)")
                .execute(&mut checkout)
                .await?;
            while let Some(begun) = Acquire::begin(&mut checkout).now_or_never() {
                // It was answered at once. Its rollback is sent before the next `BEGIN`.
                drop(begun?);
            }
            let mut transaction = Acquire::begin(&mut checkout).await?;
            sqlx::query("INSERT INTO entry VALUES (2)")
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            drop(checkout);
            engine.close_connection_pool().await;
            let count = case_database.answer::<$database>("SELECT count(*) FROM entry");
            ensure!(count.await? == 2);
            Ok(())
        }
    };
}

cancelled_begin!(
    a_cancelled_begin_on_a_checkout_is_undone_on_postgres,
    Postgres
);
cancelled_begin!(a_cancelled_begin_on_a_checkout_is_undone_on_mariadb, MySql);

/// The pool does not see what runs on the driver's connection of a transaction.
#[tokio::test]
async fn autocommit_that_was_turned_off_inside_a_transaction_is_not_handed_on() -> anyhow::Result<()>
{
    let Some(case_database) = CaseDatabase::of::<MySql>("autocommit_inside").await? else {
        return Ok(());
    };
    case_database
        .run::<MySql>("CREATE TABLE entry (id INTEGER)")
        .await?;
    let settings = settings("autocommit_inside", case_database.url()).max_size(1);
    let engine: MySqlEngine = started(&settings).await?;
    let mut transaction = engine.begin().await?;
    let connection: &mut MySqlConnection = &mut transaction;
    MySql::run(connection, "SET autocommit = 0").await?;
    transaction.commit().await?;
    sqlx::query("INSERT INTO entry VALUES (1)")
        .execute(&engine)
        .await?;
    engine.close_connection_pool().await;
    let count = case_database.answer::<MySql>("SELECT count(*) FROM entry");
    ensure!(count.await? == 1);
    Ok(())
}

/// Locks on tables outlast a rollback.
#[tokio::test]
async fn on_mariadb_no_table_stays_locked() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("locked").await? else {
        return Ok(());
    };
    let settings = settings("locked", case_database.url()).max_size(2);
    let engine: MySqlEngine = started(&settings).await?;
    sqlx::raw_sql("CREATE TABLE entry (id INTEGER); CREATE TABLE other (id INTEGER)")
        .execute(&engine)
        .await?;
    for lock in [
        "LOCK TABLES entry WRITE",
        "SET STATEMENT max_statement_time = 5 FOR LOCK TABLES entry WRITE",
    ] {
        let mut locks = engine.acquire().await?;
        sqlx::raw_sql(lock).execute(&mut locks).await?;
        drop(locks);
        let checkouts = bounded("both", future::try_join(engine.acquire(), engine.acquire()));
        let (mut one, mut two) = checkouts.await??;
        for checkout in [&mut one, &mut two] {
            let insert =
                sqlx::raw_sql("INSERT INTO entry VALUES (1); INSERT INTO other VALUES (1)");
            bounded("an insert", insert.execute(checkout)).await??;
        }
    }
    engine.close_connection_pool().await;
    Ok(())
}

/// After an error of the driver half-way through a statement, which each engine runs as its own kind of statement.
macro_rules! given_up {
    ($name:ident, $database:ty, $half:expr) => {
        #[tokio::test]
        async fn $name() -> anyhow::Result<()> {
            let Some(case_database) = CaseDatabase::of::<$database>("given_up").await? else {
                return Ok(());
            };
            let settings = settings("given_up", case_database.url()).max_size(1);
            let engine: Engine<$database> = started(&settings).await?;
            sqlx::raw_sql("CREATE TABLE entry (id INTEGER)")
                .execute(&engine)
                .await?;

            // The next statement, and either end.
            for commits in [false, true] {
                let mut transaction = engine.begin().await?;
                let half = $half.execute(&mut *transaction).await;
                half.err().context("the driver took it")?;
                let next = sqlx::query("SELECT 1").execute(&mut *transaction);
                let next = bounded("the next statement", next).await?;
                ensure!(next.is_err(), "{next:?}");
                if commits {
                    let committed = bounded("the commit", transaction.commit()).await?;
                    let error = committed.err().context("it was committed")?;
                    let found = TransactionError::find(&error);
                    ensure!(
                        matches!(found, Some(TransactionError::UnreadAnswer { .. })),
                        "{error}"
                    );
                } else {
                    let _ = bounded("the rollback", transaction.rollback()).await?;
                }
            }
            // An inner level, whose error is passed on, and one whose error is not.
            for passes_on in [true, false] {
                let outer = engine.transaction(async |transaction| {
                    transaction
                        .transaction(async |inner| match $half.execute(inner).await {
                            Err(error) if passes_on => Err(error),
                            _ => sqlx::Result::Ok(()),
                        })
                        .await
                });
                let outer = bounded("the outer transaction", outer).await?;
                ensure!(outer.is_err(), "it was committed");
            }
            // A stream of a checkout.
            let mut checkout = engine.acquire().await?;
            let half = $half.execute(&mut checkout).await;
            half.err().context("the driver took it")?;
            let rows = sqlx::query("SELECT 1").fetch_all(&mut checkout);
            ensure!(bounded("the rows", rows).await?.is_err());
            drop(checkout);

            // Others are not affected.
            let one = sqlx::query("SELECT 1").execute(&engine);
            bounded("the next user", one).await??;
            engine.close_connection_pool().await;
            case_database.no_session_left().await
        }
    };
}

given_up!(
    what_the_driver_gives_up_ends_a_transaction_on_postgres,
    Postgres,
    sqlx::raw_sql("COPY entry FROM STDIN")
);
given_up!(
    what_the_driver_gives_up_ends_a_transaction_on_mariadb,
    MySql,
    sqlx::query("SELECT ?, ?").bind(1)
);

/// Runs a statement for long and drops it, once the server runs it.
async fn cancelled<DB: Sql>(
    case_database: &CaseDatabase,
    connection: &mut DB::Connection,
) -> anyhow::Result<()> {
    let slow = DB::run(connection, DB::SLEEP.context("nothing runs for long here")?);
    tokio::select! {
        ended = slow => ended.context("it was to be cancelled"),
        running = case_database.one_runs("3600") => running.map(drop),
    }
}

async fn evicted<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let settings = settings("evicted", case_database.url()).max_size(1);
    let engine: Engine<DB> = started(&settings).await?;
    let mut checkout = engine.acquire().await?;
    cancelled::<DB>(&case_database, checkout.as_mut()).await?;
    engine.evict();
    drop(checkout);
    // The slot returns with the end of its session, so that there are never two.
    drop(bounded("the next checkout", engine.acquire()).await??);
    ensure!(case_database.sessions().await? == Some(1));
    engine.close_connection_pool().await;
    case_database.no_session_left().await
}

async fn closed<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&settings("closed", case_database.url()).max_size(1)).await?;
    let mut checkout = engine.acquire().await?;
    cancelled::<DB>(&case_database, checkout.as_mut()).await?;
    let closed = bounded("the close of the checkout", checkout.close()).await?;
    ensure!(closed.is_ok());
    case_database.no_session_left().await?;
    engine.close_connection_pool().await;
    Ok(())
}

async fn before_the_start<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = engine_finder_with(&settings("early", case_database.url()))?;
    let mut checkout = engine.acquire().await?;
    cancelled::<DB>(&case_database, checkout.as_mut()).await?;
    drop(checkout);
    bounded("the close", poolhouse::wait_closed()).await?;
    case_database.no_session_left().await
}

/// The server answers a cancelled statement with an error. It is there, and so is the session.
async fn refused<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    let engine: Engine<DB> = started(&settings("refused", url).max_size(1)).await?;
    let mut checkout = engine.acquire().await?;
    proxy.stop();
    let refused = DB::run(checkout.as_mut(), "SELECT nothing FROM nowhere");
    ensure!(
        tokio::time::timeout(Duration::from_millis(100), refused)
            .await
            .is_err()
    );
    drop(checkout);
    proxy.pass();
    drop(bounded("the next checkout", engine.acquire()).await??);
    let status = engine.status();
    ensure!(status.opened == 1 && status.broken == 0, "{status:?}");
    ensure!(engine.readiness() == Readiness::Ready);
    engine.close_connection_pool().await;
    case_database.closed_in_good_order().await
}

async fn panics<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let settings =
        settings("panics", case_database.url()).before_connect(|options: PgConnectOptions| async {
            assert!(options.get_host().is_empty(), "no secrets today");
            anyhow::Ok(options)
        });
    let started = started::<DB>(&settings).await;
    let said = started.err().context("it has started")?;
    let said = format!("{said:?}");
    ensure!(said.contains("before_connect panicked"), "{said}");
    Ok(())
}

async fn outside<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&settings("outside", case_database.url())).await?;
    let asked = thread::spawn({
        let engine = engine.clone();
        move || {
            let asked = engine.health_within(Duration::from_secs(1)).now_or_never();
            asked.map(|answer| answer.map(drop).map_err(|error| error.to_string()))
        }
    });
    let asked = tokio::task::spawn_blocking(move || asked.join()).await?;
    let answer = asked.ok().context("it panicked")?;
    let said = answer
        .context("it waits")?
        .err()
        .context("it has answered")?;
    ensure!(said.contains("inside a tokio runtime"), "{said}");
    engine.close_connection_pool().await;
    Ok(())
}

async fn literals<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let settings = settings("literals", case_database.url())
        .max_size(1)
        .acquire_timeout("300ms")
        .close_timeout("300ms");
    let engine: Engine<DB> = started(&settings).await?;
    let sql = "SELECT 'n3w-p4ss' AS password, pg_sleep(3600)";
    let slow = tokio::spawn(DB::answer_on(engine.clone(), sql));
    case_database.one_runs("3600").await?;
    let error = engine.acquire().await.err().context("it is free")?;
    let said = AcquireError::find(&error)
        .context("another error")?
        .to_string();
    let report = engine.close_connection_pool().await.to_string();
    for said in [said, report] {
        ensure!(
            said.contains("SELECT '…' AS password, pg_sleep(3600)") && !said.contains("n3w"),
            "{said}"
        );
    }
    let _ = slow.await;
    Ok(())
}

/// The server accepts and is silent; nothing of what a cancelled start began is waited for.
async fn silent_start<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    proxy.black_hole();
    let settings = settings("silent_start", &url)
        .start_timeout("1h")
        .connect_timeout("1h");
    let engine: Engine<DB> = engine_finder_with(&settings)?;
    let start = tokio::spawn({
        let engine = engine.clone();
        async move { engine.start_connection_pool().await }
    });
    proxy.open_become(1).await?;
    bounded("the close", engine.close_connection_pool()).await?;
    bounded("the rest", poolhouse::wait_closed()).await?;
    ensure!(start.await?.is_err());
    Ok(())
}

/// The driver does not count the answers to a `COPY`, so they may be unread while it believes to be idle.
#[tokio::test]
async fn an_unread_copy_is_not_handed_on() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("unread_copy").await? else {
        return Ok(());
    };
    case_database
        .run::<Postgres>("CREATE TABLE entry (id INTEGER)")
        .await?;
    let engine: PgEngine =
        started(&settings("unread_copy", case_database.url()).max_size(1)).await?;
    for step in 0..4 {
        let mut checkout = engine.acquire().await?;
        match step {
            0 => drop(checkout.copy_in_raw("COPY entry FROM STDIN").await?),
            1 => {
                let copied = checkout.copy_out_raw("COPY missing TO STDOUT").await;
                ensure!(copied.is_err());
            }
            2 => {
                let rows = "COPY (SELECT * FROM generate_series(1, 10000)) TO STDOUT";
                drop(checkout.copy_out_raw(rows).await?);
            }
            _ => {
                let copy = checkout.copy_in_raw("COPY entry FROM STDIN").await?;
                let _ = copy.finish().now_or_never();
            }
        }
        drop(checkout);
        let next = bounded("the next", sqlx::raw_sql("SELECT 7").fetch_one(&engine)).await??;
        ensure!(next.try_get::<i32, _>(0)? == 7, "step {step}");
        let updated = sqlx::query("UPDATE entry SET id = $1")
            .bind(1)
            .execute(&engine)
            .await?;
        ensure!(updated.rows_affected() == 0, "step {step}: {updated:?}");
        ensure!(engine.readiness() == Readiness::Ready, "step {step}");
    }
    engine.close_connection_pool().await;
    Ok(())
}

/// A failed `COPY` fails the transaction, and its unread answer must not be taken for that to the `COMMIT`.
#[tokio::test]
async fn a_transaction_with_an_unread_copy_is_not_committed() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("copy_commit").await? else {
        return Ok(());
    };
    case_database
        .run::<Postgres>("CREATE TABLE entry (id INTEGER)")
        .await?;
    let engine: PgEngine =
        started(&settings("copy_commit", case_database.url()).max_size(1)).await?;
    for rolls_back in [false, true] {
        let mut transaction = engine.begin().await?;
        sqlx::query("INSERT INTO entry VALUES (1)")
            .execute(&mut transaction)
            .await?;
        let copied = transaction.copy_out_raw("COPY missing TO STDOUT").await;
        let is_refused = copied.is_err();
        drop(copied);
        ensure!(is_refused);
        if rolls_back {
            transaction.rollback().await?;
        } else {
            let error = transaction.commit().await.err();
            let error = error.context("a failed transaction is committed")?;
            let found = TransactionError::find(&error);
            ensure!(
                matches!(found, Some(TransactionError::UnreadAnswer { .. })),
                "{error}"
            );
        }
        let next = bounded("the next", sqlx::raw_sql("SELECT 7").fetch_one(&engine)).await??;
        ensure!(next.try_get::<i32, _>(0)? == 7);
    }
    let count = case_database
        .answer::<Postgres>("SELECT count(*) FROM entry")
        .await?;
    ensure!(count == 0, "{count}");
    engine.close_connection_pool().await;
    Ok(())
}

/// The driver of MySQL does not count the answer to a ping, nor that of a `prepare`.
#[tokio::test]
async fn a_cancelled_ping_is_not_handed_on() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("cancelled_ping").await? else {
        return Ok(());
    };
    let (proxy, url) = through_proxy(&case_database)?;
    let engine: MySqlEngine = started(&settings("cancelled_ping", url).max_size(1)).await?;
    let limit = Duration::from_millis(50);
    for step in 0..3 {
        // The connection is opened, so that only the answer is late.
        let mut checkout = engine.acquire().await?;
        match step {
            0 => {
                drop(checkout);
                proxy.stop();
                ensure!(engine.health_within(limit).await.is_err());
            }
            1 => {
                proxy.stop();
                ensure!(tokio::time::timeout(limit, checkout.ping()).await.is_err());
                drop(checkout);
            }
            _ => {
                proxy.stop();
                let prepared =
                    sqlx::Executor::prepare(&mut checkout, sqlx::SqlSafeStr::into_sql_str("DO 1"));
                ensure!(tokio::time::timeout(limit, prepared).await.is_err());
                drop(checkout);
            }
        }
        proxy.pass();
        let next = bounded("the next", sqlx::raw_sql("SELECT 7").fetch_one(&engine)).await??;
        ensure!(next.try_get::<i64, _>(0)? == 7, "step {step}");
        let transaction = engine.begin().await?;
        transaction.commit().await?;
        ensure!(engine.readiness() == Readiness::Ready, "step {step}");
    }
    engine.close_connection_pool().await;
    Ok(())
}

/// The driver of MySQL then expects one answer, and the server sends descriptions of the parameters and columns too.
#[tokio::test]
async fn a_statement_that_is_cancelled_while_it_is_prepared_ends_the_transaction()
-> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("cancelled_prepare").await? else {
        return Ok(());
    };
    let (proxy, url) = through_proxy(&case_database)?;
    let engine: MySqlEngine = started(&settings("cancelled_prepare", url).max_size(1)).await?;
    sqlx::raw_sql("CREATE TABLE entry (id INTEGER)")
        .execute(&engine)
        .await?;
    let limit = Duration::from_millis(50);
    for (columns, is_nested) in [("id", false), ("id, id, id", true), ("id", true)] {
        let mut tx = engine.begin().await?;
        sqlx::query("INSERT INTO entry VALUES (1)")
            .execute(&mut tx)
            .await?;
        // Each text is new to the driver.
        let text: &'static str = String::leak(format!(
            "SELECT {columns} FROM entry WHERE id = ? -- {is_nested}"
        ));
        let cancelled = if is_nested {
            let work = tx.transaction::<_, sqlx::Error, _>(async |nested| {
                proxy.stop();
                sqlx::query(text).bind(1).execute(nested).await
            });
            tokio::time::timeout(limit * 4, work).await.is_err()
        } else {
            proxy.stop();
            let work = sqlx::query(text).bind(1).execute(&mut tx);
            tokio::time::timeout(limit, work).await.is_err()
        };
        ensure!(cancelled, "it was answered");
        proxy.pass();
        if is_nested {
            let next = sqlx::query("SELECT 1").execute(&mut tx);
            ensure!(bounded("the next statement", next).await?.is_err());
        }
        let committed = bounded("the commit", tx.commit()).await?;
        ensure!(committed.is_err(), "{columns}: it is committed");
        let rows = sqlx::query_scalar("SELECT count(*) FROM entry").fetch_one(&engine);
        let rows: i64 = bounded("the count", rows).await??;
        ensure!(rows == 0, "{columns}: {rows} rows");
    }
    engine.close_connection_pool().await;
    Ok(())
}

/// The statement ends well, only later than its caller.
#[tokio::test]
async fn a_transaction_goes_on_after_a_cancelled_statement_that_ends_well() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("cancelled_sleep").await? else {
        return Ok(());
    };
    let engine: MySqlEngine =
        started(&settings("cancelled_sleep", case_database.url()).max_size(1)).await?;
    sqlx::raw_sql("CREATE TABLE entry (id INTEGER)")
        .execute(&engine)
        .await?;
    let limit = Duration::from_millis(300);
    let mut tx = engine.begin().await?;
    for _ in 0..2 {
        let sleep = sqlx::query("SELECT SLEEP(1)").execute(&mut tx);
        ensure!(tokio::time::timeout(limit, sleep).await.is_err());
    }
    sqlx::query("INSERT INTO entry VALUES (1)")
        .execute(&mut tx)
        .await?;
    tx.commit().await?;
    let rows = case_database.answer::<MySql>("SELECT count(*) FROM entry");
    ensure!(rows.await? == 1);
    engine.close_connection_pool().await;
    Ok(())
}

/// On MySQL it begins a transaction also where none was open.
#[tokio::test]
async fn a_chained_end_leaves_no_transaction_to_the_next_user() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("chained").await? else {
        return Ok(());
    };
    let engine: MySqlEngine =
        started(&settings("chained", case_database.url()).max_size(1)).await?;
    sqlx::raw_sql("CREATE TABLE entry (id INTEGER)")
        .execute(&engine)
        .await?;
    for (rows, end) in (1..).zip(["COMMIT AND CHAIN", "ROLLBACK AND CHAIN"]) {
        sqlx::raw_sql(end).execute(&engine).await?;
        sqlx::query("INSERT INTO entry VALUES (1)")
            .execute(&engine)
            .await?;
        let written = case_database.answer::<MySql>("SELECT count(*) FROM entry");
        ensure!(written.await? == rows, "after {end}");
    }
    engine.close_connection_pool().await;
    Ok(())
}

/// The server closes the session after the error.
#[tokio::test]
async fn a_packet_above_the_servers_limit_costs_the_next_user_nothing() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("packet").await? else {
        return Ok(());
    };
    let engine: MySqlEngine = started(&settings("packet", case_database.url()).max_size(1)).await?;
    let limit = "SELECT CAST(@@max_allowed_packet AS SIGNED)";
    let limit = usize::try_from(case_database.answer::<MySql>(limit).await?)?;
    let large = "x".repeat(limit + limit / 64);
    for _ in 0..3 {
        let refused = sqlx::query("SELECT length(?)").bind(&large);
        ensure!(refused.execute(&engine).await.is_err(), "it is accepted");
        sqlx::query("SELECT 1").execute(&engine).await?;
    }
    engine.close_connection_pool().await;
    Ok(())
}

/// `autocommit` may be turned off by a routine, and in a comment that the server executes.
#[tokio::test]
async fn autocommit_is_on_for_the_next_user() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("autocommit").await? else {
        return Ok(());
    };
    for statement in [
        "CREATE TABLE entry (id INTEGER)",
        "CREATE PROCEDURE imports() BEGIN SET autocommit = 0; START TRANSACTION; COMMIT; END",
    ] {
        case_database.run::<MySql>(statement).await?;
    }
    let engine: MySqlEngine =
        started(&settings("autocommit", case_database.url()).max_size(1)).await?;
    let mut written = 0;
    for off in [
        "CALL imports()",
        "EXECUTE IMMEDIATE 'SET autocommit = 0'",
        "# off\nSET autocommit = 0",
        "/*!40101 SET autocommit = 0 */",
        "SET autocommit = 0",
    ] {
        sqlx::raw_sql(off).execute(&engine).await?;
        sqlx::query("INSERT INTO entry VALUES (1)")
            .execute(&engine)
            .await?;
        written += 1;
        let count = case_database
            .answer::<MySql>("SELECT count(*) FROM entry")
            .await?;
        ensure!(count == written, "after {off}: {count} of {written} rows");
    }
    // What is restored costs no connection.
    let before = engine.status().opened;
    let mut checkout = engine.acquire().await?;
    for statement in [
        "SET autocommit = 0",
        "INSERT INTO entry VALUES (1)",
        "COMMIT",
        "SET autocommit = 1",
    ] {
        sqlx::raw_sql(statement).execute(&mut checkout).await?;
    }
    drop(checkout);
    sqlx::raw_sql("SELECT 1").execute(&engine).await?;
    let after = engine.status().opened;
    ensure!(after == before, "{before} became {after}");
    engine.close_connection_pool().await;
    Ok(())
}

/// On SQLite, a savepoint outside of a transaction begins one.
#[tokio::test]
async fn a_savepoint_of_a_statement_is_not_handed_on() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Sqlite>("savepoint").await? else {
        return Ok(());
    };
    case_database
        .run::<Sqlite>("CREATE TABLE entry (id INTEGER)")
        .await?;
    let engine: SqliteEngine =
        started(&settings("savepoint", case_database.url()).max_size(1)).await?;
    sqlx::query("SAVEPOINT here").execute(&engine).await?;
    sqlx::query("INSERT INTO entry VALUES (1)")
        .execute(&engine)
        .await?;
    let transaction = engine.begin().await?;
    transaction.rollback().await?;
    let count = case_database
        .answer::<Sqlite>("SELECT count(*) FROM entry")
        .await?;
    ensure!(count == 1, "an acknowledged row is gone");
    engine.close_connection_pool().await;
    Ok(())
}

/// sqlx accepts a semicolon and a comment after the statement.
#[tokio::test]
async fn a_begin_may_end_in_a_semicolon_or_a_comment() -> anyhow::Result<()> {
    if let Some(case_database) = CaseDatabase::of::<Postgres>("begin_with").await? {
        begin_with::<Postgres>(
            "begin_with_pg",
            &case_database,
            &["BEGIN READ WRITE; ", "BEGIN -- report"],
        )
        .await?;
    }
    if let Some(case_database) = CaseDatabase::of::<MySql>("begin_with").await? {
        begin_with::<MySql>(
            "begin_with_my",
            &case_database,
            &["START TRANSACTION;", "START TRANSACTION # report"],
        )
        .await?;
    }
    Ok(())
}

async fn begin_with<DB: Sql>(
    name: &str,
    case_database: &CaseDatabase,
    statements: &[&'static str],
) -> anyhow::Result<()> {
    case_database
        .run::<DB>("CREATE TABLE entry (id INTEGER)")
        .await?;
    let engine: Engine<DB> = started(&settings(name, case_database.url())).await?;
    for (number, statement) in (1..).zip(statements) {
        let mut transaction = engine.begin_with(*statement).await?;
        DB::run(transaction.as_mut(), "INSERT INTO entry VALUES (1)").await?;
        transaction.commit().await?;
        let count = case_database
            .answer::<DB>("SELECT count(*) FROM entry")
            .await?;
        ensure!(count == number, "{statement}");
    }
    engine.close_connection_pool().await;
    Ok(())
}

/// pgbouncer answers a login without its server, and refuses the first query.
#[tokio::test]
async fn a_start_waits_for_the_server_behind_a_pooler() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("behind").await? else {
        return Ok(());
    };
    let (proxy, _) = through_proxy(&case_database)?;
    let pooler = PgBouncer::start_before(
        case_database.database()?,
        proxy.address(),
        Mode::Transaction,
        &[("server_login_retry", "1"), ("server_connect_timeout", "1")],
    )
    .await?;
    // The pooler knows its server, and then loses it.
    let settings = settings("behind", pooler.url())
        .pooler("pgbouncer")
        .start_timeout("20s")
        .max_size(1);
    let first: PgEngine = started(&settings).await?;
    first.close_connection_pool().await;
    proxy.refuse();
    proxy.reset();
    let heard = poolhouse_tests::Heard::here();
    let second: PgEngine = engine_finder_with(&settings.clone().engine("behind_2"))?;
    let back = async {
        heard
            .line("the pooler has no session on its server")
            .await?;
        proxy.pass();
        anyhow::Ok(())
    };
    let start = async { anyhow::Ok(second.start_connection_pool().await?) };
    bounded("the start", async { tokio::try_join!(start, back) }).await??;
    sqlx::query("SELECT 1").execute(&second).await?;
    second.close_connection_pool().await;
    Ok(())
}
