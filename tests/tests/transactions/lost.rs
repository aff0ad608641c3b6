//! Transactions that end without the client, or by a statement inside them, never count as committed.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, ensure};
use poolhouse::{
    AnyEngine, Engine, MySqlEngine, PgEngine, Settings, SqliteEngine, Transaction,
    TransactionError, TransactionOptions, engine_finder_with,
};
use poolhouse_tests::{CaseDatabase, Cockroach, PgBouncer, Sql, TransactionEnder, pgbouncer::Mode};
use sqlx::{Any, AssertSqlSafe, Connection as _, Executor, MySql, Postgres, Sqlite};

const TABLE: &str = "CREATE TABLE entry (move INTEGER NOT NULL, part INTEGER NOT NULL)";

/// How a transaction is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Closure,
    ByHand,
    Scoped,
    Nested,
}

const FORMS: [Form; 4] = [Form::Closure, Form::ByHand, Form::Scoped, Form::Nested];

/// Statements that end a transaction, and may begin another.
const ENDS: [&[&str]; 4] = [
    &["ROLLBACK"],
    &["COMMIT"],
    &["ROLLBACK", "BEGIN"],
    &["COMMIT", "BEGIN"],
];

fn insert(id: i64, part: i64) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("INSERT INTO entry VALUES ({id}, {part})"))
}

