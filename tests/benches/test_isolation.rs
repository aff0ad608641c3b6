//! The cost of isolation per test: `cargo bench --bench test_isolation [-- postgres mariadb sqlite nextest bare million plain]`.
//!
//! Arguments select kinds of database and parts; without any, everything runs. `plain` skips the optimised build.
//!
//! The same tests (50 migrations, a table each; a test inserts and counts) run through `#[sqlx::test]` and through `#[with_pool]`
//! with `isolation = "database"` and `"rollback"`. The private servers ask for a password as servers do by default (SCRAM on
//! Postgres). The tests run in one process (as `cargo test` does) and with a process for each test (`cargo nextest run`). A suite
//! of ours has 200 tests; one of `#[sqlx::test]`, which takes the same time for each, has 50. *Cold* is the first run on a
//! server; *warm* is a later round, in which the suites take turns. Figures are the median of the rounds. Before each run there
//! is a pause without disk use: `#[sqlx::test]` drops a few ten thousand files, and ext4 skips each inode that was freed within
//! the last five seconds whenever it creates a file. Without the pause one suite would slow down another.
//!
//! All of it runs twice: with cargo's default profile for tests, and with those few packages optimised that compute for a
//! handshake (`docs/testing.md` has the lines). `bare` are tests without migrations: one that creates its table, inserts and
//! counts (`table`), and one that does nothing (`bare`). `million` is a template with a million rows, compared with a fresh clone
//! of it.
//!
//! | column | meaning |
//! |---|---|
//! | `ms/test` | wall time of the run, divided by its tests |
//! | `cpu ms` | the server's processor time for each test |
//! | `start` | median time from the test function's first line to the first line of its body |
//!
//! After a run of every suite on every database, `docs/charts/test-isolation.svg` is written.
//!
//! The last line is `bar: …`, the speed relative to `#[sqlx::test]`. The line before it is `optimised: …`, with the same names.

#[path = "support/chart.rs"]
mod chart;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chart::{Chart, Panel};
use poolhouse_tests::{Kind, PrivateServer};

/// The number of tests of a module that are run.
const TESTS: u32 = 200;
const TESTS_OF_SQLX: u32 = 50;
const TESTS_OF_A_MILLION: u32 = 20;

/// Warm rounds.
const ROUNDS: usize = 3;

/// The time for warm rounds without migrations. Their number is at least `ROUNDS` and at most `BARE_ROUNDS`.
const BARE_TIME: Duration = Duration::from_secs(20);
const BARE_ROUNDS: usize = 21;

/// Longer than ext4 skips freed inodes.
const REST: Duration = Duration::from_secs(6);

/// The packages that compute for a handshake: hashes, and the crates in which their generic code is compiled.
const OPTIMISED: [&str; 8] = [
    "sha2",
    "sha1",
    "hmac",
    "digest",
    "block-buffer",
    "hybrid-array",
    "sqlx-postgres",
    "sqlx-mysql",
];

/// A command that runs the tests.
#[derive(Clone, Copy, PartialEq)]
enum Runner {
    CargoTest,
    Nextest,
}

/// The figures of one run.
struct Run {
    tests: u32,
    wall: Duration,
    server_cpu: Option<Duration>,
    start: Option<Duration>,
}

impl Run {
    /// The median of each figure.
    fn median(runs: &[Self]) -> Self {
        let middle = |figure: fn(&Self) -> Option<Duration>| {
            let mut figures: Vec<Duration> = runs.iter().filter_map(figure).collect();
            figures.sort_unstable();
            figures.get(figures.len() / 2).copied()
        };
        Self {
            tests: runs.first().map_or(1, |run| run.tests),
            wall: middle(|run| Some(run.wall)).unwrap_or_default(),
            server_cpu: middle(|run| run.server_cpu),
            start: middle(|run| run.start),
        }
    }

    fn per_test(&self) -> f64 {
        self.of_a_test(self.wall)
    }

    fn of_a_test(&self, time: Duration) -> f64 {
        millis(time) / f64::from(self.tests)
    }
}

/// The arguments of the command line.
struct Choice(Vec<String>);

impl Choice {
    fn ask_for(&self, word: &str) -> bool {
        self.0.iter().any(|known| known == word)
    }

