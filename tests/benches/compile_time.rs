//! What the attribute costs while a program is written and when it is built for the first time.
//!
//! `check_ratio`: `cargo check` after an edit, of a crate with 500 attributed functions against one in which each of them
//! says by hand what the attribute says: look up, start, run, catch a panic, close. `clean_build_ratio`: the first build of
//! a crate that depends on poolhouse with one database, against one that depends on sqlx alone with the same features.
//!
//! Each measurement alternates between the two sides and takes the medians. `--rounds N` sets how many clean builds there
//! are of each, `--checks N` how many checks.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

const FUNCTIONS: usize = 500;

/// The most that either may cost, as a multiple of the other side.
const BAR: f64 = 1.25;

fn main() -> anyhow::Result<()> {
    let checks = argument("--checks")?.unwrap_or(9);
    let rounds = argument("--rounds")?.unwrap_or(2);

    let attributed = Package::new("attributed", &dependencies(), &functions(attributed))?;
    let by_hand = Package::new("by_hand", &dependencies(), &functions(by_hand))?;
    let shared = Package::target("shared");
    let check = ratio(
        "check after an edit",
        checks,
        [&attributed, &by_hand],
        |package, round| {
            if round == 0 {
                // The dependencies, which both have in common, and the first check of the crate itself.
                package.cargo("check", &shared)?;
            }
            package.edit(round)?;
            package.cargo("check", &shared)
        },
    )?;

    let poolhouse = Package::new("with_poolhouse", &poolhouse_alone(), "")?;
    let sqlx = Package::new("with_sqlx", SQLX_ALONE, "")?;
    let build = ratio("clean build", rounds, [&poolhouse, &sqlx], |package, _| {
        let target = Package::target(&package.name);
        if target.exists() {
            fs::remove_dir_all(&target)?;
        }
        let time = package.cargo("build", &target)?;
        fs::remove_dir_all(&target)?;
        Ok(time)
    })?;

    let verdict = if check <= BAR && build <= BAR {
        "met"
    } else {
        "missed"
    };
    println!("wanted: at most {BAR} and {BAR}: {verdict}");
    println!("bar: check_ratio={check:.2} clean_build_ratio={build:.2}");
    Ok(())
}

/// Measures both packages in turn and compares their medians.
fn ratio(
    name: &str,
    rounds: usize,
    packages: [&Package; 2],
    measure: impl Fn(&Package, usize) -> anyhow::Result<Duration>,
) -> anyhow::Result<f64> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for (package, times) in packages.iter().zip(&mut times) {
            let time = measure(package, round)?;
            println!("{name}, {}: {:.2} s", package.name, time.as_secs_f64());
            times.push(time.as_secs_f64());
        }
    }
    let [ours, theirs] = times.map(median);
    let [our_name, their_name] = packages.map(|package| &package.name);
    println!(
        "{name}: {our_name} {ours:.2} s, {their_name} {theirs:.2} s, ratio {:.2}",
        ours / theirs
    );
    Ok(ours / theirs)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    if times.len().is_multiple_of(2) {
        f64::midpoint(times[middle - 1], times[middle])
    } else {
        times[middle]
    }
}

fn argument(name: &str) -> anyhow::Result<Option<usize>> {
    let mut words = std::env::args().skip_while(|word| word != name).skip(1);
    let number = words.next().map(|word| {
        word.parse()
            .with_context(|| format!("{name} takes a number"))
    });
    let number: Option<usize> = number.transpose()?;
    ensure!(number != Some(0), "{name} must be at least 1");
    Ok(number)
}

/// A generated library.
struct Package {
    name: String,
    folder: PathBuf,
    source: String,
}

impl Package {
    fn new(name: &str, dependencies: &str, source: &str) -> anyhow::Result<Self> {
        let folder = below(name);
        fs::create_dir_all(folder.join("src"))?;
        fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock"))?;
        fs::write(
            folder.join("Cargo.toml"),
            format!(
                "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{dependencies}"
            ),
        )?;
        let package = Self {
            name: name.to_owned(),
            folder,
            source: source.to_owned(),
        };
        package.edit(0)?;
        Ok(package)
    }

    /// Changes a line of its only file.
    fn edit(&self, round: usize) -> anyhow::Result<()> {
        let source = format!("{}\npub const ROUND: usize = {round};\n", self.source);
        Ok(fs::write(self.folder.join("src/lib.rs"), source)?)
    }

    /// Runs cargo and says how long it took.
    fn cargo(&self, command: &str, target: &Path) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let output = Command::new(env!("CARGO"))
            .args([command, "--offline", "--quiet"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", target)
            .env_remove("CARGO_INCREMENTAL")
            .stdout(Stdio::null())
            .output()?;
        let time = start.elapsed();
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(time)
    }

    fn target(name: &str) -> PathBuf {
        below("target").join(name)
    }
}

fn below(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("compile_time")
        .join(name)
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("")
}

fn dependencies() -> String {
    format!(
        "poolhouse = {{ path = '{}', default-features = false, features = [\"postgres\"] }}\n\
         sqlx = {{ version = \"0.9\", default-features = false }}\n\
         futures-util = \"0.3\"\n",
        workspace().join("runtime").display()
    )
}

fn poolhouse_alone() -> String {
    format!(
        "poolhouse = {{ path = '{}', features = [\"postgres\"] }}\n",
        workspace().join("runtime").display()
    )
}

/// The features of sqlx that poolhouse's own features ask for.
const SQLX_ALONE: &str = "sqlx = { version = \"0.9\", default-features = false, features = [\"runtime-tokio\", \"macros\", \
                          \"migrate\", \"postgres\", \"tls-rustls-ring-native-roots\"] }\n";

/// The source of the crate, from one of the two ways to write a function.
fn functions(function: fn(usize) -> String) -> String {
    let mut source = String::from(
        "#![allow(unused_imports)]\n\
         use std::panic::{AssertUnwindSafe, resume_unwind};\n\
         use futures_util::FutureExt;\n\
         use poolhouse::{Error, PgEngine, Settings, engine_finder_with, with_pool};\n\
         use sqlx::Postgres;\n\n",
    );
    for number in 0..FUNCTIONS {
        // A string takes everything.
        let _ = writeln!(source, "{}", function(number));
    }
    source
}

/// What both ways have in common.
const BODY: &str = r#"let names: Vec<String> = sqlx::query_scalar("SELECT name FROM band WHERE country = $1")
            .bind(country)
            .fetch_all(&db)
            .await?;
        println!("{} bands in {country}", names.len());"#;

fn attributed(number: usize) -> String {
    format!(
        r#"#[with_pool(engine = "engine_{number}", max_size = {number} + 1, acquire_timeout = "5s")]
pub async fn bands_{number}(country: &str, #[pool] db: PgEngine) -> Result<usize, Error> {{
        {BODY}
        Ok(names.len())
}}
"#
    )
}

fn by_hand(number: usize) -> String {
    format!(
        r#"pub async fn bands_{number}(country: &str) -> Result<usize, Error> {{
    let settings = Settings::new().engine("engine_{number}").max_size({number} + 1).acquire_timeout("5s");
    let db = engine_finder_with::<Postgres>(&settings)?;
    db.start_connection_pool().await?;
    let body = async {{
        {BODY}
        Ok(names.len())
    }};
    let ended = AssertUnwindSafe(body).catch_unwind().await;
    db.close_connection_pool().await;
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}}
"#
    )
}
