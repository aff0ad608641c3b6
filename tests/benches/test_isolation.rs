//! `cargo bench --bench test_isolation [-- postgres mariadb sqlite bare]`: what isolation costs a test; with `bare`, one
//! without migrations alone: one that makes its table, inserts and counts (`table`), and one that does nothing (`bare`).
//!
//! The same 200 tests (50 migrations, a table each; a test inserts and counts) run through `#[sqlx::test]` and through
//! `#[with_pool]` with `isolation = "database"` and `"rollback"`, on private servers, in one process (as `cargo test`
//! does) and with a process for each test (`cargo nextest run`). *Cold* is the first run on a server; *warm* is a round after
//! it, in which the ways take turns, and for the bar the median of three. Before each run of these the disk rests: `#[sqlx::test]` drops a
//! few ten thousand files, and ext4 looks past each inode that was freed within the last five seconds whenever it makes a
//! file, so that one way would be slowed down by the other.
//!
//! | column | meaning |
//! |---|---|
//! | `ms/test` | wall time of the run, divided by its tests |
//! | `cpu ms` | the server's processor time for each test |
//! | `start` | median time from the test function's first line to the first line of its body |

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use poolhouse_tests::{Kind, PrivateServer};

/// So many tests are in each module of `isolation`.
const TESTS: u32 = 200;

/// Warm rounds of what the bar is made of.
const ROUNDS: usize = 3;

/// Warm rounds without migrations: as many as fit into this time, but not fewer than those above and not more than these.
const BARE_TIME: Duration = Duration::from_secs(20);
const BARE_ROUNDS: usize = 21;

/// Longer than ext4 remembers freed inodes.
const REST: Duration = Duration::from_secs(6);

/// One way to run the tests.
#[derive(Clone, Copy, PartialEq)]
enum Runner {
    CargoTest,
    Nextest,
}

/// What one run came to.
struct Run {
    wall: Duration,
    server_cpu: Option<Duration>,
    start: Option<Duration>,
}

impl Run {
    /// Each figure's median.
    fn median(runs: &[Self]) -> Self {
        let middle = |figure: fn(&Self) -> Option<Duration>| {
            let mut figures: Vec<Duration> = runs.iter().filter_map(figure).collect();
            figures.sort_unstable();
            figures.get(figures.len() / 2).copied()
        };
        Self {
            wall: middle(|run| Some(run.wall)).unwrap_or_default(),
            server_cpu: middle(|run| run.server_cpu),
            start: middle(|run| run.start),
        }
    }
}

struct Bench {
    binary: PathBuf,
    starts: tempfile::NamedTempFile,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let bench = Bench {
        binary: build()?,
        starts: tempfile::NamedTempFile::new()?,
    };
    println!(
        "{:<22} {:<11} {:<5} {:>9} {:>8} {:>9}",
        "tests", "runner", "state", "ms/test", "cpu ms", "start"
    );
    let mut bar = Bar::default();
    let words = std::env::args().skip(1);
    let words = words.filter(|word| !word.starts_with('-'));
    let (bare, wanted): (Vec<String>, Vec<String>) = words.partition(|word| word == "bare");
    let runners: &[Runner] = if !bare.is_empty() {
        &[]
    } else if has_nextest() {
        &[Runner::CargoTest, Runner::Nextest]
    } else {
        &[Runner::CargoTest]
    };
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    for (kind, name, prefix) in [
        (Kind::Postgres, "postgres", "postgres"),
        (Kind::MariaDb, "mariadb", "mysql"),
    ] {
        if !is_wanted(name) {
            continue;
        }
        let server = PrivateServer::of(kind)
            .setting("max_connections", 100)
            .start()
            .await?;
        let there = There {
            url: server.url.clone(),
            process: server.process_id(),
        };
        bench.kind(prefix, &there, runners, &mut bar)?;
    }
    if is_wanted("sqlite") {
        let folder = tempfile::tempdir()?;
        let there = There {
            url: format!("sqlite:{}", folder.path().join("bench.db").display()),
            process: None,
        };
        bench.kind("sqlite", &there, runners, &mut bar)?;
    }
    print!("{bar}");
    Ok(())
}

/// Where the tests run.
struct There {
    url: String,
    process: Option<u32>,
}

/// What the last lines say, as far as it was measured.
#[derive(Default)]
struct Bar {
    /// Postgres, warm: `#[sqlx::test]`, `database` and `rollback`.
    postgres: Option<[Run; 3]>,
    /// Without migrations: what the tests are, and how many times as long `#[sqlx::test]` takes.
    bare: Vec<(String, f64)>,
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (tests, ratio) in &self.bare {
            writeln!(
                f,
                "{tests} without migrations: sqlx takes {ratio:.2} times as long as poolhouse"
            )?;
        }
        let Some([sqlx, database, rollback]) = &self.postgres else {
            return writeln!(f, "no bar: it is for Postgres");
        };
        let sqlx = per_test(sqlx.wall);
        writeln!(
            f,
            "bar: database_ratio={:.1} rollback_ratio={:.1} body_start_ms_p50={:.2}",
            sqlx / per_test(database.wall),
            sqlx / per_test(rollback.wall),
            database.start.map_or(f64::NAN, millis),
        )
    }
}

