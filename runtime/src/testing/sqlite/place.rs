//! Where the tests of one process have their files.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::files::open_lock;

/// The name of the file in a place that whoever has the place keeps locked.
const LOCK: &str = "lock";

/// A folder that is this process's for as long as it lives.
///
/// Places outlive the processes, empty, and are taken again: a process then has no folder to make and to remove, and
/// none has to know which of its tests is the last one.
pub(super) struct Place {
    path: PathBuf,
    /// The number of the next file.
    next: AtomicU64,
    /// Held for as long as this process lives.
    _lock: File,
}

impl Place {
    /// Takes a place that no living process has, and removes what killed ones have left in all of these.
    pub(super) fn take(folder: &Path) -> io::Result<Self> {
        let mut taken = None;
        for number in 0_u32.. {
            let path = folder.join(format!("place-{number}"));
            if taken.is_none() {
                fs::create_dir_all(&path)?;
                taken = lock(&path)?.map(|lock| Self {
                    path: path.clone(),
                    next: AtomicU64::new(0),
                    _lock: lock,
                });
                if taken.is_some() {
                    empty(&path)?;
                }
            } else if !path.exists() {
                break;
            } else if has_remains(&path)? {
                // Not before, lest a process that looks for a place takes this one for taken.
                let lock = lock(&path)?;
                if lock.is_some() {
                    empty(&path)?;
                }
            }
        }
        taken.ok_or_else(|| io::Error::other("more places than there can be"))
    }

    /// The path of a file that is not there yet.
    pub(super) fn next_file(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Relaxed);
        self.path.join(format!("{number}.db"))
    }
}

/// The lock of a place, unless a living process has it.
fn lock(place: &Path) -> io::Result<Option<File>> {
    let lock = open_lock(&place.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether there is anything besides the lock.
fn has_remains(place: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(place)? {
        if entry?.file_name() != LOCK {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes all but the lock, which is held.
fn empty(place: &Path) -> io::Result<()> {
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        if entry.file_name() != LOCK {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
