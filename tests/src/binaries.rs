//! Finds the programs of the database servers.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Folders of servers that distributions do not put on a user's `PATH`.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"];

/// The folder of Debian, which installs each major version of Postgres outside the `PATH`.
const DEBIAN_POSTGRES: &str = "/usr/lib/postgresql";

/// Finds the program `name` on the `PATH` or in a system folder.
pub(crate) fn find(name: &str, package: &str) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .with_context(|| missing(name, package))
}

/// The variable that names a folder with the programs of another Postgres than the installed one.
const POSTGRES_BIN: &str = "POOLHOUSE_TEST_POSTGRES_BIN";

/// Finds a program of Postgres, in the folder that the environment names or in the newest installed version. All programs of one
/// server come from one folder, so that `initdb` and `postgres` have the same version.
pub(crate) fn find_postgres(name: &str) -> anyhow::Result<PathBuf> {
    if let Some(folder) = env::var_os(POSTGRES_BIN).filter(|folder| !folder.is_empty()) {
        let program = Path::new(&folder).join(name);
        anyhow::ensure!(
            program.is_file(),
            "{POSTGRES_BIN} is set, and there is no {}",
            program.display()
        );
        return Ok(program);
    }
    newest_version(Path::new(DEBIAN_POSTGRES))
        .map(|folder| folder.join(name))
        .filter(|program| program.is_file())
        .map_or_else(|| find(name, "postgresql"), Ok)
}

fn newest_version(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs
                .join("initdb")
                .is_file()
                .then_some((version, programs))
        })
        .max_by_key(|(version, _)| *version)
        .map(|(_, programs)| programs)
}

fn missing(name: &str, package: &str) -> String {
    format!(
        "the program `{name}` was not found: install the package `{package}`, or use `tests/run`, which does"
    )
}
