//! Whole test runs, as processes: killed, side by side, with other migrations, on a server with few connections.
//!
//! Each driver has its own server, so that everything left on it comes from the driver's runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use poolhouse_tests::{Kind, PrivateServer, Server, eventually};
use sqlx::Connection;

use crate::minimal::{self, started};
use crate::restarts::run_of;
use crate::scenarios::{FATE, MIGRATIONS};

/// A run of the scenarios on eight threads, as a user with only the documented rights.
fn run(server: &Server) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["scenarios::", "--test-threads=8"])
        .env("POOLHOUSE_TESTING_POSTGRES_URL", minimal::url(server))
        .env_remove("RUST_BACKTRACE")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn passes(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

/// The names of the test databases, without templates and unused clones.
async fn used(server: &Server) -> Vec<String> {
    ask(server, "SELECT datname FROM pg_database WHERE datname ~ '^poolhouse_[0-9a-f]+_(lease|reset|building)' OR (datname ~ '^poolhouse_' AND datconnlimit = -2)").await
}

async fn ask(server: &Server, sql: &str) -> Vec<String> {
    let rows = server.ask(&[sql.to_owned()]).await.unwrap();
    rows.into_iter().flatten().flatten().collect()
}

async fn templates(server: &Server) -> Vec<String> {
    ask(
        server,
        "SELECT datname FROM pg_database WHERE datname ~ '^poolhouse_[0-9a-f]+_template$'",
    )
    .await
}

#[tokio::test]
async fn a_killed_run_leaves_nothing_that_the_next_does_not_repair() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(server).await;
    // From before the first connection, through the building of the template, to the middle of all bodies.
    for moment in 0..10_u32 {
        let mut child = run(&server).env(FATE, "hang").spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(60) * moment).await;
        child.kill().unwrap();
        child.wait().unwrap();
        passes(&run(&server).output().unwrap());
    }
    // Remains do not accumulate. The next run drops unreturned databases of a run in the background, and may end before that
    // is done.
    let settled = async || {
        passes(&run(&server).output()?);
        let left = used(&server).await;
        let of_the_last_run_and_spare = 8 + 8;
        anyhow::ensure!(left.len() <= of_the_last_run_and_spare, "{left:?}");
        anyhow::ensure!(
            !left.iter().any(|name| name.ends_with("_building")),
            "{left:?}"
        );
        Ok(())
    };
    eventually("what killed runs have left is gone", settled)
        .await
        .unwrap();
    assert_eq!(templates(&server).await.len(), 1);
}

#[tokio::test]
async fn sixteen_processes_share_forty_connections() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(server.setting("max_connections", 40)).await;
    let children: Vec<_> = (0..16).map(|_| run(&server).spawn().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        passes(&output);
        assert!(
            !said(&output).contains("too many clients"),
            "{}",
            said(&output)
        );
    }
}

#[tokio::test]
async fn racers_build_one_template_and_rebuild_what_a_killed_builder_left() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(server.setting("log_statement", "ddl")).await;
    let folder = migrations(&[("0001_band.sql", &format!("{BAND}; SELECT pg_sleep(2)"))]);
    let mut builder = run(&server).env(MIGRATIONS, folder.path()).spawn().unwrap();
    let building = async || {
        let names = ask(&server, "SELECT datname FROM pg_stat_activity WHERE datname ~ '_building$' AND query ~ 'pg_sleep'").await;
        anyhow::ensure!(!names.is_empty(), "nobody is building");
        Ok(())
    };
    eventually("the builder is in the middle of it", building)
        .await
        .unwrap();
    builder.kill().unwrap();
    builder.wait().unwrap();
    let racers: Vec<_> = (0..2)
        .map(|_| run(&server).env(MIGRATIONS, folder.path()).spawn().unwrap())
        .collect();
    for racer in racers {
        passes(&racer.wait_with_output().unwrap());
    }
    assert_eq!(templates(&server).await.len(), 1);
    // The killed builder began once, and a racer once more.
    let begun = server
        .log()
        .unwrap()
        .lines_with(&["CREATE DATABASE", "_building"])
        .unwrap();
    assert_eq!(begun.len(), 2, "{begun:?}");
}

#[tokio::test]
async fn two_source_trees_with_other_migrations_do_not_meet() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(server).await;
    let trees = [
        migrations(&[("0001_band.sql", BAND)]),
        migrations(&[
            ("0001_band.sql", BAND),
            (
                "0002_label.sql",
                "CREATE TABLE label (id INTEGER PRIMARY KEY)",
            ),
        ]),
    ];
    let runs: Vec<_> = [0, 1, 0, 1]
        .map(|tree: usize| {
            run(&server)
                .env(MIGRATIONS, trees[tree].path())
                .spawn()
                .unwrap()
        })
        .into_iter()
        .collect();
    for run in runs {
        passes(&run.wait_with_output().unwrap());
    }
    assert_eq!(templates(&server).await.len(), 2);
}

