//! A Galera cluster of three nodes under load. One node is killed and restarted, then another is cut off for a time.
//! `tests/galera` runs it.
//!
//! Tasks move money between accounts through one engine on all three nodes. Each move adds a row to a ledger. Further engines
//! try the node that is cut off first. The program asserts the final state and prints the figures.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, ensure};
use poolhouse::{MySqlEngine, Settings, Transaction, engine_finder_with};
use poolhouse_tests::{Galera, PrivateServer, Stop, TestDatabase, eventually, galera::Change};
use sqlx::MySql;
use tokio::task::JoinSet;

const NODES: usize = 3;
const MAX_SIZE: u32 = 16;
const TASKS: usize = 24;

/// The connections of each engine that tries the hosts in their order.
const FEW_CONNECTIONS: u32 = 3;

/// Few accounts, so that two nodes often write to the same one at the same time.
const ACCOUNTS: i64 = 40;
const BALANCE: i64 = 1_000;

/// The limit of a pause in writes after a node is killed, without the time in which the cluster itself accepts none.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Writes before, during and after each fault; `FEW_WRITES` in the short form, `galera short`.
const WRITES: usize = 1_000;
const FEW_WRITES: usize = 200;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut cluster = Galera::start(NODES).await?;
    let outcome = play(&mut cluster, begun).await;
    if outcome.is_err() {
        println!(
            "the nodes' logs are kept in {}",
            cluster.keep_logs().display()
        );
    }
    outcome
}

async fn play(cluster: &mut Galera, begun: Instant) -> anyhow::Result<()> {
    println!(
        "{NODES} nodes of MariaDB with Galera, started in {:.1?}",
        begun.elapsed()
    );
    let database = cluster.nodes()[0].database("galera").await?;
    // A node may not have applied the other node's statements yet.
    let rights = format!(
        "SELECT CAST(count(*) AS CHAR) FROM mysql.db WHERE user = '{}'",
        database.name()
    );
    cluster.agree(&rights, "1").await?;
    let engine = engine(cluster, &database).await?;
    prepare(&engine).await?;
    let in_order = in_order(cluster, &database).await?;
    // Without this wait, the first moves would change no account on a node that has none yet.
    let accounts = format!(
        "SELECT CAST(count(*) AS CHAR) FROM {}.account",
        database.name()
    );
    cluster.agree(&accounts, &ACCOUNTS.to_string()).await?;

    let short = std::env::args().nth(1).is_some_and(|form| form == "short");
    let writes = if short { FEW_WRITES } else { WRITES };
    let load = Load::begin(&engine);
    load.goes_on(writes).await?;
    let speed = load.speed();

    let fault = Instant::now();
    cluster.node_mut(1).stop(Stop::Crash).await?;
    load.goes_on(writes).await?;
    nobody_is_connected(&cluster.nodes()[1]).await?;
    let back = Instant::now();
    cluster.rejoin(1).await?;
    let back = back.elapsed();
    load.goes_on(writes).await?;
    let killed = load.longest_pause_since(fault);

    let fault = Instant::now();
    cluster.cut_off(2).await?;
    load.goes_on(writes).await?;
    cluster.knows_that_it_is_cut_off(2).await?;
    for (form, engine) in &in_order {
        leaves(engine).await.with_context(|| form.clone())?;
    }
    nobody_is_connected(&cluster.nodes()[2]).await?;
    cluster.reconnect(2).await?;
    load.goes_on(writes).await?;
    let cut_off = load.longest_pause_since(fault);
    let outcome = load.end().await?;

    let conflicts = cluster.sum("wsrep_local_cert_failures").await?;
    let aborted = cluster.sum("wsrep_local_bf_aborts").await?;
    println!(
        "{TASKS} tasks over at most {MAX_SIZE} connections: {speed:.0} transactions a second with all nodes"
    );
    println!(
        "a node killed: at most {:.2?} without a commit, back in step after {back:.1?}",
        killed.length
    );
    println!(
        "a node cut off from the others: at most {:.2?} without a commit",
        cut_off.length
    );
    println!("{outcome}");
    println!(
        "the nodes' own count: {conflicts} writes that failed certification, {aborted} transactions aborted for another node's"
    );

    let changes = cluster.changes()?;
    for pause in [killed, cut_off] {
        pause.is_explained(&changes)?;
    }
    let most = outcome.most_connections;
    ensure!(most <= MAX_SIZE as usize, "{most} connections");
    ensure!(
        outcome.at_commit > 0 && outcome.at_statement > 0,
        "no conflict was met, so nothing is known of retries"
    );
    for node in cluster.nodes() {
        nothing_is_lost(node, &database, &outcome.acknowledged).await?;
    }
    for engine in in_order.values().chain([&engine]) {
        engine.close_connection_pool().await;
    }
    for node in cluster.nodes() {
        no_session_left(node, &database).await?;
    }
    println!("no acknowledged write is lost, the sums agree on each node, and no session is left");
    Ok(())
}

