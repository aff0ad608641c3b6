//! A torture test of isolation.
//!
//! Processes of tests change their databases in many ways, are killed, and lose their server. Each test compares its database,
//! row by row, with one that was made without this crate. On servers, the torture fails too if cleaned databases are not reused,
//! because it would then compare new clones only.
//!
//! `tests/torture` runs it by hand, for any number of rounds; a few rounds are part of `tests/run`.
//!
//! | file | what it holds |
//! |---|---|
//! | `plan` | a round, drawn from a seed |
//! | `script` | the steps of one test |
//! | `messes` | changes that a test may make to its database, in SQL |
//! | `victim` | the tests that run the scripts |
//! | `fingerprint` | the contents of a database, as text |
//! | `server` | the server, its roles and its events |
//!
//! The torture's seed and a number identify a round. Its result depends on the rounds before it, so a replay runs all of them.

mod fingerprint;
mod messes;
mod plan;
mod script;
mod server;
mod victim;

use std::collections::{HashMap, HashSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use poolhouse_tests::program::{Running, Signal};
use poolhouse_tests::{Kind, Program};
use tempfile::TempDir;

use self::plan::{OWN_DATABASES, Role, Round, Run};
use self::server::Tortured;
use self::victim::{FRESH, SCRIPTS, TREE, URL};

/// The variable with the number of rounds; the default is [`FEW`].
const ROUNDS: &str = "POOLHOUSE_TORTURE_ROUNDS";
/// The variable with the seed, for a replay.
const SEED: &str = "POOLHOUSE_TORTURE_SEED";
/// The variable that limits the roles to one: `minimal` or `superuser`.
const AS: &str = "POOLHOUSE_TORTURE_AS";

/// The number of rounds in `tests/run`.
const FEW: u64 = 6;

/// The limit until a test reaches its kill. A test that rolls back may wait for locks of another one.
const PATIENCE: Duration = Duration::from_secs(15);

/// The limit of a process of tests, whatever its events.
const LIMIT: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn no_test_on_postgres_sees_what_another_has_done() {
    passes(torture(Some(Kind::Postgres)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_test_on_mariadb_sees_what_another_has_done() {
    passes(torture(Some(Kind::MariaDb)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_test_on_sqlite_sees_what_another_has_done() {
    passes(torture(None).await);
}

/// Panics with the error, but without its backtrace: the findings are printed already.
fn passes(outcome: anyhow::Result<()>) {
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
}

/// The totals of the rounds.
#[derive(Default)]
struct Tally {
    tests: usize,
    /// The databases of tests that do not roll back, and how many of these tests there were.
    databases: HashSet<String>,
    with_databases: usize,
    /// Tests whose database differed from a fresh one.
    different: usize,
    /// Undisturbed tests without a database, and tests whose database could not be compared.
    refused: usize,
}

async fn torture(kind: Option<Kind>) -> anyhow::Result<()> {
    let Some(mut server) = Tortured::start(kind).await? else {
        return Ok(());
    };
    let name = kind.map_or_else(|| "SQLite".to_owned(), |kind| kind.to_string());
    let number = |name: &str| env::var(name).ok().map(|number| number.parse::<u64>());
    let rounds = number(ROUNDS).transpose().context(ROUNDS)?.unwrap_or(FEW);
    let seed = number(SEED)
        .transpose()
        .context(SEED)?
        .unwrap_or_else(|| fastrand::u64(..1_000_000));
    let roles: &[Role] = match (kind, env::var(AS).as_deref()) {
        (None, _) | (_, Ok("superuser")) => &[Role::Superuser],
        (_, Ok("minimal")) => &[Role::Minimal],
        _ => &[Role::Minimal, Role::Superuser],
    };
    println!("{name}: {rounds} rounds, {SEED}={seed}");
    let begun = Instant::now();
    let trees = Trees::plant(&name.to_lowercase())?;
    let mut fresh = HashMap::new();
    let mut tally = Tally::default();
    if kind.is_some() {
        reuses(&mut server, &trees, &mut fresh, roles).await?;
    }
    for number in 0..rounds {
        let round = Round::draw(
            seed.wrapping_mul(1_000_003).wrapping_add(number),
            kind,
            roles,
            trees.paths.len(),
        );
        let found = play(&mut server, &trees, &mut fresh, &round, &mut tally)
            .await
            .with_context(|| format!("round {number}:\n{round}"))?;
        let verbose = env::var_os("POOLHOUSE_TORTURE_VERBOSE").is_some();
        if !found.is_empty() || verbose {
            println!("{name}, round {number}:\n{round}{}", found.join("\n"));
        }
    }
    let Tally {
        tests,
        databases,
        with_databases,
        different,
        refused,
    } = tally;
    println!(
        "{name}: {tests} tests in {rounds} rounds, {different} differences, {refused} refused, \
        {} databases for {with_databases} tests, {:.1?}, {SEED}={seed}",
        databases.len(),
        begun.elapsed()
    );
    ensure!(
        different == 0 && refused == 0,
        "{name}: {different} differences, {refused} refused; {SEED}={seed}"
    );
    Ok(())
}

/// Fails unless tests without disturbance share a few databases, which are cleaned in between.
async fn reuses(
    server: &mut Tortured,
    trees: &Trees,
    fresh: &mut Fresh,
    roles: &[Role],
) -> anyhow::Result<()> {
    for role in roles {
        let mut tally = Tally::default();
        let round = Round::calm(*role);
        let found = play(server, trees, fresh, &round, &mut tally).await?;
        ensure!(found.is_empty(), "{round}{}", found.join("\n"));
        // One database is in use, and one or two spare clones are made meanwhile.
        let (databases, tests) = (tally.databases.len(), tally.with_databases);
        ensure!(
            tests == OWN_DATABASES && databases <= tests / 2,
            "{databases} databases for {tests} tests of {role:?}"
        );
    }
    Ok(())
}

/// Source trees: two with the same migrations, and one with more.
struct Trees {
    paths: Vec<PathBuf>,
    _folder: TempDir,
}

impl Trees {
    fn plant(name: &str) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/torture/trees")
            .join(name);
        let mut paths = Vec::new();
        for tree in ["one", "two", "three"] {
            let path = folder.path().join(tree).join("migrations");
            fs::create_dir_all(&path)?;
            for entry in fs::read_dir(&from).with_context(|| from.display().to_string())? {
                let entry = entry?;
                fs::copy(entry.path(), path.join(entry.file_name()))?;
            }
            if tree == "three" {
                let third = "CREATE TABLE third (id INTEGER); INSERT INTO third VALUES (3);";
                // A large object in the template prevents the reuse of databases on Postgres.
                let object = "SELECT lo_from_bytea(424242, 'the first song');";
                let object = if name == "postgres" { object } else { "" };
                fs::write(path.join("0003_third.sql"), format!("{third}{object}"))?;
            }
            paths.push(path);
        }
        Ok(Self {
            paths,
            _folder: folder,
        })
    }
}

/// Files with the lines of fresh databases, by role and tree.
type Fresh = HashMap<(Role, usize), PathBuf>;

/// Runs one round and returns its findings.
async fn play(
    server: &mut Tortured,
    trees: &Trees,
    fresh: &mut Fresh,
    round: &Round,
    tally: &mut Tally,
) -> anyhow::Result<Vec<String>> {
    for event in &round.before {
        server.suffer(event).await?;
    }
    let mut running = Vec::new();
    for run in &round.runs {
        running.push(tokio::spawn(start(server, trees, fresh, run).await?.end()));
    }
    if let Some((delay, event)) = &round.during {
        tokio::time::sleep(*delay).await;
        server.suffer(event).await?;
    }
    let mut wrong = Vec::new();
    for (run, running) in round.runs.iter().zip(running) {
        let said = running.await??;
        wrong.extend(judge(run, &said, round.is_calm(), tally));
    }
    if let Some((event, run)) = &round.after {
        server.suffer(event).await?;
        let said = start(server, trees, fresh, run).await?.end().await?;
        wrong.extend(judge(run, &said, true, tally));
    }
    Ok(wrong)
}

/// Starts a process of tests, after making the file of its fresh database if it is missing.
async fn start(
    server: &mut Tortured,
    trees: &Trees,
    fresh: &mut Fresh,
    run: &Run,
) -> anyhow::Result<Tests> {
    let key = (run.role, run.tree);
    #[allow(clippy::map_entry, reason = "what is inserted is made with await")]
    if !fresh.contains_key(&key) {
        let file = server.fresh(run.role, &trees.paths[run.tree]).await?;
        fresh.insert(key, file);
    }
    Tests::start(server, run, &trees.paths[run.tree], &fresh[&key])
}

/// The findings in the output of a process.
fn judge(run: &Run, said: &str, calm: bool, tally: &mut Tally) -> Vec<String> {
    let mut wrong = Vec::new();
    let undisturbed = calm
        && run.killed_after.is_none()
        && !run.scripts.iter().any(|(_, script)| script.is_deadly());
    for (slot, script) in &run.scripts {
        let has = |word: &str| {
            let start = format!("torture: {slot} {word}");
            said.lines()
                .filter(|line| line.starts_with(&start))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        tally.tests += 1;
        if slot.starts_with('d')
            && let Some(line) = has("is in ").first()
        {
            tally.with_databases += 1;
            tally
                .databases
                .insert(line.clone().split_off(format!("torture: {slot}").len()));
        }
        let differences = has("DIFFERS");
        tally.different += usize::from(!differences.is_empty());
        wrong.extend(differences);
        let lost_its_session = !calm || script.steps.contains(&script::Step::Lose);
        let cannot_look = has("cannot look");
        let looked = !has("same").is_empty() || !has("DIFFERS").is_empty();
        if (undisturbed && !looked) || (!lost_its_session && !cannot_look.is_empty()) {
            tally.refused += 1;
            wrong.push(format!("torture: {slot} got no database:"));
            let trace = |line: &&str| {
                !line
                    .trim_start()
                    .starts_with(|letter: char| letter.is_ascii_digit())
            };
            wrong.extend(said.lines().filter(trace).take(40).map(str::to_owned));
        }
    }
    wrong
}

/// A running process of tests.
struct Tests {
    running: Running,
    /// The tests that wait to be killed: all of them when they run at the same time, else the first.
    hanging: Vec<&'static str>,
    killed_after: Option<Duration>,
    _scripts: TempDir,
}

impl Tests {
    fn start(server: &Tortured, run: &Run, tree: &Path, fresh: &Path) -> anyhow::Result<Self> {
        let scripts = TempDir::new()?;
        for (slot, script) in &run.scripts {
            fs::write(scripts.path().join(slot), script.text())?;
        }
        let mut program = Program::new(env::current_exe()?)?
            .variable("RUST_BACKTRACE", "0")
            .argument("--ignored")
            .argument("--exact")
            .argument("--nocapture")
            .argument(format!("--test-threads={}", run.threads))
            .variable(SCRIPTS, scripts.path())
            .variable(TREE, tree)
            .variable(FRESH, fresh);
        if !run.keeps {
            program = program.variable("POOLHOUSE_KEEP", "none");
        }
        for (slot, _) in &run.scripts {
            program = program.argument(format!("torture::victim::{}::{slot}", server.module()));
        }
        program = match server.url(run.role) {
            Some(url) => program.variable(URL, url),
            None => program.variable("TMPDIR", server.folder()),
        };
        let hanging = run
            .scripts
            .iter()
            .filter(|(_, script)| script.hangs())
            .map(|(slot, _)| *slot);
        let hanging = hanging
            .take(if run.threads < run.scripts.len() {
                1
            } else {
                usize::MAX
            })
            .collect();
        Ok(Self {
            running: program.start()?,
            hanging,
            killed_after: run.killed_after,
            _scripts: scripts,
        })
    }

    /// Waits for the process's end, kills it if the plan says so, and returns its output.
    async fn end(mut self) -> anyhow::Result<String> {
        if let Some(after) = self.killed_after {
            tokio::time::sleep(after).await;
            // The process may have ended.
            let _ = self.running.signal(Signal::SIGKILL);
        } else if !self.hanging.is_empty() {
            for slot in &self.hanging {
                let words = if self.hanging.len() == 1 {
                    " hangs".to_owned()
                } else {
                    format!("{slot} hangs")
                };
                // The process ends before, if another test ends it or this one gets no database.
                let _ = tokio::time::timeout(PATIENCE, self.running.line(&words)).await;
            }
            let _ = self.running.signal(Signal::SIGKILL);
        }
        let ended = tokio::time::timeout(LIMIT, self.running.end())
            .await
            .context("it does not end")??;
        Ok(ended.everything())
    }
}
