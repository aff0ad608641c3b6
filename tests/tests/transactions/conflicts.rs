//! Special conflicts: at the commit, at a lock's timeout, and a commit without an answer.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use poolhouse::{
    IsolationLevel, MySqlEngine, PgEngine, Settings, SqliteEngine, TransactionError,
    TransactionOptions, engine_finder_with,
};
use poolhouse_tests::{CaseDatabase, Kind, PrivateServer, Proxy, Sql};
use sqlx::error::DatabaseError;
use sqlx::{Connection, MySql, MySqlConnection, PgConnection, Postgres, Sqlite, SqliteConnection};
use tokio::sync::{Barrier, Notify, oneshot};

const TABLE: &str = "CREATE TABLE entry (id INTEGER PRIMARY KEY, value INTEGER NOT NULL); \
                     INSERT INTO entry VALUES (1, 0), (2, 0)";
const ONE: &str = "UPDATE entry SET value = value + 1 WHERE id = 1";
const TWO: &str = "UPDATE entry SET value = value + 1 WHERE id = 2";

/// Each reads a row that the other writes. Both write before either commits, so that only a commit can fail.
#[tokio::test]
async fn a_write_skew_that_shows_at_the_commit_is_run_again() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("skew").await? else {
        return Ok(());
    };
    let settings = Settings::new().engine("skew").url(case_database.url());
    let db: PgEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql(TABLE).execute(&db).await?;

    let both = Arc::new(Barrier::new(2));
    let (runs, ends) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let options = TransactionOptions::new().isolation(IsolationLevel::Serializable);
    let one = async |write: &'static str| {
        let first_time = AtomicBool::new(true);
        db.transaction_with::<_, sqlx::Error, _, _>(options.clone(), async |transaction| {
            runs.fetch_add(1, Relaxed);
            let other = first_time.swap(false, Relaxed).then_some(&both);
            sqlx::query("SELECT sum(value) FROM entry")
                .execute(&mut *transaction)
                .await?;
            if let Some(other) = other {
                other.wait().await;
            }
            sqlx::query(write).execute(transaction).await?;
            if let Some(other) = other {
                other.wait().await;
            }
            ends.fetch_add(1, Relaxed);
            sqlx::Result::Ok(())
        })
        .await
    };
    let (first, second) = tokio::join!(one(ONE), one(TWO));
    first.context("the first")?;
    second.context("the second")?;
    let (runs, ends) = (runs.into_inner(), ends.load(Relaxed));
    ensure!(
        runs == 3 && ends == 3,
        "{runs} runs, of which {ends} came to the commit"
    );
    let sum: i64 = sqlx::query_scalar("SELECT sum(value) FROM entry")
        .fetch_one(&db)
        .await?;
    ensure!(sum == 2, "{sum}");
    db.close_connection_pool().await;
    Ok(())
}

/// An engine whose sessions wait for a lock for one second, the server's shortest timeout. The messages are in a language.
async fn impatient(
    name: &str,
    language: &str,
) -> anyhow::Result<Option<(CaseDatabase, MySqlEngine)>> {
    let Some(case_database) = CaseDatabase::of::<MySql>(name).await? else {
        return Ok(None);
    };
    let settings = Settings::new()
        .engine(name)
        .url(case_database.url())
        .session(format!(
            "SET innodb_lock_wait_timeout = 1; SET lc_messages = '{language}'"
        ));
    let db: MySqlEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql(TABLE).execute(&db).await?;
    Ok(Some((case_database, db)))
}

#[tokio::test]
async fn a_lock_that_was_waited_for_too_long_is_waited_for_again() -> anyhow::Result<()> {
    let Some((_case_database, db)) = impatient("patience", "de_DE").await? else {
        return Ok(());
    };
    let (locked, again) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let holder = db.transaction(async |transaction| {
        sqlx::query(ONE).execute(transaction).await?;
        locked.notify_one();
        again.notified().await;
        sqlx::Result::Ok(())
    });
    let runs = AtomicUsize::new(0);
    let waiter = async {
        locked.notified().await;
        db.transaction(async |transaction| {
            if runs.fetch_add(1, Relaxed) > 0 {
                again.notify_one();
            }
            sqlx::query(ONE).execute(transaction).await.map(drop)
        })
        .await
    };
    tokio::try_join!(holder, waiter)?;
    let runs = runs.into_inner();
    ensure!(runs > 1, "{runs} run");
    let value: i32 = sqlx::query_scalar("SELECT value FROM entry WHERE id = 1")
        .fetch_one(&db)
        .await?;
    ensure!(value == 2, "{value}");
    db.close_connection_pool().await;
    Ok(())
}

