//! A minute of all operations and faults at once.
//!
//! The operations are queries, streams dropped half-way, transactions cancelled anywhere, resizes and evictions; the faults are
//! killed sessions and a restarted server. Meanwhile, other engines with a node are started, cancelled in their start, used and
//! closed. At the end no slot is lost, no task hangs, and the sums are right.
//!
//! `POOLHOUSE_STRESS=10m` makes it last for ten minutes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use futures_util::{
    StreamExt,
    future::{join_all, try_join_all},
};
use poolhouse::{Engine, engine_finder_with};
use poolhouse_tests::{
    CaseDatabase, Kind, Options, PrivateServer, Sql, Stop, Subject, steps::up_to, subject::Own,
};
use sqlx::{MySql, Postgres};
use tokio::{
    runtime::Runtime,
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// The duration of the test: a minute, or the value of `POOLHOUSE_STRESS`.
fn duration() -> anyhow::Result<Duration> {
    let Ok(given) = std::env::var("POOLHOUSE_STRESS") else {
        return Ok(Duration::from_mins(1));
    };
    let (number, unit) = given.split_at(given.len().saturating_sub(1));
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        _ => anyhow::bail!("POOLHOUSE_STRESS is a number with s or m, and not {given}"),
    };
    Ok(Duration::from_secs(number.parse::<u64>()? * unit))
}

/// The number of worker tasks, three for each slot.
const WORKERS: u64 = 24;

const MAX_SIZE: u32 = 8;

const ACCOUNTS: i64 = 10;

/// The initial balance of every account.
const BALANCE: i64 = 1000;