#[tokio::test]
async fn a_changed_migration_makes_a_new_template() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(server).await;
    let folder = migrations(&[("0001_band.sql", BAND)]);
    passes(
        &run(&server)
            .env(MIGRATIONS, folder.path())
            .output()
            .unwrap(),
    );
    fs::write(
        folder.path().join("0001_band.sql"),
        format!("{BAND}; INSERT INTO band VALUES (1, 'there already')"),
    )
    .unwrap();
    let output = run(&server)
        .env(MIGRATIONS, folder.path())
        .output()
        .unwrap();
    assert!(said(&output).contains("duplicate key"), "{}", said(&output));
    assert_eq!(templates(&server).await.len(), 2);
}

#[tokio::test]
async fn a_failing_migration_fails_each_test_with_its_location() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(server).await;
    let folder = migrations(&[(
        "0001_band.sql",
        &format!("{BAND};\n\nCREATE TABEL label (id INTEGER)"),
    )]);
    let output = run(&server)
        .env(MIGRATIONS, folder.path())
        .output()
        .unwrap();
    let said = said(&output);
    assert!(said.contains("8 failed"), "{said}");
    assert_eq!(said.matches("0001_band.sql, line 6; ").count(), 8, "{said}");
    assert!(said.contains("syntax error at or near \"TABEL\""), "{said}");
    // The migration was tried once, and not once for each test.
    let tried = server.log().unwrap().lines_with(&["syntax error"]).unwrap();
    assert_eq!(tried.len(), 1, "{tried:?}");
    assert!(used(&server).await.is_empty());
}

/// The next test of the process tries again.
#[tokio::test]
async fn a_builder_whose_session_is_ended_fails_one_test() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(server).await;
    let folder = migrations(&[("0001_band.sql", &format!("{BAND}; SELECT pg_sleep(2)"))]);
    let child = run_of(&server, "scenarios::", 1)
        .env(MIGRATIONS, folder.path())
        .spawn()
        .unwrap();
    eventually("the builder is in the middle of it", async || {
        let ended = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity \
            WHERE datname ~ '_building$' AND query ~ 'pg_sleep'";
        anyhow::ensure!(!ask(&server, ended).await.is_empty(), "nobody is building");
        Ok(())
    })
    .await
    .unwrap();
    let said = said(&child.wait_with_output().unwrap());
    assert!(said.contains("7 passed; 1 failed"), "{said}");
}

#[tokio::test]
async fn a_failed_test_keeps_its_database_and_says_where() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(server).await;
    let output = run(&server).env(FATE, "fail").output().unwrap();
    let said = said(&output);
    let urls: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("poolhouse: test `"))
        .filter_map(|line| line.rsplit_once(": ").map(|(_, url)| url))
        .collect();
    assert_eq!(urls.len(), 8, "{said}");
    for url in urls {
        let name = url.rsplit('/').next().unwrap();
        let rows = ask(
            &server,
            &format!("SELECT datname FROM pg_database WHERE datname = '{name}'"),
        )
        .await;
        assert_eq!(rows, [name], "{said}");
    }
    // The next run does not touch the kept databases.
    let kept = used(&server).await;
    passes(&run(&server).output().unwrap());
    for name in &kept {
        assert!(used(&server).await.contains(name));
    }
    let output = run(&server)
        .env(FATE, "fail")
        .env("POOLHOUSE_KEEP", "none")
        .output()
        .unwrap();
    assert!(
        !self::said(&output).contains("is kept"),
        "{}",
        self::said(&output)
    );
}