/// On MariaDB with `innodb_snapshot_isolation`, its default from 11.6.2 on, an update of a row that another transaction has
/// changed since it was read rolls the whole transaction back.
#[tokio::test]
async fn an_overtaken_snapshot_is_run_again_and_nothing_runs_after_it() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("snapshot").await? else {
        return Ok(());
    };
    let isolated = "SET innodb_snapshot_isolation = ON";
    if case_database.run::<MySql>(isolated).await.is_err() {
        // MySQL, and MariaDB before 10.6.18, do not have it.
        return Ok(());
    }
    let settings = Settings::new()
        .engine("snapshot")
        .url(case_database.url())
        .session(isolated);
    let db: MySqlEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql(TABLE).execute(&db).await?;
    let runs = AtomicUsize::new(0);
    db.transaction::<_, anyhow::Error, _>(async |transaction| {
        sqlx::query("SELECT value FROM entry WHERE id = 1")
            .execute(&mut *transaction)
            .await?;
        if runs.fetch_add(1, Relaxed) == 0 {
            sqlx::query(ONE).execute(&db).await?;
            let overtaken = sqlx::query(ONE).execute(&mut *transaction).await;
            ensure!(overtaken.is_err(), "the snapshot is not overtaken");
            let further = sqlx::query(TWO).execute(transaction).await;
            let error = further.err().context("a statement ran after it")?;
            ensure!(
                matches!(
                    TransactionError::find(&error),
                    Some(TransactionError::AfterConflict { .. })
                ),
                "{error}"
            );
            return Ok(());
        }
        sqlx::query(ONE).execute(transaction).await?;
        Ok(())
    })
    .await?;
    let runs = runs.into_inner();
    ensure!(runs == 2, "{runs} runs");
    let values: Vec<i32> = sqlx::query_scalar("SELECT value FROM entry ORDER BY id")
        .fetch_all(&db)
        .await?;
    ensure!(values == [2, 0], "{values:?}");
    // A transaction by hand is not run again, and nothing runs in it after the conflict.
    let mut by_hand = db.begin().await?;
    sqlx::query("SELECT value FROM entry WHERE id = 1")
        .execute(&mut by_hand)
        .await?;
    sqlx::query(ONE).execute(&db).await?;
    ensure!(sqlx::query(ONE).execute(&mut by_hand).await.is_err());
    ensure!(sqlx::query(TWO).execute(&mut by_hand).await.is_err());
    by_hand.rollback().await?;
    let two: i32 = sqlx::query_scalar("SELECT value FROM entry WHERE id = 2")
        .fetch_one(&db)
        .await?;
    ensure!(two == 0, "{two}");
    db.close_connection_pool().await;
    Ok(())
}

/// A member of MySQL's Group Replication rolls a transaction back because of that of another member.
#[tokio::test]
async fn a_rollback_by_group_replication_is_run_again() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("group").await? else {
        return Ok(());
    };
    let settings = Settings::new().engine("group").url(case_database.url());
    let db: MySqlEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    let runs = AtomicUsize::new(0);
    db.transaction::<_, sqlx::Error, _>(async |transaction| {
        if runs.fetch_add(1, Relaxed) == 0 {
            let conflict = "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 3101";
            sqlx::raw_sql(conflict).execute(transaction).await?;
        }
        Ok(())
    })
    .await?;
    ensure!(runs.load(Relaxed) == 2, "{} runs", runs.load(Relaxed));
    db.close_connection_pool().await;
    Ok(())
}

/// Checks the outcome of a transaction with a conflict in its first run, which may have committed before.
fn is_run_again_unless(commits: bool, ended: sqlx::Result<()>, runs: usize) -> anyhow::Result<()> {
    if !commits {
        ended?;
        ensure!(runs == 2, "{runs} runs");
        return Ok(());
    }
    let error = ended.err().context("it was run again")?;
    let found = TransactionError::find(&error);
    ensure!(
        matches!(found, Some(TransactionError::Lost { .. })) && runs == 1,
        "{error} after {runs} runs"
    );
    Ok(())
}