impl Bench {
    fn kind(
        &self,
        prefix: &str,
        there: &There,
        runners: &[Runner],
        bar: &mut Bar,
    ) -> anyhow::Result<()> {
        for &runner in runners {
            let ways = ["sqlx", "database", "rollback"];
            let suites = ways.map(|way| format!("{prefix}_{way}"));
            let for_the_bar = prefix == "postgres" && runner == Runner::CargoTest;
            let rounds = if for_the_bar { ROUNDS } else { 1 };
            let warm = self.rows(&suites, runner, there, rounds)?;
            if for_the_bar {
                bar.postgres = Some(warm);
            }
        }
        for body in ["table", "bare"] {
            self.bare(&format!("{prefix}_{body}"), there, bar)?;
        }
        Ok(())
    }

    /// Tests without migrations.
    fn bare(&self, tests: &str, there: &There, bar: &mut Bar) -> anyhow::Result<()> {
        let suites = ["sqlx", "database"].map(|way| format!("{tests}_{way}"));
        let begun = Instant::now();
        self.run(&suites[0], Runner::CargoTest, there)?;
        let fit = BARE_TIME.as_millis() / begun.elapsed().as_millis().max(1) / 2;
        let rounds = usize::try_from(fit)?.clamp(ROUNDS, BARE_ROUNDS);
        let [sqlx, database] = self.rows(&suites, Runner::CargoTest, there, rounds)?;
        let ratio = sqlx.wall.as_secs_f64() / database.wall.as_secs_f64();
        bar.bare.push((tests.to_owned(), ratio));
        Ok(())
    }

    /// A cold run of each, and warm rounds in which they take turns; the median of these.
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
        fs::write(self.starts.path(), "")?;
        let cpu = server.map(cpu_time).transpose()?;
        let mut command = match runner {
            Runner::CargoTest => {
                let mut command = Command::new(&self.binary);
                command.arg(format!("{suite}::"));
                command
            }
            Runner::Nextest => {
                let mut command = Command::new(env!("CARGO"));
                let filter = format!("test(/^{suite}::/)");
                command.args([
                    "nextest",
                    "run",
                    "--workspace",
                    "--test",
                    "isolation",
                    "-E",
                    &filter,
                ]);
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
        if runner == Runner::Nextest {
            wall = nextest_time(&said).with_context(|| format!("no summary in\n{said}"))?;
        }
        let server_cpu = match (server, cpu) {
            (Some(server), Some(before)) => Some(cpu_time(server)?.saturating_sub(before)),
            _ => None,
        };
        Ok(Run {
            wall,
            server_cpu,
            start: median(&fs::read_to_string(self.starts.path())?),
        })
    }
}

fn report(suite: &str, runner: Runner, state: &str, run: &Run) {
    let runner = match runner {
        Runner::CargoTest => "cargo test",
        Runner::Nextest => "nextest",
    };
    let cpu = run
        .server_cpu
        .map_or_else(|| "-".to_owned(), |cpu| format!("{:.1}", per_test(cpu)));
    let start = run.start.map_or_else(
        || "-".to_owned(),
        |start| format!("{:.2} ms", millis(start)),
    );
    println!(
        "{suite:<22} {runner:<11} {state:<5} {:>9.2} {cpu:>8} {start:>9}",
        per_test(run.wall)
    );
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn per_test(time: Duration) -> f64 {
    millis(time) / f64::from(TESTS)
}

/// The median of microseconds, one a line.
fn median(lines: &str) -> Option<Duration> {
    let mut times: Vec<u64> = lines.lines().filter_map(|line| line.parse().ok()).collect();
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .copied()
        .map(Duration::from_micros)
}

/// The time that nextest itself states, without cargo's own: `Summary [   3.210s] 200 tests run`.
fn nextest_time(said: &str) -> Option<Duration> {
    let line = said.lines().find(|line| line.contains("Summary ["))?;
    let seconds = line.split(['[', ']']).nth(1)?.trim().trim_end_matches('s');
    Some(Duration::from_secs_f64(seconds.parse().ok()?))
}

/// Builds the tests as `cargo test` would, and tells where they are.
fn build() -> anyhow::Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
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

/// Whether nextest is there; it is installed when it is not.
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

/// The processor time of a server: its own, that of its children that have ended, and that of those that run.
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
    // The unit of `/proc/<id>/stat` is a hundredth of a second wherever Linux runs.
    Ok(Duration::from_millis(ticks * 10))
}

/// The fields of `/proc/<id>/stat` behind the program's name, which may hold anything.
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