#[tokio::test]
async fn an_interrupted_drop_is_removed_and_live_databases_are_not() {
    let Some(server) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(server).await;
    passes(&run(&server).output().unwrap());
    // The state after an interrupted `DROP DATABASE`: <https://www.postgresql.org/docs/release/15.4/>.
    let invalid = "poolhouse_0123456789abcdef_ready_00000000_00000000";
    let make = [
        format!("CREATE DATABASE {invalid} OWNER app"),
        format!("UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{invalid}'"),
    ];
    for statement in make {
        server.ask(&[statement]).await.unwrap();
    }
    let mut live = run(&server).env(FATE, "hang").spawn().unwrap();
    let in_use = async || {
        let names = ask(&server, "SELECT DISTINCT datname FROM pg_stat_activity WHERE datname ~ '_(lease|reset)_' AND query ~ 'count'").await;
        anyhow::ensure!(names.len() == 8, "in use: {names:?}");
        Ok(names)
    };
    let during = eventually("eight tests are in their bodies", in_use)
        .await
        .unwrap();
    passes(&run(&server).output().unwrap());
    // The reaper works in the background of each run, which may end before it.
    eventually("the invalid database is removed", async || {
        passes(&run(&server).output().unwrap());
        let there = ask(
            &server,
            &format!("SELECT datname FROM pg_database WHERE datname = '{invalid}'"),
        )
        .await;
        anyhow::ensure!(there.is_empty(), "it is there");
        Ok(())
    })
    .await
    .unwrap();
    let after = used(&server).await;
    for name in &during {
        assert!(after.contains(name), "{name} was in use: {after:?}");
    }
    live.kill().unwrap();
    live.wait().unwrap();
}

const BAND: &str =
    "CREATE TABLE band (\n    id INTEGER PRIMARY KEY,\n    name VARCHAR(100) NOT NULL UNIQUE\n)";

/// A folder of migrations.
fn migrations(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in files {
        fs::write(Path::new(folder.path()).join(name), sql).unwrap();
    }
    folder
}

/// The number of bands in a kept database of SQLite.
async fn bands(url: &str) -> i64 {
    let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
    let rows = sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    rows
}

/// The files that runs on SQLite left below their temporary folder, without templates and locks.
fn left_below(folder: &Path) -> Vec<String> {
    let mut left = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap();
            // `poolhouse-<user>/sqlite/<fingerprint>.db` is a template.
            let is_template = name.components().count() == 3;
            let kind = name.extension().unwrap_or_default();
            if !(is_template && kind == "db"
                || kind == "lock"
                || name.ends_with("gate")
                || name.ends_with("lock"))
            {
                left.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    left
}

#[tokio::test]
async fn on_sqlite_a_failed_test_keeps_its_file_and_a_passed_one_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = |fate: &str| {
        Command::new(std::env::current_exe().unwrap())
            .arg("on_file::")
            .env("TMPDIR", folder.path())
            .env(FATE, fate)
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap()
    };
    passes(&run("pass"));
    assert!(
        left_below(folder.path()).is_empty(),
        "{:?}",
        left_below(folder.path())
    );

    let output = run("fail");
    assert!(!output.status.success(), "{}", said(&output));
    let left = left_below(folder.path());
    // There is no `-wal` and no `-shm`, because the database was closed.
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(
        left[0].ends_with("kept/testing.on_file.inserts.db"),
        "{left:?}"
    );
    let kept = folder.path().join(&left[0]);
    let url = format!("sqlite:{}", kept.display());
    assert!(
        said(&output).contains(&format!("its database is kept: {url}")),
        "{}",
        said(&output)
    );
    assert_eq!(bands(&url).await, 1);

    // A run that passes removes nothing and adds nothing.
    passes(&run("pass"));
    assert_eq!(left_below(folder.path()), left);
}

/// Simulates a full disk: a file may grow to a few blocks only.
#[test]
fn on_sqlite_a_copy_that_does_not_fit_says_so_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = |limit: &str| {
        let program = std::env::current_exe().unwrap();
        Command::new("sh")
            .arg("-c")
            .arg(format!(
                "trap '' XFSZ; {limit} exec \"$0\" on_file::inserts --exact"
            ))
            .arg(program)
            .env("TMPDIR", folder.path())
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap()
    };
    // The first time while the template is made, the second time while it is copied.
    for trouble in ["disk I/O error", "no database for the test"] {
        let output = run("ulimit -f 8;");
        let said = said(&output);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains(trouble), "{said}");
        let left = left_below(folder.path());
        assert!(left.is_empty(), "{left:?}");
        passes(&run(""));
    }
}

/// A run of a test in this folder for temporary files, which fails.
#[cfg(unix)]
fn fails_in(folder: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["on_file::inserts", "--exact"])
        .env("TMPDIR", folder)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    said
}

#[cfg(unix)]
#[test]
fn on_sqlite_the_error_names_the_folder_that_fails() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = of_user(temporary.path());
    fs::create_dir(&folder).unwrap();
    // A file is in the place of the folder for templates.
    fs::write(folder.join("sqlite"), "").unwrap();
    let said = fails_in(temporary.path());
    let named = format!("the folder {}/sqlite: ", folder.display());
    assert!(said.contains(&named), "{said}");
}