    /// Whether this kind of database is selected.
    fn want_kind(&self, kind: &str) -> bool {
        let kinds = ["postgres", "mariadb", "sqlite"];
        self.ask_for(kind) || !kinds.iter().any(|kind| self.ask_for(kind))
    }

    /// Whether this part is selected.
    fn want_part(&self, part: &str) -> bool {
        let parts = ["main", "nextest", "bare", "million"];
        self.ask_for(part) || !parts.iter().any(|part| self.ask_for(part))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let choice = Choice(
        std::env::args()
            .skip(1)
            .filter(|word| !word.starts_with('-'))
            .collect(),
    );
    println!(
        "{:<22} {:<11} {:<5} {:>9} {:>8} {:>9}",
        "tests", "runner", "state", "ms/test", "cpu ms", "start"
    );
    let optimised = if choice.ask_for("plain") {
        None
    } else {
        println!("with optimised packages:");
        let config = |package: &&str| format!("profile.dev.package.\"{package}\".opt-level=3");
        let bench = Bench::build(OPTIMISED.iter().map(config).collect())?;
        Some(bench.all(&choice, false).await?)
    };
    println!("as cargo builds:");
    let bar = Bench::build(Vec::new())?.all(&choice, true).await?;
    bar.chart()?;
    if let Some(optimised) = optimised {
        println!("optimised: {optimised}");
    }
    println!("bar: {bar}");
    Ok(())
}

/// The server on which the tests run.
struct There {
    url: String,
    process: Option<u32>,
}

/// The figures of the last lines; `None` where they were not measured.
#[derive(Default)]
struct Bar {
    postgres: Option<f64>,
    nextest: Option<f64>,
    mariadb: Option<f64>,
    sqlite: Option<f64>,
    rollback: Option<f64>,
    body_start: Option<f64>,
    /// The wall time of a test, for the chart: a panel for each measured database.
    panels: Vec<Panel>,
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |figure: Option<f64>, digits: usize| {
            figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
        };
        write!(
            f,
            "postgres={} nextest={} mariadb={} sqlite={} rollback={} body_start_ms_p50={}",
            shown(self.postgres, 1),
            shown(self.nextest, 1),
            shown(self.mariadb, 1),
            shown(self.sqlite, 1),
            shown(self.rollback, 1),
            shown(self.body_start, 2)
        )
    }
}

impl Bar {
    /// Draws the figures, unless a database is missing.
    fn chart(&self) -> anyhow::Result<()> {
        if self.panels.len() < 3 {
            return Ok(());
        }
        let chart = Chart {
            title: "A test with 50 migrations, warm".to_owned(),
            bars: vec![
                "#[sqlx::test]",
                "isolation = \"database\"",
                "isolation = \"rollback\"",
            ],
            panels: self.panels.clone(),
        };
        chart.write("test-isolation")
    }
}

/// One build of the tests.
struct Bench {
    binary: PathBuf,
    /// The arguments for cargo in this build.
    config: Vec<String>,
    starts: tempfile::NamedTempFile,
}

impl Bench {
    fn build(config: Vec<String>) -> anyhow::Result<Self> {
        let config: Vec<String> = config
            .into_iter()
            .flat_map(|value| ["--config".to_owned(), value])
            .collect();
        Ok(Self {
            binary: build(&config)?,
            config,
            starts: tempfile::NamedTempFile::new()?,
        })
    }

    /// Runs every part on every kind of database; `extras` are the parts that are not in the bar.
    async fn all(&self, choice: &Choice, extras: bool) -> anyhow::Result<Bar> {
        let mut bar = Bar::default();
        for (kind, name, prefix) in [
            (Kind::Postgres, "postgres", "postgres"),
            (Kind::MariaDb, "mariadb", "mysql"),
        ] {
            if !choice.want_kind(name) {
                continue;
            }
            let server = PrivateServer::of(kind)
                .setting("max_connections", 100)
                .start()
                .await?;
            if kind == Kind::Postgres {
                ask_with_scram(&server).await?;
            }
            let there = There {
                url: server.url.clone(),
                process: server.process_id(),
            };
            self.kind(prefix, &there, choice, extras, &mut bar)?;
            if extras && choice.want_part("million") {
                self.million(prefix, &there, || fresh_clone(&server))
                    .await?;
            }
        }
        if choice.want_kind("sqlite") {
            let folder = tempfile::tempdir()?;
            let file = folder.path().join("bench.db");
            let there = There {
                url: format!("sqlite:{}", file.display()),
                process: None,
            };
            self.kind("sqlite", &there, choice, extras, &mut bar)?;
            if extras && choice.want_part("million") {
                self.million("sqlite", &there, || copied_file(folder.path()))
                    .await?;
            }
        }
        Ok(bar)
    }

