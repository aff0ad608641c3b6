//! What is done to the files of databases, beside which others come and go.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// What stands beside a database while it is open, or after a crash.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Removes a database and the files beside it, those that are there.
pub(super) fn remove_database(path: &Path) -> io::Result<()> {
    unless_gone(fs::remove_file(path))?;
    for companion in COMPANIONS {
        unless_gone(fs::remove_file(with_suffix(path, companion)))?;
    }
    Ok(())
}

/// Moves a database and the files beside it, from memory to a disk if need be.
pub(super) fn move_database(from: &Path, to: &Path) -> io::Result<()> {
    move_file(from, to)?;
    for companion in COMPANIONS {
        unless_gone(move_file(
            &with_suffix(from, companion),
            &with_suffix(to, companion),
        ))?;
    }
    Ok(())
}

fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(from, to)?;
            fs::remove_file(from)
        }
        moved => moved,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A file to lock, made if it is not there.
pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

/// What another process has removed meanwhile is removed.
pub(super) fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
