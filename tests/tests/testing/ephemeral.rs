//! Tests without a URL, on private servers.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use poolhouse::{MySqlEngine, PgEngine, with_pool};
use poolhouse_tests::{Kind, PrivateServer, eventually};
use sqlx::{Connection, MySqlConnection, PgConnection};

use crate::scenarios::FATE;

/// The variable with the folder of private servers, set by the drivers below.
const HERE: &str = "POOLHOUSE_EPHEMERAL_DIR";

#[with_pool(env = "POOLHOUSE_TEST_UNSET")]
#[tokio::test]
async fn on_postgres(db: PgEngine) {
    let version: String = sqlx::query_scalar("SELECT version()")
        .fetch_one(&db)
        .await
        .unwrap();
    assert!(version.starts_with("PostgreSQL"), "{version}");
}

#[with_pool(env = "POOLHOUSE_TEST_UNSET", isolation = "none")]
#[tokio::test]
async fn on_postgres_as_it_is(db: PgEngine) {
    let database: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(database, "postgres");
}

#[with_pool(env = "POOLHOUSE_TEST_UNSET")]
#[tokio::test]
async fn on_mariadb(db: MySqlEngine) {
    let bands: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(bands, 0);
}

/// Stores a name that has no place in `latin1`, in a table of the database's character set.
async fn every_character_is_stored(db: &MySqlEngine) {
    let mut connection = db.acquire().await.unwrap();
    let name = "Motörhead 🎸";
    sqlx::raw_sql("CREATE TEMPORARY TABLE loud (name VARCHAR(20))")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("INSERT INTO loud VALUES (?)")
        .bind(name)
        .execute(&mut connection)
        .await
        .unwrap();
    let stored: String = sqlx::query_scalar("SELECT name FROM loud")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(stored, name);
}

#[with_pool(env = "POOLHOUSE_TEST_UNSET")]
#[tokio::test]
async fn on_mariadb_every_character_is_stored(db: MySqlEngine) {
    every_character_is_stored(&db).await;
}

#[with_pool(env = "POOLHOUSE_TEST_UNSET", isolation = "none")]
#[tokio::test]
async fn on_mariadb_as_it_is_every_character_is_stored(db: MySqlEngine) {
    every_character_is_stored(&db).await;
}

/// Tests that add a band, and then meet the fate that a driver sets.
mod with_a_fate {
    use super::*;
    use crate::scenarios::{INSERT, meet_fate};

    #[with_pool(env = "POOLHOUSE_TEST_UNSET")]
    #[tokio::test]
    async fn on_postgres(db: PgEngine) {
        sqlx::query(INSERT).execute(&db).await.unwrap();
        meet_fate().await;
    }

    #[with_pool(env = "POOLHOUSE_TEST_UNSET")]
    #[tokio::test]
    async fn on_mariadb(db: MySqlEngine) {
        sqlx::query(INSERT).execute(&db).await.unwrap();
        meet_fate().await;
    }
}

