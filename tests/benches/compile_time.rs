//! The cost of the attribute in compile time: after an edit and in a first build.
//!
//! `check_ratio`: `cargo check` after an edit, of a crate with 500 attributed functions, against one whose functions do by hand
//! what the attribute does: look up, start, run, catch a panic, close. `clean_build_ratio`: the first build of a crate that
//! depends on poolhouse with one database, against one that depends on sqlx alone with the same features. `quickstart_ratio`:
//! `cargo run --example quickstart` from nothing, against `cargo run` of the same program written by hand over sqlx, in a package
//! of its own.
//!
//! Each measurement alternates between the two sides and takes the medians. `--rounds N` sets the number of clean builds of each,
//! `--checks N` the number of checks.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

const FUNCTIONS: usize = 500;

/// The upper bounds, as multiples of the other side: check, clean build, quickstart.
const BARS: [f64; 3] = [1.2, 1.12, 1.3];

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
                // Checks the shared dependencies, and the crate itself for the first time.
                package.cargo(&["check"], &shared)?;
            }
            package.edit(round)?;
            package.cargo(&["check"], &shared)
        },
    )?;

    let poolhouse = Package::new("with_poolhouse", &poolhouse_alone(), "")?;
    let sqlx = Package::new("with_sqlx", SQLX_ALONE, "")?;
    let build = ratio("clean build", rounds, [&poolhouse, &sqlx], |package, _| {
        package.clean_build(&["build"])
    })?;

    let quickstart = Package::at("quickstart", workspace());
    let sqlx = Package::new("quickstart_by_hand", QUICKSTART_ALONE, "")?;
    sqlx.program(QUICKSTART_BY_HAND)?;
    let quickstart = ratio(
        "quickstart from nothing",
        rounds,
        [&quickstart, &sqlx],
        |package, _| {
            let example = ["run", "--example", "quickstart"];
            package.clean_build(if package.name == "quickstart" {
                &example
            } else {
                &example[..1]
            })
        },
    )?;

    let verdict = if check <= BARS[0] && build <= BARS[1] && quickstart <= BARS[2] {
        "met"
    } else {
        "missed"
    };
    println!(
        "wanted: at most {}, {} and {}: {verdict}",
        BARS[0], BARS[1], BARS[2]
    );
    println!(
        "bar: check_ratio={check:.2} clean_build_ratio={build:.2} quickstart_ratio={quickstart:.2}"
    );
    Ok(())
}

/// Measures both packages in turn and divides their medians.
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

/// A package. All but the quickstart are generated.
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
                "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[workspace]\n\n\
                 [profile.dev]\ndebug = \"line-tables-only\"\n\n[dependencies]\n{dependencies}"
            ),
        )?;
        let mut package = Self::at(name, folder);
        source.clone_into(&mut package.source);
        package.edit(0)?;
        Ok(package)
    }

    /// A package that exists already.
    fn at(name: &str, folder: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            folder,
            source: String::new(),
        }
    }

    /// Turns the package into a program.
    fn program(&self, source: &str) -> anyhow::Result<()> {
        fs::remove_file(self.folder.join("src/lib.rs"))?;
        Ok(fs::write(self.folder.join("src/main.rs"), source)?)
    }

    /// Changes a line of the package's only file.
    fn edit(&self, round: usize) -> anyhow::Result<()> {
        let source = format!("{}\npub const ROUND: usize = {round};\n", self.source);
        Ok(fs::write(self.folder.join("src/lib.rs"), source)?)
    }

    /// Runs cargo with nothing compiled yet, and returns the time.
    fn clean_build(&self, arguments: &[&str]) -> anyhow::Result<Duration> {
        let target = Self::target(&self.name);
        if target.exists() {
            fs::remove_dir_all(&target)?;
        }
        let time = self.cargo(arguments, &target)?;
        fs::remove_dir_all(&target)?;
        Ok(time)
    }

    /// Runs cargo and returns the time.
    fn cargo(&self, arguments: &[&str], target: &Path) -> anyhow::Result<Duration> {
        // The program's files are written to this folder.
        let work = below("work");
        fs::create_dir_all(&work)?;
        let start = Instant::now();
        let output = Command::new(env!("CARGO"))
            .args(arguments)
            .args(["--offline", "--quiet", "--manifest-path"])
            .arg(self.folder.join("Cargo.toml"))
            .current_dir(work)
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_NET_OFFLINE", "true")
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

/// The features of sqlx that poolhouse's features enable.
const SQLX_ALONE: &str = "sqlx = { version = \"0.9\", default-features = false, features = [\"runtime-tokio\", \
                          \"migrate\", \"postgres\", \"tls-rustls-ring-native-roots\"] }\n";

/// The dependencies of the quickstart, without poolhouse.
const QUICKSTART_ALONE: &str = "anyhow = \"1.0\"\n\
    sqlx = { version = \"0.9\", default-features = false, features = [\"runtime-tokio\", \"sqlite\"] }\n\
    tokio = { version = \"1\", features = [\"rt-multi-thread\", \"macros\"] }\n\
    tracing-subscriber = { version = \"0.3\", default-features = false, features = [\"fmt\", \"ansi\"] }\n";

/// `examples/quickstart/main.rs` over sqlx.
const QUICKSTART_BY_HAND: &str = r#"
use sqlx::sqlite::SqlitePoolOptions;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let db = SqlitePoolOptions::new()
        .max_connections(4)
        .connect("sqlite:by_hand.db?mode=rwc")
        .await?;
    let body = body(&db).await;
    db.close().await;
    body
}

async fn body(db: &sqlx::SqlitePool) -> anyhow::Result<()> {
    sqlx::query("DROP TABLE IF EXISTS concert").execute(db).await?;
    sqlx::query("CREATE TABLE concert (band TEXT NOT NULL, city TEXT NOT NULL, guests INTEGER NOT NULL)")
        .execute(db)
        .await?;
    let mut tasks = JoinSet::new();
    for (band, city, guests) in [("Rustaceans", "Berlin", 420), ("Borrow Checkers", "Oslo", 260)] {
        let db = db.clone();
        tasks.spawn(async move {
            sqlx::query("INSERT INTO concert (band, city, guests) VALUES (?, ?, ?)")
                .bind(band)
                .bind(city)
                .bind(guests)
                .execute(&db)
                .await
        });
    }
    while let Some(inserted) = tasks.join_next().await {
        inserted??;
    }
    let bands: Vec<(String, i64, i64)> =
        sqlx::query_as("SELECT band, count(*), sum(guests) FROM concert GROUP BY band ORDER BY sum(guests) DESC")
            .fetch_all(db)
            .await?;
    for (band, concerts, guests) in bands {
        println!("{band}: {guests} guests in {concerts} concerts");
    }
    Ok(())
}
"#;

/// The source of a crate with [`FUNCTIONS`] functions of one form.
fn functions(function: fn(usize) -> String) -> String {
    let mut source = String::from(
        "#![allow(unused_imports)]\n\
         use std::panic::{AssertUnwindSafe, resume_unwind};\n\
         use futures_util::FutureExt;\n\
         use poolhouse::{Error, PgEngine, Settings, engine_finder_with, with_pool};\n\
         use sqlx::Postgres;\n\n",
    );
    for number in 0..FUNCTIONS {
        // A write to a string cannot fail.
        let _ = writeln!(source, "{}", function(number));
    }
    source
}

/// The body in both forms.
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