async fn engine(cluster: &Galera, database: &TestDatabase) -> anyhow::Result<MySqlEngine> {
    let url = url(cluster, database, [0, 1, 2], "?load_balance_hosts=random");
    started(&Settings::new().engine("galera").url(url).max_size(MAX_SIZE)).await
}

/// Engines that try the hosts in their order, each with all its connections on the last node.
async fn in_order(
    cluster: &Galera,
    database: &TestDatabase,
) -> anyhow::Result<BTreeMap<String, MySqlEngine>> {
    let mut engines = BTreeMap::new();
    for target in ["any", "read-write", "prefer-standby"] {
        let form = format!("?target_session_attrs={target}");
        let settings = Settings::new()
            .engine(format!("galera_{target}"))
            .url(url(cluster, database, [2, 0, 1], &form))
            .max_size(FEW_CONNECTIONS)
            .min_size(FEW_CONNECTIONS);
        engines.insert(form, started(&settings).await?);
    }
    let connected = sockets_to(cluster.nodes()[2].address().port())?;
    let least = engines.len() * FEW_CONNECTIONS as usize;
    ensure!(connected >= least, "{connected} instead of {least}");
    Ok(engines)
}

/// Waits until an engine's statements succeed on all its connections.
async fn leaves(engine: &MySqlEngine) -> anyhow::Result<()> {
    eventually("every connection takes statements", async || {
        // All at once, so that each has a connection of its own.
        let mut held = Vec::new();
        for _ in 0..FEW_CONNECTIONS {
            held.push(engine.acquire().await?);
        }
        for connection in &mut held {
            sqlx::query("SELECT count(*) FROM account")
                .execute(connection)
                .await?;
        }
        Ok(())
    })
    .await
}

/// The URL of these nodes of the cluster, in this order.
fn url(cluster: &Galera, database: &TestDatabase, order: [usize; NODES], rest: &str) -> String {
    let hosts = order.map(|node| cluster.nodes()[node].address().to_string());
    format!(
        "mysql://{name}:{password}@{hosts}/{name}{rest}",
        name = database.name(),
        password = database.password(),
        hosts = hosts.join(",")
    )
}

async fn started(settings: &Settings) -> anyhow::Result<MySqlEngine> {
    let engine = engine_finder_with::<MySql>(settings)?;
    engine.start_connection_pool().await?;
    Ok(engine)
}

async fn prepare(engine: &MySqlEngine) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "CREATE TABLE account \
           (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL, moves BIGINT NOT NULL, ids BIGINT NOT NULL); \
         CREATE TABLE ledger (id BIGINT PRIMARY KEY, source BIGINT NOT NULL, target BIGINT NOT NULL, amount BIGINT NOT NULL)",
    )
    .execute(engine)
    .await?;
    let accounts: Vec<String> = (0..ACCOUNTS)
        .map(|id| format!("({id}, {BALANCE}, 0, 0)"))
        .collect();
    let insert = format!("INSERT INTO account VALUES {}", accounts.join(", "));
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert))
        .execute(engine)
        .await?;
    Ok(())
}