/// Folders for servers and their files that no other test run uses.
struct Fixture {
    folder: tempfile::TempDir,
    path: Option<PathBuf>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A server of root runs under its own account, which must be able to enter this folder.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self { folder, path: None }
    }

    /// A process that runs one of the tests above.
    fn run(&self, test: &str) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", &format!("ephemeral::{test}")])
            .env(HERE, self.folder.path())
            .env("XDG_CACHE_HOME", self.folder.path().join("cache"))
            .env("POOLHOUSE_EPHEMERAL_IDLE", "1")
            .env_remove("RUST_BACKTRACE")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
    }

    /// The folders of the running servers.
    fn servers(&self) -> Vec<PathBuf> {
        let user = nix::unistd::Uid::effective();
        let folder = self.folder.path().join(format!("poolhouse-{user}"));
        let below = |folder: PathBuf| {
            let entries = fs::read_dir(folder).into_iter().flatten();
            entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_dir())
        };
        below(folder).flat_map(below).collect()
    }

    async fn is_empty_again(&self) {
        eventually("the server and its folder are gone", async || {
            let servers = self.servers();
            anyhow::ensure!(servers.is_empty(), "{servers:?}");
            Ok(())
        })
        .await
        .unwrap();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Processes that start together share one server, which ends after the last. The next start finds its files.
async fn shared(kind: Kind, test: &str) {
    // Outside `tests/run`, the servers' programs may be missing.
    if PrivateServer::require(kind).is_none() {
        return;
    }
    let fixture = Fixture::new();
    for round in ["cold", "cached"] {
        // The server outlasts a pause between the children.
        let run = || {
            let mut test = fixture.run(test);
            test.env("POOLHOUSE_EPHEMERAL_IDLE", "5").spawn().unwrap()
        };
        let mut children: Vec<_> = (0..3).map(|_| run()).collect();
        let mut most = 0;
        while children
            .iter_mut()
            .any(|child| child.try_wait().unwrap().is_none())
        {
            most = most.max(fixture.servers().len());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{round}: {}", said(&output));
            assert!(said(&output).contains("1 passed"), "{}", said(&output));
        }
        assert_eq!(most, 1, "{round}");
        fixture.is_empty_again().await;
    }
}

#[tokio::test]
async fn a_private_postgres_is_shared_and_gone_after_its_last_user() {
    shared(Kind::Postgres, "on_postgres").await;
}

#[tokio::test]
async fn a_private_mariadb_is_shared_and_gone_after_its_last_user() {
    shared(Kind::MariaDb, "on_mariadb").await;
}

/// A server whose supervisor cannot parse its waiting time would never end.
#[tokio::test]
async fn how_long_a_server_waits_is_a_number_of_seconds() {
    if PrivateServer::require(Kind::Postgres).is_none() {
        return;
    }
    let fixture = Fixture::new();
    for value in [
        "",
        "-1",
        "1.5",
        "5s",
        "many",
        "4294967296",
        "18446744073709551616",
    ] {
        let mut test = fixture.run("on_postgres");
        let output = test
            .env("POOLHOUSE_EPHEMERAL_IDLE", value)
            .output()
            .unwrap();
        let words = format!(
            "POOLHOUSE_EPHEMERAL_IDLE = {value:?} is not valid; expected a whole number of seconds from 0 to 4294967295"
        );
        assert!(said(&output).contains(&words), "{}", said(&output));
        assert!(!output.status.success());
        assert!(fixture.servers().is_empty(), "{:?}", fixture.servers());
    }
    for value in ["0", "1"] {
        let mut test = fixture.run("on_postgres");
        let output = test
            .env("POOLHOUSE_EPHEMERAL_IDLE", value)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
        fixture.is_empty_again().await;
    }
}

/// The supervisor of a crashed server does not remove its folder, which the next server uses too.
#[tokio::test]
async fn a_private_server_that_crashed_is_replaced() {
    if PrivateServer::require(Kind::Postgres).is_none() {
        return;
    }
    let fixture = Fixture::new();
    let passes = || {
        let output = fixture
            .run("on_postgres")
            .env("POOLHOUSE_EPHEMERAL_IDLE", "5")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
    };
    passes();
    let folder = fixture.servers().pop().unwrap();
    let lines = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    let server = lines.lines().next().unwrap();
    let status = fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    let supervisor = Pid::from_raw(parent.unwrap().trim().parse().unwrap());
    let server = Pid::from_raw(server.parse().unwrap());
    // The stopped supervisor notices the crash only when the next server runs.
    kill(supervisor, Signal::SIGSTOP).unwrap();
    kill(server, Signal::SIGKILL).unwrap();
    passes();
    kill(supervisor, Signal::SIGCONT).unwrap();
    eventually("the first supervisor has ended", async || {
        anyhow::ensure!(kill(supervisor, None).is_err(), "{supervisor} is there");
        Ok(())
    })
    .await
    .unwrap();
    assert!(
        folder.join("port").exists(),
        "the second server lost its folder"
    );
    fixture.is_empty_again().await;
}

/// Runs a test that fails. `ask` counts the bands in its kept database, by its URL and while the server runs.
async fn kept(kind: Kind, test: &str, ask: impl AsyncFn(&str) -> sqlx::Result<i64>) {
    if PrivateServer::require(kind).is_none() {
        return;
    }
    let fixture = Fixture::new();
    // With the files of this server, the next one starts soon.
    let first = fixture.run(test).output().unwrap();
    assert!(first.status.success(), "{}", said(&first));
    fixture.is_empty_again().await;
    // The server runs as long as this test.
    let mut live = tokio::process::Command::from(fixture.run(test))
        .env(FATE, "hang")
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let user = live.id().unwrap().to_string();
    eventually("the server has a user", async || {
        let servers = fixture.servers();
        let mut servers = servers.iter();
        anyhow::ensure!(
            servers.any(|server| {
                server.join("port").exists() && server.join("users").join(&user).exists()
            }),
            "there is none"
        );
        Ok(())
    })
    .await
    .unwrap();
    let output = fixture.run(test).env(FATE, "fail").output().unwrap();
    let said = said(&output);
    let kept = said
        .lines()
        .find(|line| line.contains("its database is kept until its private server stops"));
    let (_, url) = kept.expect(&said).rsplit_once(": ").unwrap();
    let bands = ask(url).await;
    // A failure leaves no server either.
    live.kill().await.unwrap();
    fixture.is_empty_again().await;
    assert_eq!(bands.unwrap(), 1);
}

const BANDS: &str = "SELECT count(*) FROM band";

#[tokio::test]
async fn the_url_of_a_kept_database_on_a_private_postgres_opens_it() {
    kept(Kind::Postgres, "with_a_fate::on_postgres", async |url| {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::query_scalar(BANDS).fetch_one(&mut connection).await
    })
    .await;
}

#[tokio::test]
async fn the_url_of_a_kept_database_on_a_private_mariadb_opens_it() {
    kept(Kind::MariaDb, "with_a_fate::on_mariadb", async |url| {
        let mut connection = MySqlConnection::connect(url).await?;
        sqlx::query_scalar(BANDS).fetch_one(&mut connection).await
    })
    .await;
}

/// The process that runs a server.
const SUPERVISOR: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../runtime/src/testing/ephemeral/supervisor.sh"
));