/// The pool does not see what runs on the driver's connection.
#[tokio::test]
async fn what_was_committed_on_the_drivers_connection_is_not_run_again() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("unseen").await? else {
        return Ok(());
    };
    let settings = Settings::new().engine("unseen").url(case_database.url());
    let db: MySqlEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    for (text, commits) in [
        ("CREATE TABLE IF NOT EXISTS other (id INTEGER)", true),
        ("SELECT 1", false),
    ] {
        let runs = AtomicUsize::new(0);
        let ended = db
            .transaction::<_, sqlx::Error, _>(async |transaction| {
                let connection: &mut MySqlConnection = transaction;
                MySql::run(connection, text).await?;
                if runs.fetch_add(1, Relaxed) == 0 {
                    let conflict = "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1205";
                    sqlx::raw_sql(conflict).execute(transaction).await?;
                }
                Ok(())
            })
            .await;
        is_run_again_unless(commits, ended, runs.into_inner())?;
    }
    db.close_connection_pool().await;
    Ok(())
}

/// As above. Postgres would say of a transaction that is still open that it has failed.
#[tokio::test]
async fn what_was_committed_on_the_drivers_connection_of_postgres_is_not_run_again()
-> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("unseen").await? else {
        return Ok(());
    };
    let settings = Settings::new()
        .engine("unseen_postgres")
        .url(case_database.url());
    let db: PgEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    let conflict = "CREATE FUNCTION conflict() RETURNS void LANGUAGE plpgsql AS \
                    $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$";
    sqlx::raw_sql(conflict).execute(&db).await?;
    for (text, commits) in [("COMMIT", true), ("SELECT 1", false)] {
        let runs = AtomicUsize::new(0);
        let ended = db
            .transaction::<_, sqlx::Error, _>(async |transaction| {
                let connection: &mut PgConnection = transaction;
                Postgres::run(connection, text).await?;
                if runs.fetch_add(1, Relaxed) == 0 {
                    sqlx::raw_sql("SELECT conflict()")
                        .execute(transaction)
                        .await?;
                }
                Ok(())
            })
            .await;
        is_run_again_unless(commits, ended, runs.into_inner())?;
    }
    db.close_connection_pool().await;
    Ok(())
}

/// As above. The conflict is the refusal of a write while another connection writes.
#[tokio::test]
async fn what_was_committed_on_the_drivers_connection_of_sqlite_is_not_run_again()
-> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Sqlite>("unseen").await? else {
        return Ok(());
    };
    let settings = Settings::new()
        .engine("unseen_sqlite")
        .url(case_database.url());
    let db: SqliteEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql(TABLE).execute(&db).await?;
    for (text, commits) in [("COMMIT", true), ("SELECT 1", false)] {
        let runs = AtomicUsize::new(0);
        let ended = db
            .transaction::<_, sqlx::Error, _>(async |transaction| {
                sqlx::raw_sql("PRAGMA busy_timeout = 0; SELECT sum(value) FROM entry")
                    .execute(&mut *transaction)
                    .await?;
                let connection: &mut SqliteConnection = transaction;
                Sqlite::run(connection, text).await?;
                let first = runs.fetch_add(1, Relaxed) == 0;
                let mut other = SqliteConnection::connect(&case_database.url()).await?;
                if first {
                    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await?;
                }
                sqlx::query(ONE).execute(transaction).await?;
                other.close().await
            })
            .await;
        is_run_again_unless(commits, ended, runs.into_inner())?;
    }
    db.close_connection_pool().await;
    Ok(())
}

/// A deadlock has rolled back the whole transaction. The pool learns it from the closure's error only.
#[tokio::test]
async fn a_deadlock_on_the_drivers_connection_of_a_nested_transaction_is_run_again()
-> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("unseen_nested").await? else {
        return Ok(());
    };
    let settings = Settings::new()
        .engine("unseen_nested")
        .url(case_database.url());
    let db: MySqlEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql(TABLE).execute(&db).await?;
    let runs = AtomicUsize::new(0);
    db.transaction::<_, sqlx::Error, _>(async |transaction| {
        sqlx::query(ONE).execute(&mut *transaction).await?;
        transaction
            .transaction::<_, sqlx::Error, _>(async |nested| {
                let connection: &mut MySqlConnection = nested;
                if runs.fetch_add(1, Relaxed) == 0 {
                    let conflict = "ROLLBACK; SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213";
                    MySql::run(connection, conflict).await?;
                }
                MySql::run(connection, TWO).await
            })
            .await
    })
    .await?;
    ensure!(runs.into_inner() == 2);
    let sum = case_database.answer::<MySql>("SELECT CAST(sum(value) AS SIGNED) FROM entry");
    ensure!(sum.await? == 2);
    db.close_connection_pool().await;
    Ok(())
}