/// All users share the folder for temporary files, and any of them may have made a folder or a link there.
#[cfg(unix)]
#[test]
fn on_sqlite_a_folder_that_this_user_has_not_made_is_not_used() {
    let temporary = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = of_user(temporary.path());
    std::os::unix::fs::symlink(elsewhere.path(), &folder).unwrap();
    let said = fails_in(temporary.path());
    let named = format!(
        "the folder {}: {} is not ours",
        temporary.path().display(),
        folder.display()
    );
    assert!(said.contains(&named), "{said}");
    assert!(fs::read_dir(elsewhere.path()).unwrap().next().is_none());
}

/// The folder of this user's test databases, in one for temporary files. It has the user's number, because several users may have
/// one name in their environment, or none.
#[cfg(unix)]
pub(crate) fn of_user(temporary: &Path) -> PathBuf {
    temporary.join(format!("poolhouse-{}", nix::unistd::Uid::effective()))
}

/// One run after several that were killed at the same time: it takes the folder of one, and removes the files of all.
#[tokio::test]
async fn on_sqlite_what_killed_runs_leave_goes_with_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let run = |fate: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["on_file::inserts", "--exact", "--quiet"])
            .env("TMPDIR", folder.path())
            .env(FATE, fate)
            .env_remove("RUST_BACKTRACE")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let mut children: Vec<_> = (0..3).map(|_| run("hang").spawn().unwrap()).collect();
    let is_database = |name: &&String| Path::new(name).extension().is_some_and(|kind| kind == "db");
    let databases = |left: &[String]| left.iter().filter(is_database).count();
    eventually("each test has its database", async || {
        let left = left_below(folder.path());
        anyhow::ensure!(databases(&left) == children.len(), "{left:?}");
        Ok(())
    })
    .await
    .unwrap();
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(databases(&left_below(folder.path())), children.len());
    passes(&run("pass").output().unwrap());
    let left = left_below(folder.path());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn on_sqlite_a_template_goes_when_no_run_has_used_it_for_a_week() {
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("on_file::").env("TMPDIR", folder.path());
        passes(&command.env_remove("RUST_BACKTRACE").output().unwrap());
    };
    run();
    let user = fs::read_dir(folder.path()).unwrap().next().unwrap();
    let templates = user.unwrap().path().join("sqlite");
    let of_this = fs::read_dir(&templates).unwrap();
    let mut of_this = of_this.map(|entry| entry.unwrap().path());
    let of_this = of_this.find(|path| path.extension().is_some_and(|kind| kind == "db"));
    let of_this = of_this.unwrap();
    let of_another = templates.join("0123456789abcdef.db");
    fs::copy(&of_this, &of_another).unwrap();
    for template in [&of_this, &of_another] {
        let eight_days_ago = SystemTime::now() - Duration::from_hours(8 * 24);
        let file = fs::File::options().write(true).open(template).unwrap();
        file.set_modified(eight_days_ago).unwrap();
    }
    run();
    assert!(!of_another.exists());
    // This template was too old as well, and was made again.
    let made = fs::metadata(&of_this).unwrap().modified().unwrap();
    assert!(made.elapsed().unwrap() < Duration::from_hours(24));
    // A template in use stays: its age is the time since a process began to use it.
    let six_days_ago = SystemTime::now() - Duration::from_hours(6 * 24);
    let file = fs::File::options().write(true).open(&of_this).unwrap();
    file.set_modified(six_days_ago).unwrap();
    run();
    let touched = fs::metadata(&of_this).unwrap().modified().unwrap();
    assert!(touched.elapsed().unwrap() < Duration::from_hours(24));
}

/// A test that changes the process's folder does not change the settings of the next one.
#[test]
fn a_test_may_leave_the_folder_whose_settings_the_others_have() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join(".env"),
        "DATABASE_URL=postgres://nobody@localhost/nowhere",
    )
    .unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["on_file::", "--test-threads=1"])
        .env("TMPDIR", folder.path())
        .env(FATE, "move")
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    passes(&output);
}

