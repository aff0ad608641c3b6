//! The tests under torture. Each runs a script that the torture has written, with a step on each line.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use poolhouse::Engine;
use poolhouse_tests::Sql;
use sqlx::{ConnectOptions, Connection};

use super::fingerprint::{self, Asks, Tortured};
use super::script::{Script, Step};

/// The variable with the folder of one process's scripts.
pub(crate) const SCRIPTS: &str = "POOLHOUSE_TORTURE_SCRIPTS";
/// The variable with the folder of migrations.
pub(crate) const TREE: &str = "POOLHOUSE_TORTURE_TREE";
/// The variable with the file of a fresh database's lines.
pub(crate) const FRESH: &str = "POOLHOUSE_TORTURE_FRESH";
/// The variable with the server's URL.
pub(crate) const URL: &str = "POOLHOUSE_TORTURE_URL";

/// Prints a line for the torture, which libtest does not break.
macro_rules! say {
    ($($word:tt)*) => { $crate::torture::victim::say(&format!($($word)*)) };
}

/// Prints in one write, because other tests of the process write to stderr too.
fn say(words: &str) {
    let line = format!("torture: {words}\n");
    // An error only means that the reader is gone.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn tree() -> String {
    env::var(TREE).unwrap_or_else(|_| "migrations".to_owned())
}

/// A database under torture, with its few differences from the others.
trait Victim: Sql + Tortured {
    /// A statement that ends its own session; on SQLite, it does nothing.
    const LOSE: &'static str;

    /// A query for what identifies the database: a number or a name that stays when the database is reused.
    const DATABASE: &'static str;

    async fn acquire(db: &Engine<Self>) -> sqlx::Result<impl Asks>;
    async fn visitor(db: &Engine<Self>) -> sqlx::Result<Self::Connection>;
}

macro_rules! victim {
    ($database:ty, $lose:literal, $which:literal, |$options:ident| $as_visitor:expr) => {
        impl Victim for $database {
            const LOSE: &'static str = $lose;
            const DATABASE: &'static str = $which;

            async fn acquire(db: &Engine<Self>) -> sqlx::Result<impl Asks> {
                db.acquire().await
            }

            async fn visitor(db: &Engine<Self>) -> sqlx::Result<Self::Connection> {
                let $options = db.connect_options();
                $as_visitor.connect().await
            }
        }
    };
}

victim!(
    sqlx::Postgres,
    "SELECT pg_terminate_backend(pg_backend_pid())",
    "SELECT oid FROM pg_database WHERE datname = current_database()",
    |options| { options.application_name("visitor") }
);
victim!(
    sqlx::MySql,
    "KILL CONNECTION_ID()",
    "SELECT DATABASE()",
    |options| options
);
victim!(sqlx::Sqlite, "SELECT 1", "SELECT 'a file'", |options| {
    options
});

/// Runs the script of this test, if there is one.
async fn play<DB: Victim>(name: &str, db: &Engine<DB>) {
    let Some(folder) = env::var_os(SCRIPTS).map(PathBuf::from) else {
        return;
    };
    let Ok(script) = fs::read_to_string(folder.join(name)) else {
        return;
    };
    say!("{name} begun");
    let script = Script::read(&script);
    let mut session = None;
    let mut transactions = Vec::new();
    for step in &script.steps {
        let result: sqlx::Result<()> = match step {
            Step::Check => check(name, &folder, db).await,
            Step::Run(sql) => {
                if session.is_none() {
                    session = db.acquire().await.ok();
                }
                match &mut session {
                    Some(session) => run_all::<DB>(session, sql).await,
                    None => Ok(()),
                }
            }
            Step::Transaction(sql) => match db.begin().await {
                Ok(mut transaction) => {
                    let done = DB::run(&mut transaction, sql).await;
                    transactions.push(transaction);
                    done
                }
                Err(error) => Err(error),
            },
            Step::Visit(sql) => match DB::visitor(db).await {
                Ok(mut visitor) => {
                    let done = run_all::<DB>(&mut visitor, sql).await;
                    done.and(visitor.close().await)
                }
                Err(error) => Err(error),
            },
            Step::Linger(sql) => linger(db, sql).await,
            Step::Spawn(sql) => {
                let (db, sql) = (db.clone(), sql.clone());
                tokio::spawn(async move {
                    while let Ok(mut checkout) = db.acquire().await {
                        let _ = DB::run(&mut checkout, &sql).await;
                    }
                });
                Ok(())
            }
            Step::Leak => db.acquire().await.map(std::mem::forget),
            Step::Lose => match db.acquire().await {
                Ok(mut checkout) => DB::run(&mut checkout, DB::LOSE).await,
                Err(error) => Err(error),
            },
            Step::Fail => panic!("as the script wishes"),
            Step::Abort => std::process::abort(),
            Step::Exit => std::process::exit(3),
            Step::Hang => {
                say!("{name} hangs");
                tokio::time::sleep(Duration::from_mins(5)).await;
                Ok(())
            }
            Step::Wait(time) => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
        };
        if let Err(error) = result {
            // Not every piece is allowed everywhere, and a restart of the server ends all of them.
            say!(
                "{name} was refused {step:?}: {}",
                error.to_string().replace('\n', " ")
            );
        }
    }
    say!("{name} done");
}