/// A transaction that has read is refused at once while another one writes. One that begins with a write waits.
#[tokio::test]
async fn on_sqlite_a_reader_that_wants_to_write_beside_a_writer_is_run_again() -> anyhow::Result<()>
{
    let Some(case_database) = CaseDatabase::of::<Sqlite>("upgrade").await? else {
        return Ok(());
    };
    let settings = Settings::new().engine("upgrade").url(case_database.url());
    let db: SqliteEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql(TABLE).execute(&db).await?;
    let mut writer = db.begin().await?;
    sqlx::query(ONE).execute(&mut writer).await?;
    let writer = Mutex::new(Some(writer));
    let runs = AtomicUsize::new(0);
    db.transaction::<_, sqlx::Error, _>(async |transaction| {
        sqlx::query("SELECT value FROM entry")
            .execute(&mut *transaction)
            .await?;
        if runs.fetch_add(1, Relaxed) > 0 {
            let writer = writer.lock().unwrap().take();
            if let Some(writer) = writer {
                writer.commit().await?;
                // This one's snapshot is older.
                return Err(sqlx::Error::WorkerCrashed);
            }
        }
        sqlx::query(TWO).execute(transaction).await.map(drop)
    })
    .await
    .err()
    .context("the second run ends without a retry")?;
    ensure!(runs.load(Relaxed) == 2, "{} runs", runs.load(Relaxed));
    db.close_connection_pool().await;
    Ok(())
}

/// In memory no transaction waits for one that waits for it.
#[tokio::test]
async fn on_sqlite_a_deadlock_in_memory_is_run_again() -> anyhow::Result<()> {
    let settings = Settings::new()
        .engine("memory_deadlock")
        .url("sqlite::memory:");
    let db: SqliteEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql("CREATE TABLE entry (value INTEGER); INSERT INTO entry VALUES (0)")
        .execute(&db)
        .await?;
    let both_have_read = Barrier::new(2);
    let runs = AtomicUsize::new(0);
    let add_one = async || {
        let first = AtomicBool::new(true);
        db.transaction(async |transaction| {
            runs.fetch_add(1, Relaxed);
            let value: i64 = sqlx::query_scalar("SELECT value FROM entry")
                .fetch_one(&mut *transaction)
                .await?;
            if first.swap(false, Relaxed) {
                both_have_read.wait().await;
            }
            sqlx::query("UPDATE entry SET value = ?")
                .bind(value + 1)
                .execute(transaction)
                .await
                .map(drop)
        })
        .await
    };
    let both = async { tokio::try_join!(add_one(), add_one()) };
    tokio::time::timeout(Duration::from_secs(30), both).await??;
    let runs = runs.into_inner();
    ensure!(runs > 2, "{runs} runs");
    let value: i64 = sqlx::query_scalar("SELECT value FROM entry")
        .fetch_one(&db)
        .await?;
    ensure!(value == 2, "{value}");
    db.close_connection_pool().await;
    Ok(())
}

/// The first statement waits for the writer before it is refused, also in a savepoint, and is not tried again.
#[tokio::test]
async fn on_sqlite_a_first_write_is_refused_once() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Sqlite>("first_write").await? else {
        return Ok(());
    };
    let settings = Settings::new()
        .engine("first_write")
        .url(case_database.url());
    let db: SqliteEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql(TABLE).execute(&db).await?;
    let mut writer = db.begin().await?;
    sqlx::query(ONE).execute(&mut writer).await?;
    let runs = AtomicUsize::new(0);
    let refused = db
        .transaction::<_, sqlx::Error, _>(async |transaction| {
            runs.fetch_add(1, Relaxed);
            transaction
                .transaction(async |nested| sqlx::query(TWO).execute(nested).await.map(drop))
                .await
        })
        .await;
    let error = refused.err().context("it has written beside the writer")?;
    let code = error.as_database_error().and_then(DatabaseError::code);
    ensure!(code.as_deref() == Some("5"), "{error}");
    ensure!(runs.load(Relaxed) == 1, "{} runs", runs.load(Relaxed));
    writer.commit().await?;
    db.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn retries_for_a_lock_that_stays_run_out() -> anyhow::Result<()> {
    let Some((_case_database, db)) = impatient("impatience", "en_US").await? else {
        return Ok(());
    };
    let mut holder = db.begin().await?;
    sqlx::query(ONE).execute(&mut holder).await?;
    let options = TransactionOptions::new().retries(1);
    let ended = db
        .transaction_with::<_, sqlx::Error, _, _>(options, async |transaction| {
            sqlx::query(ONE).execute(transaction).await.map(drop)
        })
        .await;
    let error = ended.err().context("it has the lock")?;
    let said = error.to_string();
    ensure!(
        matches!(
            TransactionError::find(&error),
            Some(TransactionError::RetriesRanOut { attempts: 2, .. })
        ),
        "{said}"
    );
    for words in [
        "engine `impatience`",
        "2 times",
        "Lock wait timeout exceeded",
        "raise its retries",
    ] {
        ensure!(said.contains(words), "{words:?} is not in: {said}");
    }
    holder.rollback().await?;
    db.close_connection_pool().await;
    Ok(())
}