/// Without `TMPDIR`, the files of a run are in memory, if there is room, and kept files are not.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn on_sqlite_what_is_in_memory_does_not_stay_there() {
    let run = |fate: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["on_file::inserts", "--exact", "--quiet"])
            .env_remove("TMPDIR")
            .env(FATE, fate)
            .env_remove("RUST_BACKTRACE")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let on_disk = of_user(Path::new("/tmp")).join("sqlite");
    let in_memory = of_user(Path::new("/dev/shm")).join("sqlite");

    let mut child = run("hang").spawn().unwrap();
    let database = eventually("the test has its database", async || {
        open_database(child.id()).context("no file of it is open")
    })
    .await
    .unwrap();
    let folders = [in_memory, on_disk.clone()];
    let is_there = folders.iter().any(|folder| database.starts_with(folder));
    assert!(is_there, "{database:?} is in neither of {folders:?}");
    assert!(database.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    // A test of another process may remove the file first, and may then have one of the same name.
    eventually("the killed run's database is removed", async || {
        passes(&run("pass").output()?);
        anyhow::ensure!(!database.exists(), "{database:?}");
        Ok(())
    })
    .await
    .unwrap();

    let output = run("fail").output().unwrap();
    let kept = on_disk.join("kept/testing.on_file.inserts.db");
    let url = format!("sqlite:{}", kept.display());
    assert!(said(&output).contains(&url), "{}", said(&output));
    assert_eq!(bands(&url).await, 1);
    fs::remove_file(kept).unwrap();
}

/// The test database that a process has open.
#[cfg(target_os = "linux")]
fn open_database(process: u32) -> Option<PathBuf> {
    let files = fs::read_dir(format!("/proc/{process}/fd")).ok()?;
    let mut files = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    files.find(|file| file.extension().is_some_and(|kind| kind == "db"))
}

/// Runs a process for each test, as `cargo nextest` does. Each looks for remains while others start and end.
#[test]
fn on_sqlite_processes_come_and_go() {
    // Enough for ten failures if processes disturb each other.
    const SIDE_BY_SIDE: usize = 16;
    const EACH: usize = 50;

    let folder = tempfile::tempdir().unwrap();
    side_by_side(SIDE_BY_SIDE, EACH, |command| {
        command.env("TMPDIR", folder.path());
    });
    let left = left_below(folder.path());
    assert!(left.is_empty(), "{left:?}");
}

/// The same in memory, in the folder that all processes of the user share.
#[cfg(target_os = "linux")]
#[test]
fn on_sqlite_processes_come_and_go_in_memory() {
    side_by_side(16, 50, |command| {
        command.env_remove("TMPDIR");
    });
}

/// Runs this many processes at the same time, and each of them this often.
fn side_by_side(processes: usize, each: usize, prepare: impl Fn(&mut Command) + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..processes {
            let prepare = &prepare;
            scope.spawn(move || {
                for _ in 0..each {
                    let mut command = Command::new(std::env::current_exe().unwrap());
                    command.arg("on_file::").env_remove("RUST_BACKTRACE");
                    prepare(&mut command);
                    passes(&command.output().unwrap());
                }
            });
        }
    });
}

/// Under nextest, the process of a test ends with the test.
async fn gives_its_database_up(tests: &str) {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(builder).await;
    let sessions = "SELECT pid::text FROM pg_stat_activity WHERE usename = 'app'";
    for _ in 0..3 {
        let mut run = run_of(&server, tests, 1);
        run.env("NEXTEST_EXECUTION_MODE", "process-per-test");
        passes(&run.output().unwrap());
        eventually("the sessions of the process are over", async || {
            anyhow::ensure!(ask(&server, sessions).await.is_empty());
            Ok(())
        })
        .await
        .unwrap();
        let unchecked = "SELECT datname::text FROM pg_database WHERE datname ~ '^poolhouse_.*_lease_' \
            AND coalesce(shobj_description(oid, 'pg_database'), '') !~ '^poolhouse clean '";
        let unchecked = ask(&server, unchecked).await;
        assert!(unchecked.is_empty(), "{unchecked:?}");
    }
}

#[tokio::test]
async fn a_process_of_one_test_gives_its_database_up() {
    gives_its_database_up("scenarios::one").await;
}

#[tokio::test]
async fn a_process_of_one_test_that_rolls_back_gives_its_database_up() {
    gives_its_database_up("with_rollback::postgres").await;
}

/// A migration may look for a role before it makes it, as two templates do here at the same time.
#[tokio::test]
async fn migrations_side_by_side_may_make_one_role() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let server = started(builder).await;
    ask(&server, "ALTER ROLE app CREATEROLE").await;
    let role = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'helper') THEN \
        PERFORM pg_sleep(2); CREATE ROLE helper; END IF; END $$";
    let folders = ["one", "other"]
        .map(|name| migrations(&[("0001_band.sql", &format!("{BAND}; {role}; -- {name}"))]));
    let runs = folders.each_ref().map(|folder| {
        let mut run = run_of(&server, "scenarios::one", 1);
        run.env(MIGRATIONS, folder.path()).spawn().unwrap()
    });
    for run in runs {
        passes(&run.wait_with_output().unwrap());
    }
    assert_eq!(templates(&server).await.len(), 2);
}