/// Makes a program of this text, which begins without its folder in the `PATH`.
fn script(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    let text = format!("#!/bin/sh\nPATH=${{PATH#*:}}\n{text}\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

/// Lets a script find the programs of Postgres, which Debian keeps off the `PATH`.
const WITH_POSTGRES: &str = "for bin in /usr/lib/postgresql/*/bin; do PATH=$PATH:$bin; done";

/// A process that starts while a server stops makes a folder of the same name. One that looks while `users` is moved away, and
/// moved back, takes the server for a stopped one.
#[tokio::test]
async fn a_supervisor_moves_unused_folders_alone_and_removes_its_own() {
    let programs = tempfile::tempdir().unwrap();
    let all = tempfile::tempdir().unwrap();
    let (moves, rounds) = (all.path().join("moves"), all.path().join("rounds"));
    let folder = all.path().join("server");
    fs::create_dir_all(folder.join("users")).unwrap();
    let user = folder.join("users").join(std::process::id().to_string());
    fs::write(&user, "").unwrap();
    // The user leaves in the third second.
    let sleep = format!(
        "echo >>'{0}'; [ $(wc -l <'{0}') -lt 3 ] || rm -f '{1}'",
        rounds.display(),
        user.display()
    );
    script(programs.path(), "sleep", &sleep);
    let mv = format!("echo \"$*\" >>'{}'; exec mv \"$@\"", moves.display());
    script(programs.path(), "mv", &mv);
    // The next server's folder is made when this one's is removed.
    let rm = format!(
        "[ \"$1\" = -f ] || mkdir '{}'; exec rm \"$@\"",
        folder.display()
    );
    script(programs.path(), "rm", &rm);
    let path = env::var_os("PATH").unwrap();
    let path = std::iter::once(programs.path().to_owned()).chain(env::split_paths(&path));
    // Three seconds are enough for it. The limit is for one that does not end.
    let ended = Command::new("timeout")
        .args(["-k", "5", "60", "sh", "-c", SUPERVISOR, "poolhouse"])
        .arg(&folder)
        .args(["TERM", "0", "tail", "-f", "/dev/null"])
        .env("PATH", env::join_paths(path).unwrap())
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", said(&ended));
    let moves = fs::read_to_string(moves).unwrap();
    let moves: Vec<&str> = moves.lines().collect();
    assert_eq!(moves[0], "users closing");
    assert_eq!(moves.len(), 2, "{moves:?}");
    let left: Vec<_> = fs::read_dir(all.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with("server"))
        .collect();
    assert_eq!(left, ["server"], "the next server's folder is there");
}

/// Other users of the machine could read the server's password in its kept files.
#[tokio::test]
async fn the_kept_files_are_for_their_user_alone() {
    if PrivateServer::require(Kind::Postgres).is_none() {
        return;
    }
    let fixture = Fixture::new();
    assert!(
        fixture
            .run("on_postgres")
            .output()
            .unwrap()
            .status
            .success()
    );
    let user = nix::unistd::Uid::effective();
    let cache = fixture
        .folder
        .path()
        .join("cache")
        .join(format!("poolhouse-{user}"));
    let kept: Vec<_> = fs::read_dir(cache).unwrap().map(Result::unwrap).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0].metadata().unwrap().permissions().mode() & 0o077, 0);
    fixture.is_empty_again().await;
}