macro_rules! on {
    ($module:ident, $database:ty, $engine:ty) => {
        mod $module {
            use super::*;

            async fn begin() -> anyhow::Result<Option<(CaseDatabase, TransactionEnder, $engine)>> {
                let Some(case_database) = CaseDatabase::of::<$database>("lost").await? else {
                    return Ok(None);
                };
                let ender = TransactionEnder::before(case_database.database()?).await?;
                let settings = Settings::new()
                    .engine(concat!("lost_", stringify!($module)))
                    .url(case_database.database()?.url_through(ender.address()))
                    .max_size(1);
                let engine: Engine<$database> = engine_finder_with(&settings)?;
                engine.start_connection_pool().await?;
                sqlx::raw_sql(TABLE).execute(&engine).await?;
                Ok(Some((case_database, ender, engine)))
            }

            /// Runs both parts of a move in one transaction.
            async fn run(engine: &$engine, form: Form, id: i64) -> sqlx::Result<()> {
                async fn both(
                    transaction: &mut Transaction<$database>,
                    id: i64,
                ) -> sqlx::Result<()> {
                    sqlx::query(insert(id, 1))
                        .execute(&mut *transaction)
                        .await?;
                    sqlx::query(insert(id, 2)).execute(transaction).await?;
                    Ok(())
                }
                match form {
                    Form::Closure => {
                        engine
                            .transaction(async |transaction| both(transaction, id).await)
                            .await
                    }
                    Form::Scoped => {
                        engine
                            .scoped_transaction(async |transaction| both(transaction, id).await)
                            .await
                    }
                    Form::ByHand => {
                        let mut transaction = engine.begin().await?;
                        both(&mut transaction, id).await?;
                        transaction.commit().await
                    }
                    Form::Nested => {
                        engine
                            .transaction(async |transaction| {
                                    sqlx::query(insert(id, 1))
                                        .execute(&mut *transaction)
                                        .await?;
                                    transaction
                                        .transaction(async |nested| {
                                                sqlx::query(insert(id, 2))
                                                    .execute(nested)
                                                    .await
                                                    .map(drop)
                                            })
                                        .await
                                })
                            .await
                    }
                }
            }

            async fn parts(case_database: &CaseDatabase, id: i64) -> anyhow::Result<i64> {
                let sql = format!(
                    "SELECT CAST(coalesce(sum(part), 0) AS {}) FROM entry WHERE move = {id}",
                    if stringify!($database) == "MySql" {
                        "SIGNED"
                    } else {
                        "BIGINT"
                    }
                );
                case_database.answer::<$database>(&sql).await
            }

            #[tokio::test]
            async fn at_every_boundary_between_two_commands() -> anyhow::Result<()> {
                let Some((case_database, ender, engine)) = begin().await? else {
                    return Ok(());
                };
                let mut id = 0;
                for form in FORMS {
                    for statements in ENDS {
                        let mut lost = 0;
                        for command in 0.. {
                            id += 1;
                            // This waits for the only connection, so that its recovery is not counted.
                            engine.health().await?;
                            ender.send_before(command, statements);
                            let ended = run(&engine, form, id).await;
                            // The transaction has no more commands.
                            if !ender.has_sent() {
                                ensure!(ended.is_ok(), "{ended:?}");
                                break;
                            }
                            let parts = parts(&case_database, id).await?;
                            let context = format!(
                                "{form:?}, {statements:?} before command {command}: {ended:?}, {parts}"
                            );
                            match &ended {
                                Ok(()) => ensure!(parts == 3, "half is acknowledged: {context}"),
                                Err(error) => {
                                    lost += 1;
                                    // The transaction that `BEGIN` opened is rolled back.
                                    ensure!(
                                        parts == 0 || statements != ["ROLLBACK", "BEGIN"],
                                        "{context}"
                                    );
                                    let found = TransactionError::find(error);
                                    ensure!(
                                        form == Form::Nested
                                            || matches!(found, Some(TransactionError::Lost { .. })),
                                        "{context}"
                                    );
                                }
                            }
                        }
                        // One loss before each of the four or more commands after the BEGIN.
                        ensure!(lost >= 4, "{form:?}, {statements:?}: {lost}");
                    }
                }
                engine.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn a_transaction_with_one_statement_takes_three_round_trips() -> anyhow::Result<()> {
                let Some((_case_database, ender, engine)) = begin().await? else {
                    return Ok(());
                };
                let one = "INSERT INTO entry VALUES (1, 1)";
                let by_closure = async || {
                    engine
                        .transaction(async |transaction| {
                                sqlx::query(one).execute(transaction).await.map(drop)
                            })
                        .await
                };
                let by_hand = async || {
                    let mut transaction = engine.begin().await?;
                    sqlx::query(one).execute(&mut transaction).await?;
                    transaction.commit().await
                };
                let statement = async || sqlx::query(one).execute(&engine).await.map(drop);
                // sqlx's idiom, which borrows the session and not the driver's connection.
                let reborrowed = async || {
                    let mut transaction = engine.begin().await?;
                    sqlx::query(one).execute(&mut *transaction).await?;
                    transaction.commit().await
                };
                let checkout = async || {
                    let mut checkout = engine.acquire().await?;
                    sqlx::query(one).execute(&mut *checkout).await.map(drop)
                };
                let rolled_back = async || {
                    let mut transaction = engine.begin().await?;
                    sqlx::query(one).execute(&mut transaction).await?;
                    transaction.rollback().await
                };
                // This prepares the statement.
                statement().await?;
                let mut taken = Vec::new();
                for step in 0..10 {
                    // This waits for the only connection, so that its recovery is not counted.
                    engine.health().await?;
                    ender.send_before(usize::MAX, &[]);
                    match step {
                        // Before all transactions: after one, `acquire` first corrects the driver's count.
                        0 => checkout().await?,
                        1 | 3 | 6 => by_closure().await?,
                        2 | 7 => by_hand().await?,
                        5 => rolled_back().await?,
                        8 => reborrowed().await?,
                        _ => statement().await?,
                    }
                    taken.push(ender.commands());
                }
                ensure!(taken == [1, 3, 3, 3, 1, 3, 3, 3, 3, 1], "{taken:?}");
                engine.close_connection_pool().await;
                Ok(())
            }

            /// The driver's own count of transactions is right where other code can read it.
            #[tokio::test]
            async fn the_drivers_connection_counts_right_after_it() -> anyhow::Result<()> {
                let Some((case_database, _ender, engine)) = begin().await? else {
                    return Ok(());
                };
                for id in 1..=3 {
                    run(&engine, Form::Closure, id).await?;
                    let mut checkout = engine.acquire().await?;
                    ensure!(!checkout.is_in_transaction());
                    // A transaction of the driver is a real one, and its rollback works.
                    let mut own = sqlx::Connection::begin(checkout.as_mut()).await?;
                    own.execute("INSERT INTO entry VALUES (0, 0)").await?;
                    own.rollback().await?;
                    drop(checkout);
                    // A nested one of the driver is a savepoint of ours.
                    let mut transaction = engine.begin().await?;
                    transaction.execute("INSERT INTO entry VALUES (9, 9)").await?;
                    let mut nested = transaction.begin_nested().await?;
                    nested.execute("INSERT INTO entry VALUES (8, 8)").await?;
                    nested.rollback().await?;
                    // A dropped transaction is rolled back.
                    drop(transaction);
                }
                let sql = "SELECT count(*) FROM entry WHERE move IN (0, 8, 9)";
                ensure!(case_database.answer::<$database>(sql).await? == 0);
                ensure!(parts(&case_database, 3).await? == 3);
                engine.close_connection_pool().await;
                Ok(())
            }
        }
    };
}

on!(postgres, Postgres, PgEngine);
on!(mariadb, MySql, MySqlEngine);

/// Runs a statement that ends the transaction, between two others.
macro_rules! ended_inside {
    ($database:ty, $url:expr, $table:expr, $statement:expr) => {{
        let url: String = $url;
        let settings = Settings::new()
            .engine(concat!("inside_", stringify!($database)))
            .url(url)
            .max_size(1);
        let engine: Engine<$database> = engine_finder_with(&settings)?;
        engine.start_connection_pool().await?;
        if $table {
            sqlx::raw_sql(TABLE).execute(&engine).await?;
        }
        let runs = AtomicUsize::new(0);
        let ended = engine
            .transaction(async |transaction| {
                runs.fetch_add(1, Relaxed);
                sqlx::raw_sql(insert(1, 1))
                    .execute(&mut *transaction)
                    .await?;
                // An error of a statement ends the closure. Each line is a text of its own.
                for text in str::lines($statement) {
                    sqlx::raw_sql(text).execute(&mut *transaction).await?;
                }
                sqlx::raw_sql(insert(1, 2)).execute(transaction).await?;
                sqlx::Result::Ok(())
            })
            .await;
        let runs = runs.into_inner();
        ensure!(runs == 1, "{runs} runs");
        let by_hand = async {
            let mut transaction = engine.begin().await?;
            for text in str::lines($statement) {
                sqlx::raw_sql(text).execute(&mut transaction).await?;
            }
            transaction.commit().await
        };
        let by_hand: sqlx::Result<()> = by_hand.await;
        // The connection is usable again.
        sqlx::raw_sql(insert(2, 1)).execute(&engine).await?;
        engine.close_connection_pool().await;
        (ended, by_hand)
    }};
}

fn says_ended_inside(
    (closure, by_hand): (sqlx::Result<()>, sqlx::Result<()>),
    word: &str,
) -> anyhow::Result<()> {
    for ended in [closure, by_hand] {
        let error = ended.err().context("it was taken for committed")?;
        let found = TransactionError::find(&error);
        ensure!(
            matches!(found, Some(TransactionError::EndedInside { statement, .. }) if *statement == word),
            "{word}: {error}"
        );
        ensure!(error.to_string().contains(&format!("`{word}`")), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_statement_inside_that_ends_it_is_named() -> anyhow::Result<()> {
    for word in ["COMMIT", "ROLLBACK"] {
        if let Some(case_database) = CaseDatabase::of::<Postgres>("inside").await? {
            says_ended_inside(
                ended_inside!(Postgres, case_database.url(), true, word),
                word,
            )?;
        }
        if let Some(case_database) = CaseDatabase::of::<MySql>("inside").await? {
            says_ended_inside(ended_inside!(MySql, case_database.url(), true, word), word)?;
        }
        if let Some(case_database) = CaseDatabase::of::<Sqlite>("inside").await? {
            says_ended_inside(ended_inside!(Sqlite, case_database.url(), true, word), word)?;
        }
        if let Some(case_database) = CaseDatabase::of::<Postgres>("inside").await? {
            let cockroach = Cockroach::before(case_database.database()?).await?;
            let url = cockroach.url().replacen("postgres", "cockroachdb", 1);
            says_ended_inside(ended_inside!(Postgres, url, true, word), word)?;
        }
        if let Some(case_database) = CaseDatabase::of::<Postgres>("inside").await? {
            says_ended_inside(ended_inside!(Any, case_database.url(), true, word), word)?;
        }
        if let Some(case_database) = CaseDatabase::of::<MySql>("inside").await? {
            says_ended_inside(ended_inside!(Any, case_database.url(), true, word), word)?;
        }
        if let Some(case_database) = CaseDatabase::of::<Sqlite>("inside").await? {
            says_ended_inside(ended_inside!(Any, case_database.url(), true, word), word)?;
        }
    }
    // Where nothing at the commit shows that it is another one.
    for (word, statements) in [
        ("ROLLBACK", "ROLLBACK\nBEGIN"),
        ("COMMIT", "SELECT 'a'; COMMIT; BEGIN"),
    ] {
        if let Some(case_database) = CaseDatabase::of::<Sqlite>("inside").await? {
            says_ended_inside(
                ended_inside!(Sqlite, case_database.url(), true, statements),
                word,
            )?;
        }
        if let Some(case_database) = CaseDatabase::of::<Postgres>("inside").await? {
            let cockroach = Cockroach::before(case_database.database()?).await?;
            let url = cockroach.url().replacen("postgres", "cockroachdb", 1);
            says_ended_inside(ended_inside!(Postgres, url, true, statements), word)?;
        }
    }
    // A schema change commits on MariaDB; on other databases it is part of the transaction.
    if let Some(case_database) = CaseDatabase::of::<MySql>("inside").await? {
        let create = "CREATE TABLE IF NOT EXISTS other (id INTEGER)";
        says_ended_inside(
            ended_inside!(MySql, case_database.url(), true, create),
            "CREATE",
        )?;
    }
    Ok(())
}

/// A try whose beginning may be committed is not repeated, although it meets a conflict.
#[tokio::test]
async fn what_may_be_committed_is_not_tried_again() -> anyhow::Result<()> {
    fn says_so(closure: sqlx::Result<()>) -> anyhow::Result<()> {
        let error = closure.err().context("it was taken for committed")?;
        let found = TransactionError::find(&error);
        let is_so = matches!(found, Some(TransactionError::EndedInside { .. }));
        ensure!(is_so, "{error}");
        Ok(())
    }
    if let Some(case_database) = CaseDatabase::of::<Postgres>("again").await? {
        let conflict =
            "COMMIT\nDO $$ BEGIN RAISE EXCEPTION 'a conflict' USING ERRCODE = '40001'; END $$";
        says_so(ended_inside!(Postgres, case_database.url(), true, conflict).0)?;
    }
    for conflict in [
        "COMMIT\nSIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
        "CREATE TABLE IF NOT EXISTS other (id INTEGER)\nSIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
        "SELECT 'a'; CREATE TABLE IF NOT EXISTS other (id INTEGER)\nSIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
        "BEGIN NOT ATOMIC COMMIT; END\nSIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
        "IF 1 THEN COMMIT; END IF\nSIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
        "CALL commits()\nSIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
        "EXECUTE IMMEDIATE 'COMMIT'\nSIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
        "SET STATEMENT lock_wait_timeout = 1 FOR CREATE TABLE IF NOT EXISTS other (id INTEGER)\nSIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
        "LOAD INDEX INTO CACHE entry\nSIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
    ] {
        if let Some(case_database) = CaseDatabase::of::<MySql>("again").await? {
            case_database
                .run::<MySql>("CREATE PROCEDURE commits() COMMIT")
                .await?;
            says_so(ended_inside!(MySql, case_database.url(), true, conflict).0)?;
        }
    }
    Ok(())
}

/// A deferred constraint fails at the commit, which comes after the row.
async fn takes_no_row_for_a_commit<DB: Sql>(url: String) -> anyhow::Result<()> {
    let name = format!("deferred_{}", DB::PRODUCT);
    let settings = Settings::new().engine(name).url(url).max_size(1);
    let engine: Engine<DB> = engine_finder_with(&settings)?;
    engine.start_connection_pool().await?;
    let mut checkout = engine.acquire().await?;
    let table = "CREATE TABLE part (id INTEGER PRIMARY KEY, \
        whole INTEGER REFERENCES part (id) DEFERRABLE INITIALLY DEFERRED)";
    DB::run(checkout.as_mut(), table).await?;
    drop(checkout);
    let insert = "INSERT INTO part VALUES (1, 7) RETURNING CAST(id AS BIGINT)";
    let inserted = DB::answer_on(engine.clone(), insert).await;
    ensure!(inserted.is_err(), "the row was taken for a commit");
    // And the next statement does not get that error.
    let rows = DB::answer_on(engine.clone(), "SELECT count(*) FROM part").await?;
    ensure!(rows == 0, "{rows}");
    engine.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn a_row_is_not_taken_for_a_commit() -> anyhow::Result<()> {
    if let Some(case_database) = CaseDatabase::of::<Postgres>("deferred").await? {
        takes_no_row_for_a_commit::<Postgres>(case_database.url()).await?;
    }
    if let Some(case_database) = CaseDatabase::of::<Sqlite>("deferred").await? {
        takes_no_row_for_a_commit::<Sqlite>(case_database.url()).await?;
    }
    if let Some(case_database) = CaseDatabase::of::<Postgres>("deferred").await? {
        takes_no_row_for_a_commit_of_any("any_postgres", case_database.url()).await?;
    }
    if let Some(case_database) = CaseDatabase::of::<Sqlite>("deferred").await? {
        takes_no_row_for_a_commit_of_any("any_sqlite", case_database.url()).await?;
    }
    Ok(())
}

async fn takes_no_row_for_a_commit_of_any(name: &str, url: String) -> anyhow::Result<()> {
    let settings = Settings::new().engine(name).url(url).max_size(1);
    let engine: AnyEngine = engine_finder_with(&settings)?;
    engine.start_connection_pool().await?;
    let table = "CREATE TABLE part (id INTEGER PRIMARY KEY, \
        whole INTEGER REFERENCES part (id) DEFERRABLE INITIALLY DEFERRED)";
    sqlx::raw_sql(table).execute(&engine).await?;
    let insert = "INSERT INTO part VALUES (1, 7) RETURNING id";
    let inserted = sqlx::query(insert).fetch_one(&engine).await;
    ensure!(inserted.is_err(), "the row was taken for a commit");
    // And the next statement does not get that error.
    sqlx::query("SELECT 1").fetch_one(&engine).await?;
    engine.close_connection_pool().await;
    Ok(())
}

/// After a deadlock the server has left the transaction, and would commit each further statement.
#[tokio::test]
async fn any_engine_runs_nothing_after_a_deadlock() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("any_deadlock").await? else {
        return Ok(());
    };
    let settings = Settings::new()
        .engine("any_deadlock")
        .url(case_database.url())
        .max_size(1);
    let engine: AnyEngine = engine_finder_with(&settings)?;
    engine.start_connection_pool().await?;
    let mut transaction = engine.begin().await?;
    let conflict = sqlx::raw_sql("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213")
        .execute(&mut transaction)
        .await;
    ensure!(conflict.is_err());
    let further = sqlx::raw_sql("SELECT 1").execute(&mut transaction).await;
    let error = further
        .err()
        .context("a statement ran after the deadlock")?;
    ensure!(
        matches!(
            TransactionError::find(&error),
            Some(TransactionError::AfterConflict { .. })
        ),
        "{error}"
    );
    drop(transaction);
    engine.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn sqlite_rolls_back_by_itself_and_says_so() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Sqlite>("by_itself").await? else {
        return Ok(());
    };
    let settings = Settings::new().engine("by_itself").url(case_database.url());
    let engine: SqliteEngine = engine_finder_with(&settings)?;
    engine.start_connection_pool().await?;
    sqlx::raw_sql(
        "CREATE TABLE entry (move INTEGER PRIMARY KEY ON CONFLICT ROLLBACK, part INTEGER)",
    )
    .execute(&engine)
    .await?;
    let ended: sqlx::Result<()> = engine
        .transaction(async |transaction| {
            sqlx::raw_sql(insert(1, 1))
                .execute(&mut *transaction)
                .await?;
            // The failure rolls back the whole transaction, and the closure ignores the error.
            let _ = sqlx::raw_sql(insert(1, 1)).execute(transaction).await;
            Ok(())
        })
        .await;
    let error = ended.err().context("it was taken for committed")?;
    ensure!(
        matches!(
            TransactionError::find(&error),
            Some(TransactionError::Lost { .. })
        ),
        "{error}"
    );
    // The next transaction on the same engine commits.
    let mut transaction = engine.begin().await?;
    sqlx::raw_sql(insert(2, 1))
        .execute(&mut transaction)
        .await?;
    transaction.commit().await?;
    let there = case_database
        .answer::<Sqlite>("SELECT sum(move) FROM entry")
        .await?;
    ensure!(there == 2, "{there}");
    engine.close_connection_pool().await;
    Ok(())
}

/// What opens a savepoint after the end of the transaction, and leaves it open.
#[derive(Clone, Copy, Debug)]
enum Opens {
    NestedThatFails,
    NestedThatIsDropped,
    BeginNested,
    Statement,
}

/// Ends the transaction and opens a savepoint, which begins another one on SQLite.
macro_rules! savepoint_after_the_end {
    ($database:ty, $url:expr) => {{
        let settings = Settings::new()
            .engine(concat!("savepoint_", stringify!($database)))
            .url($url)
            .max_size(1);
        let engine: Engine<$database> = engine_finder_with(&settings)?;
        engine.start_connection_pool().await?;
        let tables = "CREATE TABLE once (id INTEGER UNIQUE ON CONFLICT ROLLBACK); INSERT INTO once VALUES (1); \
            CREATE TABLE other (id INTEGER PRIMARY KEY); INSERT INTO other VALUES (1); \
            CREATE TABLE refused (id INTEGER); CREATE TRIGGER refuse BEFORE INSERT ON refused \
            BEGIN SELECT RAISE(ROLLBACK, 'refused'); END";
        sqlx::raw_sql(TABLE).execute(&engine).await?;
        sqlx::raw_sql(tables).execute(&engine).await?;
        for (end, word) in [
            ("INSERT INTO once VALUES (1)", None),
            ("INSERT OR ROLLBACK INTO other VALUES (1)", None),
            ("INSERT INTO refused VALUES (1)", None),
            ("ROLLBACK", Some("ROLLBACK")),
            ("COMMIT", Some("COMMIT")),
        ] {
            for opens in [
                Opens::NestedThatFails,
                Opens::NestedThatIsDropped,
                Opens::BeginNested,
                Opens::Statement,
            ] {
                let ended: sqlx::Result<()> = engine
                    .transaction(async |tx| {
                        sqlx::raw_sql(insert(1, 1)).execute(&mut *tx).await?;
                        // The closure ignores the error.
                        let _ = sqlx::raw_sql(end).execute(&mut *tx).await;
                        match opens {
                            Opens::NestedThatFails => {
                                let nested: sqlx::Result<()> =
                                    tx.transaction(async |_| Err(sqlx::Error::RowNotFound)).await;
                                drop(nested);
                            }
                            Opens::NestedThatIsDropped => {
                                let entered = AtomicUsize::new(0);
                                let nested = tx.transaction::<(), sqlx::Error, _>(async |_| {
                                    entered.fetch_add(1, Relaxed);
                                    std::future::pending().await
                                });
                                let mut nested = pin!(nested);
                                poll_fn(|context| match nested.as_mut().poll(context) {
                                    Poll::Pending if entered.load(Relaxed) == 0 => Poll::Pending,
                                    _ => Poll::Ready(()),
                                })
                                .await;
                            }
                            Opens::BeginNested => drop(tx.begin_nested().await),
                            Opens::Statement => {
                                let _ = sqlx::raw_sql("SAVEPOINT mine").execute(&mut *tx).await;
                            }
                        }
                        sqlx::raw_sql(insert(1, 2)).execute(&mut *tx).await?;
                        Ok(())
                    })
                    .await;
                let context = format!("{end}, {opens:?}");
                let error = ended.err().with_context(|| context.clone())?;
                let found = TransactionError::find(&error);
                match word {
                    None => ensure!(
                        matches!(found, Some(TransactionError::Lost { .. })),
                        "{context}: {error}"
                    ),
                    Some(word) => ensure!(
                        matches!(found, Some(TransactionError::EndedInside { statement, .. }) if *statement == word),
                        "{context}: {error}"
                    ),
                }
                sqlx::raw_sql("DELETE FROM entry").execute(&engine).await?;
            }
        }
        // The same in a transaction with a begin of the program's own.
        let mut transaction = engine.begin_with("BEGIN IMMEDIATE -- to write").await?;
        sqlx::raw_sql(insert(2, 1))
            .execute(&mut transaction)
            .await?;
        let _ = sqlx::raw_sql("ROLLBACK; SAVEPOINT mine")
            .execute(&mut transaction)
            .await;
        ensure!(transaction.commit().await.is_err());
        // A failed statement that ends nothing is no reason to refuse the commit.
        let mut transaction = engine.begin_with("BEGIN IMMEDIATE").await?;
        let failed = sqlx::raw_sql("INSERT INTO other VALUES (1)")
            .execute(&mut transaction)
            .await;
        ensure!(failed.is_err());
        sqlx::raw_sql(insert(3, 1))
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        engine.close_connection_pool().await;
    }};
}

/// Half a transaction would be acknowledged.
#[tokio::test]
async fn on_sqlite_a_savepoint_after_the_end_is_not_committed_for_it() -> anyhow::Result<()> {
    if let Some(case_database) = CaseDatabase::of::<Sqlite>("savepoint").await? {
        savepoint_after_the_end!(Sqlite, case_database.url());
        let left = "SELECT sum(move) FROM entry";
        ensure!(case_database.answer::<Sqlite>(left).await? == 3);
    }
    if let Some(case_database) = CaseDatabase::of::<Sqlite>("savepoint").await? {
        savepoint_after_the_end!(Any, case_database.url());
        let left = "SELECT sum(move) FROM entry";
        ensure!(case_database.answer::<Sqlite>(left).await? == 3);
    }
    Ok(())
}

/// The server has ended the transaction inside of a nested one, which then cannot end.
#[tokio::test]
async fn an_end_inside_a_nested_transaction_is_named_at_the_commit() -> anyhow::Result<()> {
    if let Some(case_database) = CaseDatabase::of::<Sqlite>("inside_nested").await? {
        let settings = Settings::new()
            .engine("inside_nested")
            .url(case_database.url())
            .max_size(1);
        let engine: SqliteEngine = engine_finder_with(&settings)?;
        engine.start_connection_pool().await?;
        sqlx::raw_sql(TABLE).execute(&engine).await?;
        sqlx::raw_sql("CREATE TABLE once (id INTEGER UNIQUE ON CONFLICT ROLLBACK); INSERT INTO once VALUES (1)")
            .execute(&engine)
            .await?;
        let ended: sqlx::Result<()> = engine
            .transaction(async |tx| {
                sqlx::raw_sql(insert(1, 1)).execute(&mut *tx).await?;
                let nested: sqlx::Result<()> = tx
                    .transaction(async |tx| {
                        sqlx::raw_sql("INSERT INTO once VALUES (1)")
                            .execute(tx)
                            .await?;
                        Ok(())
                    })
                    .await;
                drop(nested);
                // It is not committed by itself.
                let _ = sqlx::raw_sql(insert(1, 2)).execute(&mut *tx).await;
                Ok(())
            })
            .await;
        let error = ended.err().context("it was taken for committed")?;
        let found = TransactionError::find(&error);
        ensure!(
            matches!(found, Some(TransactionError::Lost { .. })),
            "{error}"
        );
        engine.close_connection_pool().await;
        let left = "SELECT count(*) FROM entry";
        ensure!(case_database.answer::<Sqlite>(left).await? == 0);
    }
    if let Some(case_database) = CaseDatabase::of::<MySql>("inside_nested").await? {
        let settings = Settings::new()
            .engine("inside_nested_mariadb")
            .url(case_database.url())
            .max_size(1);
        let engine: MySqlEngine = engine_finder_with(&settings)?;
        engine.start_connection_pool().await?;
        sqlx::raw_sql(TABLE).execute(&engine).await?;
        for on_driver in [false, true] {
            let create = "CREATE TABLE IF NOT EXISTS other (id INTEGER)";
            let ended: sqlx::Result<()> = engine
                .transaction(async |tx| {
                    sqlx::raw_sql(insert(1, 1)).execute(&mut *tx).await?;
                    let nested: sqlx::Result<()> = tx
                        .transaction(async |tx| {
                            if on_driver {
                                MySql::run(tx, create).await
                            } else {
                                sqlx::raw_sql(create).execute(tx).await.map(drop)
                            }
                        })
                        .await;
                    drop(nested);
                    // It is not committed by itself.
                    let _ = sqlx::raw_sql(insert(1, 2)).execute(&mut *tx).await;
                    Ok(())
                })
                .await;
            let error = ended.err().context("it was taken for committed")?;
            let found = TransactionError::find(&error);
            ensure!(
                match found {
                    Some(TransactionError::EndedInside { statement, .. }) =>
                        !on_driver && *statement == "CREATE",
                    Some(TransactionError::Lost { .. }) => on_driver,
                    _ => false,
                },
                "on the driver's connection: {on_driver}, {error}"
            );
        }
        engine.close_connection_pool().await;
        let left = "SELECT count(*) FROM entry WHERE part = 2";
        ensure!(case_database.answer::<MySql>(left).await? == 0);
    }
    Ok(())
}

/// A statement inside that may have committed is named before anything that says "begin again".
#[tokio::test]
async fn what_may_be_committed_is_not_reported_as_rolled_back() -> anyhow::Result<()> {
    fn says_so(ended: sqlx::Result<()>, word: &str) -> anyhow::Result<()> {
        let error = ended.err().context("it was taken for committed")?;
        let found = TransactionError::find(&error);
        ensure!(
            matches!(found, Some(TransactionError::EndedInside { statement, .. }) if *statement == word),
            "{error}"
        );
        Ok(())
    }
    if let Some(case_database) = CaseDatabase::of::<Postgres>("reported").await? {
        let settings = Settings::new().engine("reported").url(case_database.url());
        let engine: PgEngine = engine_finder_with(&settings)?;
        engine.start_connection_pool().await?;
        sqlx::raw_sql(TABLE).execute(&engine).await?;
        let ended = engine
            .transaction(async |tx| {
                sqlx::raw_sql(insert(1, 1)).execute(&mut *tx).await?;
                sqlx::raw_sql("COMMIT").execute(&mut *tx).await?;
                let _ = tx.transaction::<(), sqlx::Error, _>(async |_| Ok(())).await;
                sqlx::Result::Ok(())
            })
            .await;
        says_so(ended, "COMMIT")?;
        engine.close_connection_pool().await;
    }
    let Some(case_database) = CaseDatabase::of::<MySql>("reported").await? else {
        return Ok(());
    };
    let settings = Settings::new()
        .engine("reported_mariadb")
        .url(case_database.url());
    let engine: MySqlEngine = engine_finder_with(&settings)?;
    engine.start_connection_pool().await?;
    sqlx::raw_sql(TABLE).execute(&engine).await?;
    let create = "CREATE TABLE IF NOT EXISTS other (id INTEGER)";
    let ended = engine
        .transaction(async |tx| {
            sqlx::raw_sql(insert(1, 1)).execute(&mut *tx).await?;
            sqlx::raw_sql(create).execute(&mut *tx).await?;
            let _ = tx.transaction::<(), sqlx::Error, _>(async |_| Ok(())).await;
            sqlx::Result::Ok(())
        })
        .await;
    says_so(ended, "CREATE")?;
    let mut transaction = engine.begin().await?;
    for text in [create, "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213"] {
        let _ = sqlx::raw_sql(text).execute(&mut transaction).await;
    }
    says_so(transaction.commit().await, "CREATE")?;
    let options = TransactionOptions::new().timeout(Duration::from_secs(2));
    let ended = engine
        .transaction_with::<_, sqlx::Error, _, _>(options, async |tx| {
            sqlx::raw_sql(insert(1, 1)).execute(&mut *tx).await?;
            sqlx::raw_sql(create).execute(&mut *tx).await?;
            std::future::pending::<sqlx::Result<()>>().await
        })
        .await;
    says_so(ended, "CREATE")?;
    engine.close_connection_pool().await;
    Ok(())
}

#[allow(clippy::similar_names, reason = "the ender ends")]
#[tokio::test]
async fn any_engine_reports_like_its_database() -> anyhow::Result<()> {
    async fn lost(case_database: CaseDatabase) -> anyhow::Result<()> {
        let ender = TransactionEnder::before(case_database.database()?).await?;
        let url = case_database.database()?.url_through(ender.address());
        let settings = Settings::new().engine("lost_any").url(url).max_size(1);
        let engine: AnyEngine = engine_finder_with(&settings)?;
        engine.start_connection_pool().await?;
        sqlx::raw_sql(TABLE).execute(&engine).await?;
        for (command, lost) in [(0, false), (1, true), (2, true), (9, false)] {
            // This waits for the only connection, so that its recovery is not counted.
            engine.health().await?;
            ender.send_before(command, &["ROLLBACK"]);
            let mut transaction = engine.begin().await?;
            sqlx::raw_sql(insert(1, 1))
                .execute(&mut transaction)
                .await?;
            let ended = transaction.commit().await;
            let found = ended.as_ref().err().and_then(TransactionError::find);
            ensure!(
                matches!(found, Some(TransactionError::Lost { .. })) == lost
                    && ended.is_ok() != lost,
                "before command {command}: {ended:?}"
            );
        }
        engine.close_connection_pool().await;
        Ok(())
    }
    if let Some(case_database) = CaseDatabase::of::<Postgres>("any").await? {
        lost(case_database).await.context("Postgres")?;
    }
    if let Some(case_database) = CaseDatabase::of::<MySql>("any").await? {
        lost(case_database).await.context("MariaDB")?;
    }
    Ok(())
}

/// Commits after the server has ended the session: the commit fails, and nothing is written.
macro_rules! ended_by_the_server {
    ($database:ty, $case_database:expr, $url:expr, $pooler:expr, $inside:expr, $outside:expr) => {{
        let (case_database, url): (&CaseDatabase, String) = ($case_database, $url);
        let mut settings = Settings::new()
            .engine(concat!("ended_", stringify!($database)))
            .url(url)
            .max_size(1);
        if let Some(pooler) = $pooler {
            settings = settings.pooler(pooler);
        }
        let engine: Engine<$database> = engine_finder_with(&settings)?;
        engine.start_connection_pool().await?;
        let mut transaction = engine.begin().await?;
        sqlx::raw_sql(insert(1, 1))
            .execute(&mut transaction)
            .await?;
        let inside: Option<&'static str> = $inside;
        if let Some(sql) = inside {
            sqlx::raw_sql(sql).execute(&mut transaction).await?;
        }
        let outside: Option<&'static str> = $outside;
        if let Some(sql) = outside {
            let user = case_database.database()?.name();
            let server = case_database.database()?.server();
            let rows = server.ask(&[sql.replace("{user}", user)]).await?;
            // On MariaDB, the rows are the statements that end the sessions.
            for kill in rows.into_iter().flatten().flatten() {
                if kill.starts_with("KILL") {
                    server.ask(&[kill]).await?;
                }
            }
        }
        case_database.database()?.no_session_left().await?;
        let ended = transaction.commit().await;
        ensure!(ended.is_err(), "it was taken for committed");
        // Nothing was written.
        let left: i64 = case_database
            .answer::<<$database as Of>::Plain>("SELECT count(*) FROM entry")
            .await?;
        ensure!(left == 0, "{left}");
        engine.close_connection_pool().await;
    }};
}

/// The database type of the case's direct queries.
trait Of {
    type Plain: poolhouse_tests::Sql;
}

impl Of for Postgres {
    type Plain = Self;
}

impl Of for MySql {
    type Plain = Self;
}

const TERMINATE: &str =
    "SELECT CAST(pg_terminate_backend(pid) AS TEXT) FROM pg_stat_activity WHERE usename = '{user}'";
const KILL: &str =
    "SELECT concat('KILL ', id) FROM information_schema.processlist WHERE user = '{user}'";

#[tokio::test]
async fn a_session_that_the_server_ends_is_no_commit_on_postgres() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("ended").await? else {
        return Ok(());
    };
    case_database.run::<Postgres>(TABLE).await?;
    let none = None::<&str>;
    ended_by_the_server!(
        Postgres,
        &case_database,
        case_database.url(),
        none,
        None,
        Some(TERMINATE)
    );
    let timeout = "SET LOCAL idle_in_transaction_session_timeout = '20ms'";
    ended_by_the_server!(
        Postgres,
        &case_database,
        case_database.url(),
        none,
        Some(timeout),
        None
    );
    // The same behind a pooler, which keeps the client's session or ends it.
    let pooler = PgBouncer::start(case_database.database()?, Mode::Transaction, &[]).await?;
    let url = pooler.url().to_owned();
    ended_by_the_server!(
        Postgres,
        &case_database,
        url.clone(),
        Some("pgbouncer"),
        None,
        Some(TERMINATE)
    );
    ended_by_the_server!(
        Postgres,
        &case_database,
        url,
        Some("pgbouncer"),
        Some(timeout),
        None
    );
    Ok(())
}

#[tokio::test]
async fn a_session_that_the_server_ends_is_no_commit_on_mariadb() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("ended").await? else {
        return Ok(());
    };
    case_database.run::<MySql>(TABLE).await?;
    let none = None::<&str>;
    ended_by_the_server!(
        MySql,
        &case_database,
        case_database.url(),
        none,
        None,
        Some(KILL)
    );
    // <https://mariadb.com/kb/en/server-system-variables/#idle_transaction_timeout>
    let timeout = "SET SESSION idle_transaction_timeout = 1";
    ended_by_the_server!(
        MySql,
        &case_database,
        case_database.url(),
        none,
        Some(timeout),
        None
    );
    Ok(())
}