/// Compares the test's database with a fresh one.
async fn check<DB: Victim>(name: &str, folder: &Path, db: &Engine<DB>) -> sqlx::Result<()> {
    let Some(fresh) = env::var_os(FRESH) else {
        return Ok(());
    };
    let mut checkout = DB::acquire(db).await?;
    if let Ok(database) = checkout.ask(DB::DATABASE).await {
        let database: Vec<String> = database.into_iter().flatten().flatten().collect();
        say!("{name} is in {}", database.concat());
    }
    let found = match fingerprint::of::<DB>(&mut checkout).await {
        Ok(found) => found,
        Err(error) => {
            say!("{name} cannot look: {error:#}");
            return Ok(());
        }
    };
    drop(checkout);
    let fresh = fs::read_to_string(fresh)?;
    let fresh: Vec<String> = fresh.lines().map(str::to_owned).collect();
    // A rollback does not reset sequences and the planner's sizes, and the session of a test that rolls back differs.
    let (found, fresh) = if name.starts_with('r') {
        (without_counters(found), without_counters(fresh))
    } else {
        (found, fresh)
    };
    let differences = fingerprint::differences(&found, &fresh);
    for difference in differences.iter().take(8) {
        say!("{name} DIFFERS: {difference}");
    }
    if differences.is_empty() {
        say!("{name} same");
    } else {
        fs::write(folder.join(format!("{name}.found")), found.join("\n"))?;
    }
    Ok(())
}

fn without_counters(lines: Vec<String>) -> Vec<String> {
    lines
        .into_iter()
        .filter(|line| !line.starts_with("sequence ") && !line.starts_with("planner: "))
        .filter(|line| !line.contains(fingerprint::READ_ONLY))
        .map(|line| match line.split_once(" AUTO_INCREMENT=") {
            Some((before, after)) => {
                let after = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
                format!("{before}{after}")
            }
            None => line,
        })
        .collect()
}

/// Runs the statements of a piece, one after the other, on one connection.
async fn run_all<DB: Victim>(connection: &mut DB::Connection, sql: &str) -> sqlx::Result<()> {
    if sql.contains("$$") {
        return DB::run(connection, sql).await;
    }
    let mut outcome = Ok(());
    for statement in sql.split("; ") {
        outcome = outcome.and(DB::run(connection, statement).await);
    }
    outcome
}

/// Connects before the body ends, writes after its end, and stays connected for a moment.
async fn linger<DB: Victim>(db: &Engine<DB>, sql: &str) -> sqlx::Result<()> {
    let (db, sql) = (db.clone(), sql.to_owned());
    let (there, came) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let visitor = DB::visitor(&db).await;
            drop(db);
            let _ = there.send(());
            if let Ok(mut visitor) = visitor {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = DB::run(&mut visitor, &sql).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                let _ = visitor.close().await;
            }
        });
    });
    let _ = came.await;
    Ok(())
}

/// The lines of a fresh database, for the torture.
pub(crate) async fn fresh<DB>(url: &str, tree: &Path) -> anyhow::Result<Vec<String>>
where
    DB: Tortured,
    DB::Connection: sqlx::migrate::Migrate + Asks,
{
    let migrator = sqlx::migrate::Migrator::new(tree.to_owned()).await?;
    let mut connection = DB::Connection::connect(url).await?;
    migrator.run_direct(None, &mut connection, false).await?;
    connection.close().await?;
    // The session that has migrated is not a new one.
    let mut connection = DB::Connection::connect(url).await?;
    let lines = fingerprint::of::<DB>(&mut connection).await?;
    connection.close().await?;
    Ok(lines)
}

/// A module with the tests of one kind: a database each, and one for all that roll back.
macro_rules! victims {
    ($kind:ident, $engine:ty, [$($name:ident)*], [$($rolling_back:ident)*]) => {
        pub(crate) mod $kind {
            use poolhouse::with_pool;

            $(
                #[with_pool(env = "POOLHOUSE_TORTURE_URL", migrations = super::tree(), max_size = 3, close_timeout = "200ms")]
                #[tokio::test]
                #[ignore = "played by the torture"]
                async fn $name(db: $engine) {
                    super::play(stringify!($name), &db).await;
                }
            )*

            $(
                #[with_pool(
                    env = "POOLHOUSE_TORTURE_URL",
                    migrations = super::tree(),
                    isolation = "rollback",
                    // A second checkout waits in vain for the only connection.
                    acquire_timeout = "5s",
                    close_timeout = "200ms"
                )]
                #[tokio::test]
                #[ignore = "played by the torture"]
                async fn $rolling_back(db: $engine) {
                    super::play(stringify!($rolling_back), &db).await;
                }
            )*
        }
    };
}

victims!(postgres, poolhouse::PgEngine, [d0 d1 d2 d3 d4 d5], [r0 r1]);
victims!(mariadb, poolhouse::MySqlEngine, [d0 d1 d2 d3 d4 d5], [r0 r1]);
victims!(sqlite, poolhouse::SqliteEngine, [d0 d1 d2 d3 d4 d5], [r0 r1]);
