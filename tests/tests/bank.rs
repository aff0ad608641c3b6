//! Money moves between accounts under serializable isolation, while transactions conflict and sessions are killed.
//!
//! At the end no money is lost or made, the ledger has every acknowledged move, and `on_commit` has run once for each of them
//! and for no other.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use poolhouse::{
    MySqlEngine, PgEngine, Settings, Transaction, TransactionError, engine_finder_with,
    transactional,
};
use poolhouse_tests::{Cockroach, Kind, TestDatabase, eventually, servers};
use sqlx::{AssertSqlSafe, MySql, Postgres};
use tokio::task::JoinSet;

const TASKS: i64 = 32;

/// The number of moves of each task.
const MOVES: i64 = 12;

/// The number of accounts: few, so that moves conflict.
const ACCOUNTS: i64 = 10;
const BALANCE: i64 = 1_000;

/// The number of tries between two killed sessions: small enough to hit some moves half-way, and large enough for most moves
/// to succeed on a machine of any speed.
const PEACE: usize = 10;

/// One move of money.
#[derive(Clone, Copy)]
struct Move {
    id: i64,
    source: i64,
    target: i64,
    amount: i64,
}

impl Move {
    fn random(id: i64) -> Self {
        let source = fastrand::i64(0..ACCOUNTS);
        Self {
            id,
            source,
            target: (source + fastrand::i64(1..ACCOUNTS)) % ACCOUNTS,
            amount: fastrand::i64(1..10),
        }
    }
}

/// The side effects of the transactions outside the database.
#[derive(Default)]
struct Counts {
    /// The number of tries.
    tries: AtomicUsize,
    /// The number of `on_commit` runs for each move.
    committed: Mutex<HashMap<i64, usize>>,
}

impl Counts {
    fn note_committed(&self, id: i64) {
        *self.of_committed().entry(id).or_default() += 1;
    }

    fn committed(&self) -> HashMap<i64, usize> {
        self.of_committed().clone()
    }

    fn of_committed(&self) -> MutexGuard<'_, HashMap<i64, usize>> {
        self.committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outcomes of the moves.
#[derive(Debug, Default)]
struct Ledger {
    acknowledged: HashSet<i64>,
    /// Moves that failed and certainly wrote nothing.
    failed: HashSet<i64>,
    /// Moves with an unknown outcome.
    unknown: HashSet<i64>,
}

impl Ledger {
    fn note(&mut self, id: i64, outcome: Result<(), sqlx::Error>) {
        let list = match outcome {
            Ok(()) => &mut self.acknowledged,
            Err(error) => match TransactionError::find(&error) {
                Some(TransactionError::OutcomeUnknown { .. }) => &mut self.unknown,
                _ => &mut self.failed,
            },
        };
        list.insert(id);
    }

