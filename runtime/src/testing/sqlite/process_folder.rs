//! The folder for the tests of one process.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::files::open_lock;

/// The name of the file that the process of a folder keeps locked.
const LOCK: &str = "lock";

/// A folder that belongs to this process until the process ends.
///
/// The folders outlive the processes, empty, and are taken again. So a process has no folder to make and to remove, and
/// need not know which of its tests is the last one.
pub(super) struct ProcessFolder {
    path: PathBuf,
    /// The number of the next file.
    next: AtomicU64,
    /// Held until this process ends.
    _lock: File,
}

impl ProcessFolder {
    /// Takes a free folder, or a new one, and removes the remains of killed processes from all folders.
    pub(super) fn take(parent: &Path) -> io::Result<Self> {
        let mut folders = (0_u32..).map(|number| parent.join(format!("process-{number}")));
        let taken = folders
            .by_ref()
            .find_map(|path| Self::take_this(path).transpose());
        for path in folders.take_while(|path| path.exists()) {
            // Only a folder with remains is locked, because other processes skip a locked folder when they take one.
            if has_remains(&path)?
                && let Some(_lock) = lock(&path)?
            {
                empty(&path)?;
            }
        }
        taken.unwrap_or_else(|| Err(io::Error::other("there are more folders than numbers")))
    }

    /// Takes this folder, made if needed, unless a living process has it.
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

    /// The path of a new file.
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

/// Removes all files and folders but the lock, which must be held.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        // A test may have made a folder beside its database.
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_has_left_is_removed() {
        let name = format!("poolhouse-process-folder-{}", std::process::id());
        let parent = std::env::temp_dir().join(name);
        let left = parent.join("process-0");
        fs::create_dir_all(left.join("0.db-attachments/more")).unwrap();
        fs::write(left.join("0.db"), "").unwrap();
        let taken = ProcessFolder::take(&parent).unwrap();
        assert_eq!(taken.path, left);
        assert!(!has_remains(&left).unwrap());
        drop(taken);
        fs::remove_dir_all(parent).unwrap();
    }
}
