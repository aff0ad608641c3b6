//! Finds the programs of the database servers.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Where distributions put servers that are not on a user's `PATH`.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"];

/// Debian keeps each major version of Postgres in a folder of its own, off the `PATH`.
const DEBIAN_POSTGRES: &str = "/usr/lib/postgresql";

/// The program `name` from the `PATH` or a system folder.
pub(crate) fn find(name: &str, package: &str) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .with_context(|| missing(name, package))
}

/// Names the folder with the programs of another Postgres than the installed one.
const POSTGRES_BIN: &str = "POOLHOUSE_TEST_POSTGRES_BIN";

/// A program of Postgres itself, from the folder that the environment names, or else from the newest version installed. All
/// programs of one server come from one folder, so that `initdb` and `postgres` are of the same version.
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