    /// Compares the outcomes with the ledger in the database.
    fn agrees(&self, kept: &HashSet<i64>) -> anyhow::Result<()> {
        let lost: Vec<_> = self.acknowledged.difference(kept).collect();
        ensure!(lost.is_empty(), "acknowledged and not there: {lost:?}");
        let made: Vec<_> = self.failed.intersection(kept).collect();
        ensure!(made.is_empty(), "failed and there all the same: {made:?}");
        Ok(())
    }
}

/// Kills and counts sessions of this user, one after every few tries, until it is dropped.
async fn kill_now_and_then(
    database: Arc<TestDatabase>,
    counts: Arc<Counts>,
    killed: Arc<AtomicUsize>,
) -> anyhow::Result<()> {
    let mut next = PEACE;
    loop {
        while counts.tries.load(Relaxed) < next {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        next = counts.tries.load(Relaxed) + PEACE;
        let sessions = database.sessions().await?;
        let Some(session) = fastrand::choice(&sessions) else {
            continue;
        };
        if database.end_session(session).await {
            killed.fetch_add(1, Relaxed);
        }
    }
}

macro_rules! bank {
    ($module:ident, $database:ty, $engine:ty) => {
        mod $module {
            use super::*;

            /// Moves money, and adds the move to the ledger.
            #[transactional(isolation = "serializable")]
            async fn transfer(
                tx: &mut Transaction<$database>,
                Move { id, source, target, amount }: Move,
                counts: &Arc<Counts>,
            ) -> sqlx::Result<()> {
                counts.tries.fetch_add(1, Relaxed);
                let noted = Arc::clone(counts);
                tx.on_commit(async move { noted.note_committed(id) });
                let read = format!("SELECT balance FROM account WHERE id = {source}");
                let balance: i64 = sqlx::query_scalar(AssertSqlSafe(read)).fetch_one(&mut *tx).await?;
                for write in [
                    // This uses the balance read before, so that a lost update would show.
                    format!("UPDATE account SET balance = {} WHERE id = {source}", balance - amount),
                    format!("UPDATE account SET balance = balance + {amount} WHERE id = {target}"),
                    format!("INSERT INTO ledger VALUES ({id}, {source}, {target}, {amount})"),
                ] {
                    sqlx::query(AssertSqlSafe(write)).execute(&mut *tx).await?;
                }
                Ok(())
            }

            async fn numbers(engine: &$engine, sql: &'static str) -> sqlx::Result<Vec<i64>> {
                sqlx::query_scalar(sql).fetch_all(engine).await
            }

            pub(super) async fn open(settings: &Settings) -> anyhow::Result<$engine> {
                let engine: $engine = engine_finder_with(settings)?;
                engine.start_connection_pool().await?;
                for table in [
                    "CREATE TABLE account (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL)",
                    "CREATE TABLE ledger (id BIGINT PRIMARY KEY, source BIGINT NOT NULL, target BIGINT NOT NULL, \
                     amount BIGINT NOT NULL)",
                ] {
                    sqlx::raw_sql(table).execute(&engine).await?;
                }
                for id in 0..ACCOUNTS {
                    let insert = format!("INSERT INTO account VALUES ({id}, {BALANCE})");
                    sqlx::raw_sql(AssertSqlSafe(insert)).execute(&engine).await?;
                }
                Ok(engine)
            }

            /// Runs all moves, and checks their outcomes.
            pub(super) async fn play(engine: $engine, database: TestDatabase) -> anyhow::Result<()> {
                let database = Arc::new(database);
                let (counts, killed) = (Arc::new(Counts::default()), Arc::new(AtomicUsize::new(0)));
                let killing = kill_now_and_then(Arc::clone(&database), Arc::clone(&counts), Arc::clone(&killed));
                let mut killer = tokio::spawn(killing);
                let mut tasks = JoinSet::new();
                for task in 0..TASKS {
                    let (engine, counts) = (engine.clone(), Arc::clone(&counts));
                    tasks.spawn(async move {
                        let mut ledger = Vec::new();
                        for id in (task * MOVES..).take(usize::try_from(MOVES)?) {
                            ledger.push((id, transfer(&engine, Move::random(id), &counts).await));
                        }
                        anyhow::Ok(ledger)
                    });
                }
                let mut ledger = Ledger::default();
                loop {
                    tokio::select! {
                        ended = &mut killer => ended?.context("the killer")?,
                        done = tasks.join_next() => {
                            let Some(done) = done else { break };
                            for (id, outcome) in done?? {
                                ledger.note(id, outcome);
                            }
                        }
                    }
                }
                killer.abort();

                // The checks need connections that were not killed.
                engine.evict();
                let kept = eventually("the ledger can be read", async || {
                    let kept = numbers(&engine, "SELECT id FROM ledger").await?;
                    Ok(kept.into_iter().collect())
                })
                .await?;
                ledger.agrees(&kept)?;
                let committed = counts.committed();
                let twice: Vec<_> = committed.iter().filter(|(_, times)| **times > 1).collect();
                ensure!(twice.is_empty(), "said to be committed more than once: {twice:?}");
                let committed: HashSet<i64> = committed.into_keys().collect();
                ensure!(committed == ledger.acknowledged, "not what is acknowledged: {committed:?}");
                let sum = numbers(&engine, "SELECT balance FROM account").await?;
                ensure!(sum.iter().sum::<i64>() == ACCOUNTS * BALANCE, "{sum:?}");
                let wrong = numbers(
                    &engine,
                    "SELECT id FROM account WHERE balance <> 1000 \
                     + (SELECT coalesce(sum(amount), 0) FROM ledger WHERE target = account.id) \
                     - (SELECT coalesce(sum(amount), 0) FROM ledger WHERE source = account.id)",
                )
                .await?;
                ensure!(wrong.is_empty(), "not as the ledger says: {wrong:?}");

                // Acknowledged moves, kills and retries must all have happened.
                let (moves, tries) = (usize::try_from(TASKS * MOVES)?, counts.tries.load(Relaxed));
                let (killed, done) = (killed.load(Relaxed), ledger.acknowledged.len());
                println!(
                    "{done} of {moves} moves acknowledged, {} unknown; {tries} tries, {killed} sessions killed",
                    ledger.unknown.len()
                );
                ensure!(done > moves / 2 && killed > 0 && tries > moves, "{done} {killed} {tries}");
                engine.close_connection_pool().await;
                database.no_session_left().await
            }
        }
    };
}

bank!(on_postgres, Postgres, PgEngine);
bank!(on_mysql, MySql, MySqlEngine);

fn settings(engine: &str, url: &str) -> Settings {
    Settings::new().engine(engine).url(url).max_size(8)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(());
    };
    let database = server.database("bank").await?;
    let engine = on_postgres::open(&settings("bank_postgres", database.url())).await?;
    on_postgres::play(engine, database).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb() -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::MariaDb) else {
        return Ok(());
    };
    let database = server.database("bank").await?;
    let engine = on_mysql::open(&settings("bank_mariadb", database.url())).await?;
    on_mysql::play(engine, database).await
}

/// The stand-in adds conflicts to those of Postgres.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stand_in_for_cockroach() -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(());
    };
    let database = server.database("bank").await?;
    let double = Cockroach::before(&database).await?;
    let engine = on_postgres::open(&settings("bank_cockroach", double.url())).await?;
    double.conflicts(0.05);
    double.ambiguous_commits(3);
    on_postgres::play(engine, database).await?;
    ensure!(double.conflicted() > 0);
    Ok(())
}