    fn kind(
        &self,
        prefix: &str,
        there: &There,
        choice: &Choice,
        extras: bool,
        bar: &mut Bar,
    ) -> anyhow::Result<()> {
        if choice.want_part("main") {
            let suites = ["sqlx", "database", "rollback"].map(|mode| format!("{prefix}_{mode}"));
            let [sqlx, database, rollback] =
                self.rows(&suites, Runner::CargoTest, there, ROUNDS)?;
            let ratio = sqlx.per_test() / database.per_test();
            bar.panels.push(Panel {
                title: format!("{prefix}, milliseconds a test"),
                groups: vec![(
                    "cargo test".to_owned(),
                    [&sqlx, &database, &rollback].map(Run::per_test).into(),
                )],
            });
            match prefix {
                "postgres" => {
                    bar.postgres = Some(ratio);
                    bar.rollback = Some(sqlx.per_test() / rollback.per_test());
                    bar.body_start = database.start.map(millis);
                }
                "mysql" => bar.mariadb = Some(ratio),
                _ => bar.sqlite = Some(ratio),
            }
        }
        if choice.want_part("nextest") && (prefix == "postgres" || extras) && has_nextest() {
            let suites = ["sqlx", "database"].map(|mode| format!("{prefix}_{mode}"));
            let [sqlx, database] = self.rows(&suites, Runner::Nextest, there, ROUNDS)?;
            if prefix == "postgres" {
                bar.nextest = Some(sqlx.per_test() / database.per_test());
            }
        }
        if extras && choice.want_part("bare") {
            for body in ["table", "bare"] {
                self.bare(&format!("{prefix}_{body}"), there)?;
            }
        }
        Ok(())
    }

    /// Tests without migrations.
    fn bare(&self, tests: &str, there: &There) -> anyhow::Result<()> {
        let suites = ["sqlx", "database"].map(|mode| format!("{tests}_{mode}"));
        let begun = Instant::now();
        self.run(&suites[0], Runner::CargoTest, there)?;
        let fit = BARE_TIME.as_millis() / begun.elapsed().as_millis().max(1) / 2;
        let rounds = usize::try_from(fit)?.clamp(ROUNDS, BARE_ROUNDS);
        let [sqlx, database] = self.rows(&suites, Runner::CargoTest, there, rounds)?;
        println!(
            "{tests} without migrations: sqlx takes {:.2} times as long as poolhouse",
            sqlx.per_test() / database.per_test()
        );
        Ok(())
    }