/// A time without a commit.
struct Pause {
    from: SystemTime,
    length: Duration,
}

/// The logs have the time of day in the server's time zone. Time zones differ by quarters of an hour, and the whole test takes
/// less than a quarter.
const QUARTER: u64 = 900;

impl Pause {
    /// Fails for a pause that exceeds `LONGEST_PAUSE`, less the time in which the nodes' logs show a search for a primary group.
    fn is_explained(&self, changes: &[Change]) -> anyhow::Result<()> {
        let Self { from, length } = self;
        if *length < LONGEST_PAUSE {
            return Ok(());
        }
        let from = from.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let after = |second: u64| (second + QUARTER - from % QUARTER) % QUARTER;
        let within: Vec<&Change> = changes
            .iter()
            .filter(|change| after(change.second) <= length.as_secs() + 1)
            .collect();
        println!("the nodes' own words for the {length:.2?} without a commit:");
        for Change {
            node,
            second,
            words,
            ..
        } in &within
        {
            println!("  {:>2} s, node {node}: {words}", after(*second));
        }
        let seconds = || within.iter().map(|change| after(change.second));
        let regrouping = match (seconds().min(), seconds().max()) {
            (Some(first), Some(last)) => Duration::from_secs(last - first + 1),
            _ => Duration::ZERO,
        };
        let rest = length.saturating_sub(regrouping);
        ensure!(
            rest < LONGEST_PAUSE,
            "writes stood still for {length:.2?}, of which the nodes looked for a group for {regrouping:?}: {rest:.2?} are not \
             explained, longer than {LONGEST_PAUSE:?}"
        );
        println!("  which explains it but for {rest:.2?}");
        Ok(())
    }
}

/// Tasks that move money, one move after another, and continue after every error.
struct Load {
    engine: MySqlEngine,
    seen: Arc<Seen>,
    begun: Instant,
    begun_at: SystemTime,
    tasks: JoinSet<()>,
}

/// What the tasks record.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    /// The id and the time of each acknowledged move.
    acknowledged: Mutex<Vec<(i64, Instant)>>,
    /// The errors that reached a task, counted by their text.
    errors: Mutex<BTreeMap<String, usize>>,
    at_statement: AtomicUsize,
    at_commit: AtomicUsize,
    most_connections: AtomicUsize,
}

