//! A disk that is full while a template is made or copied: the error says so, nothing is left, and with room tests pass again.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;
use std::process::{Command, Output};

use poolhouse_tests::{Kind, PrivateServer};
use tempfile::TempDir;

use crate::minimal::{self, said, started};
use crate::restarts::ask;

/// The mount options. A test's database needs a tenth of the size.
const SIZE: &str = "size=80m,mode=755";

/// The free room, and the error that it causes. A database can be made in less room than it needs: the server notices at the
/// first write, in the database's first session.
const ROOMS: [(u64, &str); 2] = [
    (0, "No space left on device"),
    (2 << 20, "could not write init file"),
];

/// A small file system, which is unmounted when this value is dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts one; `None` if this process may not.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "tmpfs"])
            .arg(folder.path())
            .output()
            .unwrap();
        if mounted.status.success() {
            return Some(Self(folder));
        }
        println!(
            "left out: a full disk needs one that can be mounted: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        None
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    fn fill(&self, room: u64) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let chunk = vec![1; 1 << 16];
        while ballast.write_all(&chunk).is_ok() {}
        let size = ballast.metadata().unwrap().len();
        ballast.set_len(size - room).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn run(server: &PrivateServer) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["scenarios::one", "--exact"])
        .env("POOLHOUSE_TESTING_POSTGRES_URL", minimal::url(server))
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap()
}

#[tokio::test]
async fn on_postgres_it_is_said_and_nothing_is_left() {
    let Some(builder) = PrivateServer::require(Kind::Postgres) else {
        return;
    };
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let server = started(builder).await;
    // Only the databases are on the small disk, because a server that cannot write its log ends.
    let data = ask(&server, "SHOW data_directory").await;
    let owner = fs::metadata(&data[0]).unwrap();
    let tablespace = disk.0.path().join("tablespace");
    fs::create_dir(&tablespace).unwrap();
    chown(&tablespace, Some(owner.uid()), Some(owner.gid())).unwrap();
    let small = [
        format!(
            "CREATE TABLESPACE small LOCATION '{}'",
            tablespace.display()
        ),
        "ALTER DATABASE template1 SET TABLESPACE small".to_owned(),
    ];
    for statement in small {
        server.ask(&[statement]).await.unwrap();
    }
    for (templates, (room, words)) in [(0, ROOMS[0]), (0, ROOMS[1]), (1, ROOMS[0]), (1, ROOMS[1])] {
        if templates > 0 {
            let output = run(&server);
            assert!(output.status.success(), "{}", said(&output));
        }
        let clones =
            "SELECT datname::text FROM pg_database WHERE datname ~ '^poolhouse_.*_(lease|ready)_'";
        for clone in ask(&server, clones).await {
            let drop = [format!("DROP DATABASE {clone} WITH (FORCE)")];
            server.ask(&drop).await.unwrap();
        }
        // The next checkpoint removes the files of dropped databases.
        server.ask(&["CHECKPOINT".to_owned()]).await.unwrap();
        disk.fill(room);
        let output = run(&server);
        let said_when_full = said(&output);
        assert!(!output.status.success(), "{said_when_full}");
        for words in [words, "ake room on the server's disk"] {
            assert!(
                said_when_full.contains(words),
                "{words:?} is not in {said_when_full}"
            );
        }
        let all = ask(&server, "SELECT datname::text FROM pg_database").await;
        let of_tests = all.iter().filter(|name| name.starts_with("poolhouse_"));
        assert_eq!(of_tests.count(), templates, "{all:?}");
        let version = fs::read_dir(&tablespace).unwrap().next().unwrap().unwrap();
        // There is one folder for each database, named by its number.
        let folders = fs::read_dir(version.path()).unwrap().count();
        assert_eq!(folders, 1 + templates, "{all:?}");
        disk.make_room();
    }
    let output = run(&server);
    assert!(output.status.success(), "{}", said(&output));
}