/// The server rolls back and ends the whole transaction. A later statement and the commit fail, and nothing is written.
#[tokio::test]
async fn a_deadlock_ends_a_transaction_begun_by_hand() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("by_hand").await? else {
        return Ok(());
    };
    let settings = Settings::new().engine("by_hand").url(case_database.url());
    let db: MySqlEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql(TABLE).execute(&db).await?;
    let (mut first, mut second) = (db.begin().await?, db.begin().await?);
    sqlx::query(ONE).execute(&mut first).await?;
    sqlx::query(TWO).execute(&mut second).await?;
    let (crossed, crossing) = tokio::join!(
        sqlx::query(TWO).execute(&mut first),
        sqlx::query(ONE).execute(&mut second)
    );
    let (mut loser, winner) = match (crossed, crossing) {
        (Err(_), Ok(_)) => (first, second),
        (Ok(_), Err(_)) => (second, first),
        both => anyhow::bail!("{both:?}"),
    };
    let after = |ended: sqlx::Result<()>| {
        let error = ended.err().context("it is accepted")?;
        ensure!(
            matches!(
                TransactionError::find(&error),
                Some(TransactionError::AfterConflict { .. })
            ),
            "{error}"
        );
        anyhow::Ok(())
    };
    let more = sqlx::query("INSERT INTO entry VALUES (3, 0)").execute(&mut loser);
    after(more.await.map(drop))?;
    after(loser.commit().await)?;
    winner.commit().await?;
    let values: Vec<i32> = sqlx::query_scalar("SELECT value FROM entry ORDER BY id")
        .fetch_all(&db)
        .await?;
    ensure!(values == [1, 1], "{values:?}");
    db.close_connection_pool().await;
    Ok(())
}

/// The connection breaks while the server is blocked in the middle of the commit.
/// <https://mariadb.com/kb/en/backup-stage/>
#[tokio::test]
async fn a_commit_without_an_answer_is_not_repeated_on_mariadb() -> anyhow::Result<()> {
    let Some(builder) = PrivateServer::require(Kind::MariaDb) else {
        return Ok(());
    };
    let server = builder.start().await?;
    let database = server.database("unknown").await?;
    let network = Proxy::before(server.address())?;
    let settings = Settings::new()
        .engine("unknown")
        .url(database.url_through(network.address()));
    let db: MySqlEngine = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    sqlx::raw_sql(TABLE).execute(&db).await?;

    let (written, is_written) = oneshot::channel();
    let (go, may_go) = oneshot::channel();
    let once = Mutex::new(Some((written, may_go)));
    let runs = AtomicUsize::new(0);
    let transaction = db.transaction(async |transaction| {
        runs.fetch_add(1, Relaxed);
        let once = once.lock().unwrap().take();
        sqlx::query(TWO).execute(transaction).await?;
        if let Some((written, may_go)) = once {
            let _ = written.send(());
            let _ = may_go.await;
        }
        sqlx::Result::Ok(())
    });
    let fault = async {
        is_written.await?;
        let mut blocker = MySqlConnection::connect(&server.url).await?;
        sqlx::raw_sql("BACKUP STAGE START; BACKUP STAGE BLOCK_COMMIT")
            .execute(&mut blocker)
            .await?;
        let _ = go.send(());
        database
            .sessions_become("the commit is under way", |sessions| {
                sessions
                    .iter()
                    .any(|session| session.statement.contains("COMMIT"))
            })
            .await?;
        network.reset();
        sqlx::raw_sql("BACKUP STAGE END")
            .execute(&mut blocker)
            .await?;
        blocker.close().await?;
        anyhow::Ok(())
    };
    let (ended, fault) = tokio::join!(transaction, fault);
    fault?;
    let error = ended.err().context("it has an answer")?;
    ensure!(
        matches!(
            TransactionError::find(&error),
            Some(TransactionError::OutcomeUnknown { .. })
        ) && runs.load(Relaxed) == 1,
        "{error} after {runs:?} runs"
    );
    db.close_connection_pool().await;
    Ok(())
}