impl Load {
    fn begin(engine: &MySqlEngine) -> Self {
        let mut load = Self {
            engine: engine.clone(),
            seen: Arc::default(),
            begun: Instant::now(),
            begun_at: SystemTime::now(),
            tasks: JoinSet::new(),
        };
        for task in 0..TASKS {
            let (engine, seen) = (load.engine.clone(), Arc::clone(&load.seen));
            load.tasks.spawn(async move {
                // No id is used twice, because an unacknowledged move may have been committed.
                for id in (0_i64..).skip(task).step_by(TASKS) {
                    if seen.over.load(Relaxed) {
                        break;
                    }
                    match transfer(&engine, &seen, id).await {
                        Ok(()) => lock(&seen.acknowledged).push((id, Instant::now())),
                        Err(error) => {
                            *lock(&seen.errors).entry(error.to_string()).or_default() += 1;
                            // A pause, as a service would make before its next attempt.
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    }
                    let size = engine.status().size;
                    seen.most_connections.fetch_max(size, Relaxed);
                }
            });
        }
        load
    }

    fn written(&self) -> usize {
        lock(&self.seen.acknowledged).len()
    }

    /// Acknowledged moves per second so far.
    fn speed(&self) -> f64 {
        let written = u32::try_from(self.written()).unwrap_or(u32::MAX);
        f64::from(written) / self.begun.elapsed().as_secs_f64()
    }

    /// Waits for `more` further moves.
    async fn goes_on(&self, more: usize) -> anyhow::Result<()> {
        let enough = self.written() + more;
        eventually("the writes go on", async || {
            let written = self.written();
            let errors = lock(&self.seen.errors);
            ensure!(written >= enough, "{written} of {enough}; {errors:?}");
            Ok(())
        })
        .await
    }

    /// The longest time in which nothing was acknowledged.
    fn longest_pause_since(&self, from: Instant) -> Pause {
        let acknowledged = lock(&self.seen.acknowledged);
        let since = acknowledged.iter().map(|(_, time)| *time);
        let mut last = from;
        let mut longest = (from, Duration::ZERO);
        for time in since.filter(|time| *time > from).chain([Instant::now()]) {
            let pause = time.saturating_duration_since(last);
            if pause > longest.1 {
                longest = (last, pause);
            }
            last = last.max(time);
        }
        let (from, length) = longest;
        Pause {
            from: self.begun_at + from.saturating_duration_since(self.begun),
            length,
        }
    }

    async fn end(mut self) -> anyhow::Result<Outcome> {
        self.seen.over.store(true, Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a task of the load")?;
        }
        let acknowledged = std::mem::take(&mut *lock(&self.seen.acknowledged));
        Ok(Outcome {
            acknowledged: acknowledged.into_iter().map(|(id, _)| id).collect(),
            errors: std::mem::take(&mut *lock(&self.seen.errors)),
            at_statement: self.seen.at_statement.load(Relaxed),
            at_commit: self.seen.at_commit.load(Relaxed),
            most_connections: self.seen.most_connections.load(Relaxed),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Moves money once, and counts conflicts at a statement and at `COMMIT`.
async fn transfer(engine: &MySqlEngine, seen: &Arc<Seen>, id: i64) -> sqlx::Result<()> {
    let source = fastrand::i64(0..ACCOUNTS);
    let target = (source + fastrand::i64(1..ACCOUNTS)) % ACCOUNTS;
    let amount = fastrand::i64(1..10);
    let a_statement_failed = AtomicBool::new(false);
    let again = AtomicBool::new(false);
    engine
        .transaction(async |transaction| {
            if again.swap(true, Relaxed) {
                let counter = if a_statement_failed.swap(false, Relaxed) {
                    &seen.at_statement
                } else {
                    &seen.at_commit
                };
                counter.fetch_add(1, Relaxed);
            }
            let moved = write(transaction, id, source, target, amount).await;
            a_statement_failed.store(moved.is_err(), Relaxed);
            moved
        })
        .await
}

/// Counts an account's moves and combines their ids, so that a half-applied move can be identified by its id.
const UPDATE: &str =
    "UPDATE account SET balance = balance + ?, moves = moves + 1, ids = ids ^ ? WHERE id = ?";

async fn write(
    transaction: &mut Transaction<MySql>,
    id: i64,
    source: i64,
    target: i64,
    amount: i64,
) -> sqlx::Result<()> {
    // The same order everywhere, so that two moves on one node never deadlock.
    let mut changes = [(source, -amount), (target, amount)];
    changes.sort_unstable();
    for (account, change) in changes {
        let updated = sqlx::query(UPDATE)
            .bind(change)
            .bind(id)
            .bind(account)
            .execute(&mut *transaction)
            .await?;
        // No row is updated where a node has not yet applied another node's commit. The move fails as a whole.
        if updated.rows_affected() != 1 {
            return Err(sqlx::Error::RowNotFound);
        }
    }
    sqlx::query("INSERT INTO ledger VALUES (?, ?, ?, ?)")
        .bind(id)
        .bind(source)
        .bind(target)
        .bind(amount)
        .execute(transaction)
        .await?;
    Ok(())
}

/// The result of the load.
struct Outcome {
    acknowledged: HashSet<i64>,
    errors: BTreeMap<String, usize>,
    at_statement: usize,
    at_commit: usize,
    most_connections: usize,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            at_statement,
            at_commit,
            most_connections,
            ..
        } = self;
        let acknowledged = self.acknowledged.len();
        write!(
            f,
            "{acknowledged} acknowledged, at most {most_connections} connections; run again after a conflict: {at_statement} \
             times at a statement, {at_commit} times at COMMIT"
        )?;
        for (error, times) in &self.errors {
            write!(f, "\nan error, {times} times: {error}")?;
        }
        Ok(())
    }
}

async fn nobody_is_connected(node: &PrivateServer) -> anyhow::Result<()> {
    eventually("no connection is left on the node", async || {
        let left = sockets_to(node.address().port())?;
        ensure!(left == 0, "{left} are left");
        Ok(())
    })
    .await
}

/// The number of connections from this machine to a port.
/// <https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html>
fn sockets_to(port: u16) -> anyhow::Result<usize> {
    const ESTABLISHED: &str = "01";
    const CLOSE_WAIT: &str = "08";
    let table = fs::read_to_string("/proc/self/net/tcp")?;
    let peer = format!(":{port:04X}");
    let held = table.lines().filter(|line| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(|remote| remote.ends_with(&peer))
            && matches!(fields.next(), Some(ESTABLISHED | CLOSE_WAIT))
    });
    Ok(held.count())
}

/// Checks that every acknowledged move is there, and that each account agrees with the ledger.
async fn nothing_is_lost(
    node: &PrivateServer,
    database: &TestDatabase,
    acknowledged: &HashSet<i64>,
) -> anyhow::Result<()> {
    let name = database.name();
    let ask = async |query: String| -> anyhow::Result<Vec<i64>> {
        // Reads what every node has committed before: https://mariadb.com/kb/en/galera-cluster-system-variables/#wsrep_sync_wait
        // https://mariadb.com/kb/en/galera-cluster-system-variables/#wsrep_sync_wait
        let rows = node
            .ask(&["SET SESSION wsrep_sync_wait = 1".into(), query])
            .await?;
        let values = rows.into_iter().flatten().flatten();
        values.map(|value| Ok(value.parse()?)).collect()
    };
    let kept: HashSet<i64> = ask(format!("SELECT id FROM {name}.ledger"))
        .await?
        .into_iter()
        .collect();
    let lost: Vec<_> = acknowledged.difference(&kept).collect();
    ensure!(lost.is_empty(), "lost on {}: {lost:?}", node.address());
    let sum = ask(format!(
        "SELECT CAST(sum(balance) AS SIGNED) FROM {name}.account"
    ))
    .await?;
    ensure!(sum == [ACCOUNTS * BALANCE], "{sum:?}");
    // For each account: the surplus of moves, and the XOR of the ids that only the account or only the ledger has.
    let wrong = node
        .ask(&[format!(
            "SELECT CONCAT('account ', a.id, ': balance off by ', a.balance - {BALANCE} - coalesce(sum(l.change_by), 0), ', ', \
             a.moves - count(l.id), ' moves too many, ids ', a.ids ^ coalesce(bit_xor(l.id), 0)) FROM {name}.account a LEFT JOIN ( \
               SELECT id, source AS account, -amount AS change_by FROM {name}.ledger \
               UNION ALL SELECT id, target, amount FROM {name}.ledger) l ON l.account = a.id \
             GROUP BY a.id, a.balance, a.moves, a.ids \
             HAVING a.balance <> {BALANCE} + coalesce(sum(l.change_by), 0) OR a.moves <> count(l.id) \
               OR a.ids <> coalesce(bit_xor(l.id), 0)"
        )])
        .await?;
    let wrong: Vec<String> = wrong.into_iter().flatten().flatten().collect();
    ensure!(
        wrong.is_empty(),
        "moves are half there on {}:\n{}",
        node.address(),
        wrong.join("\n")
    );
    Ok(())
}

async fn no_session_left(node: &PrivateServer, database: &TestDatabase) -> anyhow::Result<()> {
    let sql = format!(
        "SELECT count(*) FROM information_schema.processlist WHERE user = '{}'",
        database.name()
    );
    eventually("no session is left", async || {
        let rows = node.ask(std::slice::from_ref(&sql)).await?;
        let left = rows.into_iter().flatten().flatten().next();
        ensure!(left.as_deref() == Some("0"), "{left:?}");
        Ok(())
    })
    .await
}
