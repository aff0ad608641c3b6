//! Where the tests of one process have their files.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::files::open_lock;

/// The name of the file in a folder that its process keeps locked.
const LOCK: &str = "lock";

/// A folder that is this process's for as long as it lives.
///
/// The folders outlive the processes, empty, and are taken again: a process then has no folder to make and to remove, and
/// none has to know which of its tests is the last one.
pub(super) struct ProcessFolder {
    path: PathBuf,
    /// The number of the next file.
    next: AtomicU64,
    /// Held for as long as this process lives.
    _lock: File,
}

impl ProcessFolder {
    /// Takes a folder that no living process has, a new one if need be, and removes what killed ones have left in all.
    pub(super) fn take(parent: &Path) -> io::Result<Self> {
        let mut folders = (0_u32..).map(|number| parent.join(format!("process-{number}")));
        let taken = folders
            .by_ref()
            .find_map(|path| Self::take_this(path).transpose());
        for path in folders.take_while(|path| path.exists()) {
            // Its lock is not taken before, lest a process that looks for a folder goes past one that is free.
            if has_remains(&path)?
                && let Some(_lock) = lock(&path)?
            {
                empty(&path)?;
            }
        }
        taken.unwrap_or_else(|| Err(io::Error::other("there are more folders than numbers")))
    }

    /// Takes this folder, made if it is not there, unless a living process has it.
    fn take_this(path: PathBuf) -> io::Result<Option<Self>> {
        fs::create_dir_all(&path)?;
        let Some(lock) = lock(&path)? else {
            return Ok(None);
        };
        empty(&path)?;
        Ok(Some(Self {
            path,
            next: AtomicU64::new(0),
            _lock: lock,
        }))
    }

    /// The path of a file that is not there yet.
    pub(super) fn next_file(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Relaxed);
        self.path.join(format!("{number}.db"))
    }
}

/// The lock of a folder, unless a living process has it.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let lock = open_lock(&folder.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether there is anything besides the lock.
fn has_remains(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if entry?.file_name() != LOCK {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes all but the lock, which is held.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() != LOCK {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
