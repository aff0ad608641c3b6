//! Removes and moves database files, with the files that SQLite keeps beside them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The characters that the driver does not take as they are: it splits a URL at `?`, and decodes the path.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// The URL of a file, without parameters.
pub(super) fn url_of(path: &Path) -> String {
    let path = path.to_string_lossy();
    format!("sqlite:{}", utf8_percent_encode(&path, ENCODED))
}

/// An error of a file, with the folder of the file.
pub(super) struct FolderError {
    pub(super) folder: PathBuf,
    pub(super) error: io::Error,
}

/// Adds the folder to an error.
pub(super) fn in_folder(folder: &Path) -> impl Fn(io::Error) -> FolderError + '_ {
    |error| FolderError {
        folder: folder.to_owned(),
        error,
    }
}

/// The suffixes of the files beside a database while it is open, or after a crash.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Removes a database and the files beside it, as far as they exist.
pub(super) fn remove_database(path: &Path) -> io::Result<()> {
    unless_gone(fs::remove_file(path))?;
    for companion in COMPANIONS {
        unless_gone(fs::remove_file(with_suffix(path, companion)))?;
    }
    Ok(())
}

/// Moves a database and the files beside it, also from memory to a disk. A failed move leaves no part of a file there.
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
            let unfinished = with_suffix(to, ".unfinished");
            let copied = fs::copy(from, &unfinished).and_then(|_| fs::rename(&unfinished, to));
            copied.inspect_err(|_| {
                let _ = fs::remove_file(&unfinished);
            })?;
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

/// Opens a file to lock, and makes it if it does not exist.
pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

/// Ignores that a file does not exist, because another process has removed it meanwhile.
pub(super) fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