/// The port is free when it is chosen, but not any more when the server begins.
#[tokio::test]
async fn a_server_whose_port_was_taken_gets_another() {
    if PrivateServer::require(Kind::Postgres).is_none() {
        return;
    }
    let mut fixture = Fixture::new();
    let programs = fixture.folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    // The server's account must be able to run the programs, and to write down that it has begun.
    let begun = fixture.folder.path().join("begun");
    fs::write(&begun, "").unwrap();
    fs::set_permissions(&begun, Permissions::from_mode(0o666)).unwrap();
    let initdb = format!("{WITH_POSTGRES}\nexec initdb \"$@\"");
    script(&programs, "initdb", &initdb);
    let postgres = format!(
        "case \"$*\" in *port=*) echo >>'{0}'; [ $(wc -l <'{0}') -gt 1 ] || {{ echo 'could not bind: Address already in use' >&2; exit 1; }};; esac\n{WITH_POSTGRES}\nexec postgres \"$@\"",
        begun.display()
    );
    script(&programs, "postgres", &postgres);
    let path = env::var_os("PATH").unwrap();
    let path = std::iter::once(programs).chain(env::split_paths(&path));
    fixture.path = Some(env::join_paths(path).unwrap().into());
    let output = fixture.run("on_postgres").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(fs::read_to_string(&begun).unwrap(), "\n\n");
    fixture.is_empty_again().await;
}

/// As in a container whose user has no home.
#[tokio::test]
async fn a_cache_that_cannot_be_written_is_below_the_temporary_folder() {
    if PrivateServer::require(Kind::Postgres).is_none() {
        return;
    }
    let fixture = Fixture::new();
    let [no_folder, temporary] = ["file", "temporary"].map(|name| fixture.folder.path().join(name));
    fs::write(&no_folder, "").unwrap();
    fs::create_dir(&temporary).unwrap();
    let mut test = fixture.run("on_postgres");
    let output = test
        .env("XDG_CACHE_HOME", no_folder.join("cache"))
        .env("TMPDIR", &temporary)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let user = nix::unistd::Uid::effective();
    let kept = fs::read_dir(temporary.join(format!("poolhouse-{user}"))).unwrap();
    assert_eq!(kept.count(), 1);
    fixture.is_empty_again().await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named_with_its_variable() {
    if PrivateServer::require(Kind::Postgres).is_none() {
        return;
    }
    let fixture = Fixture::new();
    let folder = fixture.folder.path().join("missing");
    let output = fixture
        .run("on_postgres")
        .env(HERE, &folder)
        .output()
        .unwrap();
    let said = said(&output);
    for words in [
        &format!("{HERE} = {}: ", folder.display()),
        "Make the folder, or correct the variable, or set POOLHOUSE_TEST_UNSET to the URL of a server",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_made_says_why_and_what_to_set() {
    let mut fixture = Fixture::new();
    let programs = fixture.folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    script(&programs, "postgres", "echo postgres of the test");
    script(&programs, "initdb", "echo 'the disk is full' >&2; exit 3");
    let path = env::join_paths(
        std::iter::once(programs.clone()).chain(env::split_paths(&env::var_os("PATH").unwrap())),
    );
    fixture.path = Some(Path::new(&path.unwrap()).to_owned());
    let output = fixture.run("on_postgres").output().unwrap();
    assert!(!output.status.success());
    for words in [
        "engine `default`: no database for the test: ",
        "initdb ended with exit status: 3: the disk is full",
        "or set POOLHOUSE_TEST_UNSET to the URL of a server",
    ] {
        assert!(
            said(&output).contains(words),
            "{words:?} is not in {}",
            said(&output)
        );
    }
    assert!(fixture.servers().is_empty(), "{:?}", fixture.servers());
}