    /// Tests whose template has a million rows, in turn with fresh clones of such a database.
    async fn million<F>(
        &self,
        prefix: &str,
        there: &There,
        fresh: impl FnOnce() -> F,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<Duration>>,
    {
        let suite = format!("{prefix}_million");
        #[allow(
            clippy::cloned_ref_to_slice_refs,
            reason = "an array, for as many rows"
        )]
        let [run] = self.rows(&[suite.clone()], Runner::CargoTest, there, ROUNDS)?;
        let fresh = millis(fresh().await?);
        println!(
            "{suite}: {:.1} ms a test; a fresh clone takes {fresh:.1} ms",
            run.per_test()
        );
        Ok(())
    }

    /// Runs each suite once cold, then in turns; returns the medians of the warm rounds.
    fn rows<const N: usize>(
        &self,
        suites: &[String; N],
        runner: Runner,
        there: &There,
        turns: usize,
    ) -> anyhow::Result<[Run; N]> {
        for suite in suites {
            report(suite, runner, "cold", &self.run(suite, runner, there)?);
        }
        let mut rounds = [const { Vec::new() }; N];
        for _ in 0..turns {
            for (suite, runs) in suites.iter().zip(&mut rounds) {
                if there.process.is_some() {
                    std::thread::sleep(REST);
                }
                runs.push(self.run(suite, runner, there)?);
            }
        }
        let medians = rounds.map(|runs| Run::median(&runs));
        for (suite, median) in suites.iter().zip(&medians) {
            report(suite, runner, "warm", median);
        }
        Ok(medians)
    }

    fn run(&self, suite: &str, runner: Runner, there: &There) -> anyhow::Result<Run> {
        let server = there.process;
        let tests = if suite.ends_with("_sqlx") {
            TESTS_OF_SQLX
        } else if suite.ends_with("_million") {
            TESTS_OF_A_MILLION
        } else {
            TESTS
        };
        fs::write(self.starts.path(), "")?;
        let cpu = server.map(cpu_time).transpose()?;
        let mut command = match runner {
            Runner::CargoTest => {
                let mut command = Command::new(&self.binary);
                command.args(filters(suite, tests));
                command
            }
            Runner::Nextest => {
                let mut command = Command::new(env!("CARGO"));
                let filters: Vec<String> = filters(suite, tests)
                    .map(|filter| format!("test(/^{filter}/)"))
                    .collect();
                command
                    .args([
                        "nextest",
                        "run",
                        "--workspace",
                        "--test",
                        "isolation",
                        "-E",
                        &filters.join(" | "),
                    ])
                    .args(&self.config);
                command
            }
        };
        let begun = Instant::now();
        let output = command
            .env("DATABASE_URL", &there.url)
            .env("ISOLATION_STARTS", self.starts.path())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()?;
        let mut wall = begun.elapsed();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{suite} failed:\n{said}");
        ensure!(
            said.contains(&format!("{tests} passed")),
            "not {tests} tests of {suite} ran:\n{said}"
        );
        if runner == Runner::Nextest {
            wall = nextest_time(&said).with_context(|| format!("no summary in\n{said}"))?;
        }
        let server_cpu = match (server, cpu) {
            (Some(server), Some(before)) => Some(cpu_time(server)?.saturating_sub(before)),
            _ => None,
        };
        Ok(Run {
            tests,
            wall,
            server_cpu,
            start: median(&fs::read_to_string(self.starts.path())?),
        })
    }
}

/// The filters of the first tests of a module: `t000` to `t199`.
fn filters(suite: &str, tests: u32) -> impl Iterator<Item = String> {
    (0..tests / 10).map(move |tens| format!("{suite}::t{tens:02}"))
}

/// Makes a server use SCRAM for its superuser, the default since Postgres 14. The private servers store the password for MD5,
/// which is quick.
async fn ask_with_scram(server: &PrivateServer) -> anyhow::Result<()> {
    let url = url::Url::parse(&server.url)?;
    let (user, password) = (url.username(), url.password().context("no password")?);
    server
        .ask(&[
            "SET password_encryption = 'scram-sha-256'".to_owned(),
            format!("ALTER ROLE {user} PASSWORD '{password}'"),
        ])
        .await?;
    Ok(())
}

/// The median time of five clones of a database with a million rows.
async fn fresh_clone(server: &PrivateServer) -> anyhow::Result<Duration> {
    let (make, clone, drop): (Vec<String>, Vec<String>, _) = match server.kind {
        Kind::Postgres => (
            vec!["CREATE DATABASE million".to_owned()],
            vec!["CREATE DATABASE clone TEMPLATE million".to_owned()],
            "DROP DATABASE clone",
        ),
        Kind::MariaDb => (
            vec![
                "CREATE DATABASE million".to_owned(),
                "USE million".to_owned(),
            ]
            .into_iter()
            .chain(statements(include_str!(
                "isolation/million/mariadb/0001_million.sql"
            )))
            .collect(),
            vec![
                "CREATE DATABASE clone".to_owned(),
                "CREATE TABLE clone.million LIKE million.million".to_owned(),
                "CREATE TABLE clone.table_25 LIKE million.table_25".to_owned(),
                "INSERT INTO clone.million SELECT * FROM million.million".to_owned(),
            ],
            "DROP DATABASE clone",
        ),
    };
    server.ask(&make).await?;
    if server.kind == Kind::Postgres {
        let mut url = url::Url::parse(&server.url)?;
        url.set_path("million");
        let million = poolhouse_tests::Server {
            url: url.into(),
            ..(**server).clone()
        };
        million
            .ask(&statements(include_str!(
                "isolation/million/postgres/0001_million.sql"
            )))
            .await?;
    }
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        server.ask(&clone).await?;
        times.push(begun.elapsed());
        server.ask(&[drop.to_owned()]).await?;
    }
    server.ask(&["DROP DATABASE million".to_owned()]).await?;
    times.sort_unstable();
    Ok(times[2])
}

