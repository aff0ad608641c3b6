//! The programs, accounts and folders of this machine.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, process};

use nix::unistd::{Uid, User};

use super::no_server::{FOLDER_VARIABLE, NoServer, in_folder};
use crate::testing::scratch::{in_memory, own_folder};

/// The folders of servers that distributions keep off a user's `PATH`; Fedora has MariaDB's in the last one.
const SYSTEM_FOLDERS: [&str; 5] = [
    "/usr/local/sbin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/bin",
    "/usr/libexec",
];

/// The folders with a folder for each major version of Postgres, off the `PATH`, and the beginning of its name before the
/// version: the packages of Debian, and those of postgresql.org for Fedora and its relatives.
#[cfg(feature = "postgres")]
const POSTGRES_VERSIONS: [(&str, &str); 2] = [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")];

/// A program from the `PATH` or a system folder.
pub(super) fn find(program: &str, package: &str) -> Result<PathBuf, NoServer> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            NoServer::new(
                format!("there is no `{program}` on this machine to start a private server with"),
                format!("Install the package `{package}` (Debian's name)"),
            )
        })
}

/// A program of Postgres, from the `PATH` or of the newest version. All come from one folder, so that their versions match.
#[cfg(feature = "postgres")]
pub(super) fn find_postgres(program: &str) -> Result<PathBuf, NoServer> {
    // The version on the PATH is the user's choice.
    let chosen = env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    match chosen.or_else(|| newest_version(&POSTGRES_VERSIONS)) {
        Some(folder) => Ok(folder.join(program)),
        None => find(program, "postgresql"),
    }
}

#[cfg(feature = "postgres")]
fn newest_version(folders: &[(&str, &str)]) -> Option<PathBuf> {
    let versions = folders.iter().flat_map(|(folder, before)| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(move |entry| {
            let entry = entry.ok()?;
            let name = entry.file_name();
            let version: u32 = name.to_str()?.strip_prefix(before)?.parse().ok()?;
            let programs = entry.path().join("bin");
            let has_all = programs.join("initdb").is_file() && programs.join("postgres").is_file();
            has_all.then_some((version, programs))
        })
    });
    versions
        .max_by_key(|(version, _)| *version)
        .map(|(_, programs)| programs)
}

/// The account that the server runs under. Servers refuse to run as root, but tests in a container often do.
#[derive(Clone, Copy)]
pub(super) struct Account(Option<(u32, u32)>);

impl Account {
    /// The caller's own account; for root that of the server's package, or `nobody`.
    pub(super) fn unprivileged(preferred: &str) -> Result<Self, NoServer> {
        if !Uid::effective().is_root() {
            return Ok(Self(None));
        }
        let known = [preferred, "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten());
        match known {
            Some(user) => Ok(Self(Some((user.uid.as_raw(), user.gid.as_raw())))),
            None => Err(NoServer::new(
                format!(
                    "a server must not run as root, and there is no account `{preferred}` or `nobody`"
                ),
                "Run the tests as another user",
            )),
        }
    }

    /// Makes the account the owner of a file or folder.
    pub(super) fn own(self, path: &Path) -> io::Result<()> {
        match self.0 {
            Some((user, group)) => chown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    /// Makes a folder that only the account can access.
    pub(super) fn folder(self, path: &Path) -> io::Result<()> {
        private_folder(path)?;
        self.own(path)
    }

    /// Makes a command run under the account, in a process group that the terminal's signals do not reach.
    pub(super) fn run(self, command: &mut Command) {
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command.process_group(0);
    }
}

/// The folder of this user's running servers, in memory when there is room and the right to write.
pub(super) fn running() -> Result<PathBuf, NoServer> {
    if let Some(folder) = env::var_os(FOLDER_VARIABLE) {
        let own = std::path::absolute(&folder).and_then(|folder| own_folder(&folder));
        return own.map_err(|error| {
            NoServer::new(
                format!("{FOLDER_VARIABLE} = {}: {error}", folder.display()),
                "Make the folder, or correct the variable",
            )
        });
    }
    if let Some(Ok(folder)) = in_memory() {
        return Ok(folder);
    }
    let folder = env::temp_dir();
    own_folder(&folder).map_err(in_folder(&folder))
}

/// The folder of this user's cached files: in the cache, or where that cannot be written, as in a container without a home, in
/// the folder for temporary files. `None` when neither can be written.
pub(super) fn cache() -> Option<PathBuf> {
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home);
    let cache = cache.filter(|folder| folder.is_absolute()).map(|folder| {
        fs::create_dir_all(&folder)?;
        own_folder(&folder)
    });
    match cache {
        Some(Ok(folder)) => Some(folder),
        Some(Err(_)) | None => own_folder(&env::temp_dir()).ok(),
    }
}

/// Makes a folder that only the caller can access.
pub(super) fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// A unique name beside a path, for an incomplete file or folder.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    path.with_extension(format!("{}-{:08x}", process::id(), fastrand::u32(..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is removed at the end of its test, also of one that fails.
    #[cfg(feature = "postgres")]
    struct Removed(PathBuf);

    #[cfg(feature = "postgres")]
    impl Drop for Removed {
        fn drop(&mut self) {
            // A leftover folder is harmless.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn the_newest_complete_version_is_found_in_each_folder() {
        let name = format!("poolhouse-versions-{:08x}", fastrand::u32(..));
        let removed = Removed(env::temp_dir().join(name));
        let root = &removed.0;
        let folder = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let (debian, fedora) = (folder("debian"), folder("fedora"));
        let folders = [(debian.as_str(), ""), (fedora.as_str(), "pgsql-")];
        for (version, programs, newest) in [
            ("debian/9", "initdb postgres", "debian/9"),
            ("debian/15", "initdb postgres", "debian/15"),
            ("debian/18", "postgres", "debian/15"),
            ("fedora/pgsql-17", "initdb", "debian/15"),
            ("fedora/pgsql-16", "initdb postgres", "fedora/pgsql-16"),
            ("fedora/19", "initdb postgres", "fedora/pgsql-16"),
        ] {
            let bin = root.join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            for program in programs.split(' ') {
                fs::write(bin.join(program), "").unwrap();
            }
            let newest = root.join(newest).join("bin");
            assert_eq!(newest_version(&folders), Some(newest));
        }
    }

    #[test]
    fn a_program_that_is_not_there_names_its_package() {
        let failure = find("no-such-program", "some-package").unwrap_err();
        assert_eq!(
            (failure.what.as_str(), failure.cure.as_str()),
            (
                "there is no `no-such-program` on this machine to start a private server with",
                "Install the package `some-package` (Debian's name)"
            )
        );
    }
}