/// Runs on both kinds of server at the same time, each with its own runtime.
#[test]
fn everything_at_once() -> anyhow::Result<()> {
    thread::scope(|scope| {
        let postgres = scope.spawn(|| Runtime::new()?.block_on(a_minute_of_it::<Postgres>()));
        let mariadb = scope.spawn(|| Runtime::new()?.block_on(a_minute_of_it::<MySql>()));
        let over = |result: thread::Result<anyhow::Result<()>>| match result {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        over(postgres.join()).context("on Postgres")?;
        over(mariadb.join()).context("on MariaDB")
    })
}

async fn a_minute_of_it<DB: Sql>() -> anyhow::Result<()> {
    let kind = DB::SERVER.context("it takes a server")?;
    let Some(builder) = PrivateServer::require(kind) else {
        return Ok(());
    };
    let server = builder.start().await?;
    let case_database = Arc::new(CaseDatabase::on(&server, "stress").await?);
    case_database
        .run::<DB>("CREATE TABLE account (id INTEGER PRIMARY KEY, balance BIGINT NOT NULL)")
        .await?;
    for id in 0..ACCOUNTS {
        case_database
            .run::<DB>(&format!("INSERT INTO account VALUES ({id}, {BALANCE})"))
            .await?;
    }
    let options = Options::new(case_database.url());
    let pool = Own::<DB>::start(Options {
        max_size: MAX_SIZE,
        min_size: 2,
        ..options
    })
    .await?;

    let (end, over) = watch::channel(false);
    let done = Arc::new(Done::default());
    let workers: Vec<_> = (0..WORKERS)
        .map(|seed| {
            tokio::spawn(work(
                pool.clone(),
                fastrand::Rng::with_seed(seed),
                Arc::clone(&done),
                over.clone(),
            ))
        })
        .collect();
    let counter = tokio::spawn(never_above(Arc::clone(&case_database), over.clone()));
    // These engines use another database, so that their sessions are not counted as the pool's.
    let beside = Arc::new(CaseDatabase::on(&server, "lives").await?);
    let lives = tokio::spawn(lives::<DB>(Arc::clone(&beside), over.clone()));
    let faults = play_faults(
        server,
        Arc::clone(&case_database),
        Instant::now() + duration()?,
    )
    .await;
    end.send(true)?;
    let (_server, faults) = faults?;
    let lives = timeout(Duration::from_mins(1), lives)
        .await
        .context("a start or a close hangs")???;
    beside
        .no_session_left()
        .await
        .context("of engines that were started and closed")?;

    let workers = timeout(Duration::from_mins(1), join_all(workers))
        .await
        .context("a task hangs")?;
    for worker in workers {
        worker??;
    }
    let counts = counter.await??;
    println!(
        "{}: {counts} counts, {faults:?}, {done:?}, {lives:?}",
        DB::PRODUCT
    );
    done.ensure_all()?;

    // No slot is lost, and each has a good connection outside any transaction.
    pool.resize(size(MAX_SIZE)?)?;
    let mut checkouts = try_join_all((0..MAX_SIZE).map(|_| pool.acquire())).await?;
    ensure!(
        up_to(1, pool.acquire()).await.is_none(),
        "there is a slot too many"
    );
    for checkout in &mut checkouts {
        ensure!(sum::<DB>(checkout).await? == ACCOUNTS * BALANCE);
        ensure!(!poolhouse_tests::sql::in_transaction::<DB>(checkout).await?);
    }
    drop(checkouts);
    let report = pool.close_connection_pool().await;
    ensure!(report.is_clean(), "{report}");
    case_database.no_session_left().await
}

/// The sum of all balances, which no transfer changes.
async fn sum<DB: Sql>(connection: &mut DB::Connection) -> sqlx::Result<i64> {
    let whole = if DB::SERVER == Some(Kind::Postgres) {
        "BIGINT"
    } else {
        "SIGNED"
    };
    DB::answer(
        connection,
        &format!("SELECT CAST(sum(balance) AS {whole}) FROM account"),
    )
    .await
}

/// Runs random actions until the end of the test.
async fn work<DB: Sql>(
    pool: Own<DB>,
    mut dice: fastrand::Rng,
    done: Arc<Done>,
    over: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    while !*over.borrow() {
        let action = ACTIONS[dice.usize(..ACTIONS.len())];
        // The pending poll, or the row, after which an action that can be cut off is dropped.
        let cut = dice.usize(1..12);
        let result = match action {
            Action::Sum => match sum_on(&pool).await {
                Ok(sum) => {
                    ensure!(sum == ACCOUNTS * BALANCE, "somebody sees a sum of {sum}");
                    Some(Ok(()))
                }
                Err(error) => Some(Err(error)),
            },
            Action::Transfer => Some(transfer(&pool, &mut dice).await),
            Action::CutTransfer => up_to(cut, transfer(&pool, &mut dice)).await,
            Action::CutAcquire => up_to(cut, pool.acquire())
                .await
                .map(|result| result.map(drop)),
            Action::CutStream => read_some(&pool, cut).await.map(Some).transpose(),
            Action::Abandon => Some(abandon(&pool).await),
            Action::Resize => {
                pool.resize(size(dice.u32(1..=MAX_SIZE))?)?;
                Some(Ok(()))
            }
            Action::Evict => {
                // Evictions are rare, so that the other actions find connections.
                if dice.u8(..) < 8 {
                    pool.evict();
                }
                Some(Ok(()))
            }
            Action::PlainBegin => {
                let spoil = "BEGIN; UPDATE account SET balance = balance + 1";
                up_to(cut, pool.execute(spoil)).await
            }
        };
        done.note(action, result.as_ref())?;
        if matches!(result, Some(Err(_))) {
            // After an error, a worker pauses before its next action.
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    /// Reads the sum.
    Sum,
    /// Moves an amount from one account to another.
    Transfer,
    /// Drops a transfer at a random point.
    CutTransfer,
    /// Waits for a checkout, and drops the wait at a random point.
    CutAcquire,
    /// Drops a stream before its end.
    CutStream,
    /// Changes one account only, and drops the transaction.
    Abandon,
    /// Begins a transaction that the driver does not count, and drops it at a random point.
    PlainBegin,
    /// Changes `max_size`, to eight or fewer.
    Resize,
    /// Retires every connection.
    Evict,
}

const ACTIONS: [Action; 9] = [
    Action::Sum,
    Action::Transfer,
    Action::CutTransfer,
    Action::CutAcquire,
    Action::CutStream,
    Action::Abandon,
    Action::PlainBegin,
    Action::Resize,
    Action::Evict,
];

fn size(number: u32) -> anyhow::Result<std::num::NonZeroU32> {
    std::num::NonZeroU32::new(number).context("zero")
}

/// The results of the engines that [`lives`] starts.
#[derive(Debug, Default)]
struct Lives {
    started: u64,
    failed: u64,
    cancelled: u64,
    /// Closes that were dropped half-way and repeated.
    given_up: u64,
}

/// Starts engines with a node, cancels some starts and closes all, until the end.
async fn lives<DB: Sql>(
    case_database: Arc<CaseDatabase>,
    over: watch::Receiver<bool>,
) -> anyhow::Result<Lives> {
    let mut dice = fastrand::Rng::with_seed(11);
    let mut lives = Lives::default();
    while !*over.borrow() {
        let options = || Options {
            max_size: 2,
            min_size: 2,
            start_timeout: Duration::from_secs(2),
            close_timeout: Duration::from_secs(2),
            ..Options::new(case_database.url())
        };
        let settings = options()
            .settings()
            .engine("lives")
            .node("replica", options().settings());
        let engine: Engine<DB> = engine_finder_with(&settings)?;
        match up_to(dice.usize(1..40), engine.start_connection_pool()).await {
            Some(Ok(())) => lives.started += 1,
            Some(Err(_)) => lives.failed += 1,
            None => lives.cancelled += 1,
        }
        let _ = Own(engine.reader()).execute("SELECT 1").await;
        if up_to(dice.usize(1..10), engine.close_connection_pool())
            .await
            .is_none()
        {
            lives.given_up += 1;
        }
        engine.close_connection_pool().await;
    }
    Ok(lives)
}

async fn sum_on<DB: Sql>(pool: &Own<DB>) -> sqlx::Result<i64> {
    sum::<DB>(&mut *pool.acquire().await?).await
}

async fn transfer<DB: Sql>(pool: &Own<DB>, dice: &mut fastrand::Rng) -> sqlx::Result<()> {
    // Accounts are locked in the order of their ids, so that two transfers never deadlock.
    let from = dice.i64(..ACCOUNTS - 1);
    let (to, amount) = (dice.i64(from + 1..ACCOUNTS), dice.i64(-5..=5));
    let mut transaction = pool.begin().await?;
    let step = |id: i64, amount: i64| {
        format!("UPDATE account SET balance = balance + {amount} WHERE id = {id}")
    };
    DB::run(&mut transaction, &step(from, -amount)).await?;
    // A nested transaction that is rolled back.
    let mut nested = DB::begin(&mut transaction).await?;
    DB::run(&mut nested, &step(to, 99)).await?;
    nested.rollback().await?;
    DB::run(&mut transaction, &step(to, amount)).await?;
    transaction.commit().await
}

async fn read_some<DB: Sql>(pool: &Own<DB>, rows: usize) -> sqlx::Result<()> {
    let mut stream = pool.rows(DB::MANY_ROWS).take(rows);
    while let Some(row) = stream.next().await {
        row?;
    }
    Ok(())
}

async fn abandon<DB: Sql>(pool: &Own<DB>) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    DB::run(
        &mut transaction,
        "UPDATE account SET balance = 0 WHERE id = 0",
    )
    .await
}

/// How often each action completed, was cut off, and failed.
#[derive(Debug, Default)]
struct Done(Mutex<BTreeMap<Action, [u64; 3]>>);

impl Done {
    /// Counts a result, and fails on an error that a stopping server cannot cause.
    fn note(&self, action: Action, result: Option<&sqlx::Result<()>>) -> anyhow::Result<()> {
        let kind = match result {
            Some(Ok(())) => 0,
            None => 1,
            Some(Err(error)) => {
                let of_a_server = match error {
                    sqlx::Error::Io(_) => true,
                    // 25P02: the connection was inside a failed transaction.
                    sqlx::Error::Database(error) => error.code().as_deref() != Some("25P02"),
                    _ => false,
                };
                ensure!(of_a_server, "{action:?}: {error:?}");
                2
            }
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.entry(action).or_default()[kind] += 1;
        Ok(())
    }

    /// Fails unless every action has completed and, where possible, has been cut off.
    fn ensure_all(&self) -> anyhow::Result<()> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for action in ACTIONS {
            let [over, cut, _] = counts.get(&action).copied().unwrap_or_default();
            let may_be_cut = matches!(
                action,
                Action::CutTransfer | Action::CutAcquire | Action::PlainBegin
            );
            ensure!(over > 0 && (cut > 0 || !may_be_cut), "{counts:?}");
        }
        Ok(())
    }
}

/// The number of faults of each kind.
#[derive(Debug, Default)]
struct Faults {
    killed: u64,
    restarts: u64,
}

/// Kills a session each second and restarts the server after every 15, until `end`.
///
/// Orderly restarts and crashes alternate.
async fn play_faults(
    mut server: PrivateServer,
    case_database: Arc<CaseDatabase>,
    end: Instant,
) -> anyhow::Result<(PrivateServer, Faults)> {
    let mut faults = Faults::default();
    let mut dice = fastrand::Rng::with_seed(7);
    while Instant::now() < end {
        for _ in 0..15 {
            sleep(Duration::from_secs(1)).await;
            let database = case_database.database()?;
            let sessions = database.sessions().await?;
            if let Some(session) = dice.choice(&sessions) {
                faults.killed += u64::from(database.end_session(session).await);
            }
        }
        let stop = if faults.restarts % 2 == 0 {
            Stop::Orderly
        } else {
            Stop::Crash
        };
        server.restart(stop).await?;
        faults.restarts += 1;
    }
    Ok((server, faults))
}

/// Counts the sessions until the end of the test, and fails on ten high counts in a row. A single high count proves nothing,
/// because an ended session stays listed for a moment.
async fn never_above(
    case_database: Arc<CaseDatabase>,
    over: watch::Receiver<bool>,
) -> anyhow::Result<u64> {
    let (mut counts, mut above) = (0, 0);
    while !*over.borrow() {
        // While the server restarts, sessions cannot be counted.
        if let Ok(Some(sessions)) = case_database.sessions().await {
            // One more session may exist to terminate others.
            above = if sessions > MAX_SIZE as usize + 1 {
                above + 1
            } else {
                0
            };
            ensure!(above < 10, "{sessions} sessions");
            counts += 1;
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(counts)
}