fn statements(sql: &str) -> Vec<String> {
    sql.split(';')
        .map(str::trim)
        .filter(|sql| !sql.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The median time of five copies of a file with a million rows.
async fn copied_file(folder: &Path) -> anyhow::Result<Duration> {
    let file = folder.join("million.db");
    let url = format!("sqlite:{}?mode=rwc", file.display());
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await?;
    sqlx::raw_sql(include_str!("isolation/million/sqlite/0001_million.sql"))
        .execute(&mut connection)
        .await?;
    sqlx::Connection::close(connection).await?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        fs::copy(&file, folder.join("copy.db"))?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[2])
}

fn report(suite: &str, runner: Runner, state: &str, run: &Run) {
    let runner = match runner {
        Runner::CargoTest => "cargo test",
        Runner::Nextest => "nextest",
    };
    let cpu = run.server_cpu.map_or_else(
        || "-".to_owned(),
        |cpu| format!("{:.1}", run.of_a_test(cpu)),
    );
    let start = run.start.map_or_else(
        || "-".to_owned(),
        |start| format!("{:.2} ms", millis(start)),
    );
    println!(
        "{suite:<22} {runner:<11} {state:<5} {:>9.2} {cpu:>8} {start:>9}",
        run.per_test()
    );
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The median of microseconds, one per line.
fn median(lines: &str) -> Option<Duration> {
    let mut times: Vec<u64> = lines.lines().filter_map(|line| line.parse().ok()).collect();
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .copied()
        .map(Duration::from_micros)
}

/// The time that nextest reports, without cargo's own: `Summary [   3.210s] 200 tests run`.
fn nextest_time(said: &str) -> Option<Duration> {
    let line = said.lines().find(|line| line.contains("Summary ["))?;
    let seconds = line.split(['[', ']']).nth(1)?.trim().trim_end_matches('s');
    Some(Duration::from_secs_f64(seconds.parse().ok()?))
}

/// Builds the tests as `cargo test` would, with these arguments for cargo, and returns their path.
fn build(config: &[String]) -> anyhow::Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(config)
        .args([
            "test",
            "--workspace",
            "--test",
            "isolation",
            "--no-run",
            "--message-format=short",
        ])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the tests do not build:\n{said}");
    // `Executable benches/isolation/main.rs (target/debug/deps/isolation-0123456789abcdef)`
    let path = said
        .lines()
        .find(|line| line.trim_start().starts_with("Executable"))
        .and_then(|line| line.rsplit_once('(')?.1.strip_suffix(')'));
    let Some(path) = path else {
        bail!("cargo does not say where the tests are:\n{said}")
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Ok(root.join(path).canonicalize()?)
}

/// Checks whether nextest is installed, and installs it if not.
fn has_nextest() -> bool {
    let nextest = |arguments: &[&str]| {
        let status = Command::new(env!("CARGO")).args(arguments).output();
        status.is_ok_and(|output| output.status.success())
    };
    nextest(&["nextest", "--version"]) || {
        println!("installing cargo-nextest");
        nextest(&["install", "cargo-nextest", "--locked"])
    }
}

/// The processor time of a server: its own, and that of its ended and running children.
fn cpu_time(server: u32) -> anyhow::Result<Duration> {
    let mut ticks = ticks(server, true).context("the server is gone")?;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if parent(id) == Some(server) {
            ticks += self::ticks(id, false).unwrap_or_default();
        }
    }
    // The unit of `/proc/<id>/stat` is a hundredth of a second on all Linux systems.
    Ok(Duration::from_millis(ticks * 10))
}

/// The fields of `/proc/<id>/stat` after the program's name, which may contain any character.
fn stat(id: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn parent(id: u32) -> Option<u32> {
    stat(id)?.get(1)?.parse().ok()
}

fn ticks(id: u32, with_children: bool) -> Option<u64> {
    let fields = stat(id)?;
    let fields = &fields[11..if with_children { 15 } else { 13 }];
    fields.iter().map(|field| field.parse::<u64>().ok()).sum()
}
