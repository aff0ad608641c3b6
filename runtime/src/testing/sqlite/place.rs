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
    /// Takes a place that no living process has, a new one if need be, and removes what killed ones have left in all.
    pub(super) fn take(folder: &Path) -> io::Result<Self> {
        let mut places = (0_u32..).map(|number| folder.join(format!("place-{number}")));
        let taken = places
            .by_ref()
            .find_map(|path| Self::take_this(path).transpose());
        for path in places.take_while(|path| path.exists()) {
            // Its lock is not taken before, lest a process that looks for a place goes past one that is free.
            if has_remains(&path)?
                && let Some(_lock) = lock(&path)?
            {
                empty(&path)?;
            }
        }
        taken.unwrap_or_else(|| Err(io::Error::other("there are more places than numbers")))
    }

    /// Takes this place, made if it is not there, unless a living process has it.
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
