//! SQLite: a file copied from a template, in a folder of this process.
//!
//! ```text
//! <temporary folder>/poolhouse-<user>/sqlite/
//!   gate                      held while a folder of a process is made (shared) or looked through (exclusive)
//!   <fingerprint>.db          a template; it is renamed to this when it is complete
//!   <fingerprint>.lock        held while it is made
//!   run-<process>/lock        held for as long as the process lives
//!   run-<process>/<n>.db      the database of one test
//!   kept/<test>.db            the database of a failed test
//! ```
//!
//! The file system is the server here: locks on files end with the process, and so tell what a killed one has left.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use futures_core::future::BoxFuture;
use once_cell::sync::Lazy;

use super::background;
use super::error::TestError;
use super::ground::{Ground, Lease, Room};
use super::inventory::{TestDatabase, TestDatabaseState};
use super::keep::TEMPLATE_LIFE;
use super::recipe::Recipe;
use super::test::Test;
use crate::error::Error;
use crate::settings::{DatabaseUrl, EngineSettings};

/// Nothing is to survive a crash of the machine, so nothing has to reach the disk.
const SESSION: &str = "PRAGMA synchronous = OFF";

/// The folder, once for the process.
static GROUND: Lazy<Arc<Folder>> = Lazy::new(|| {
    let user = ["USER", "LOGNAME", "USERNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_default();
    let user: String = user.chars().filter(char::is_ascii_alphanumeric).collect();
    Arc::new(Folder {
        root: std::env::temp_dir()
            .join(format!("poolhouse-{user}"))
            .join("sqlite"),
        next: AtomicU64::new(0),
        run: Mutex::new(None),
    })
});

/// The ground of every SQLite URL: where the configured file is does not matter to a test.
#[allow(
    clippy::unnecessary_wraps,
    reason = "other grounds read the url, which can be wrong"
)]
pub(crate) fn ground(_: &EngineSettings) -> Result<Arc<dyn Ground>, Error> {
    Ok(Arc::clone(&*GROUND) as Arc<dyn Ground>)
}

struct Folder {
    root: PathBuf,
    /// The number of the next test's file.
    next: AtomicU64,
    run: Mutex<Option<Run>>,
}

/// The folder of this process, while a test has a file in it.
struct Run {
    path: PathBuf,
    leases: usize,
    /// Held for as long as this process lives.
    _lock: File,
}

impl Folder {
    /// The databases of tests that were kept.
    fn kept(&self) -> Vec<TestDatabase> {
        let entries = fs::read_dir(self.root.join("kept"));
        let paths = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let databases = paths.filter(|path| path.extension().is_some_and(|kind| kind == "db"));
        let mut kept: Vec<TestDatabase> = databases
            .map(|path| TestDatabase {
                name: path.display().to_string(),
                state: TestDatabaseState::Kept,
            })
            .collect();
        kept.sort_by(|one, other| one.name.cmp(&other.name));
        kept
    }
}

impl Ground for Folder {
    fn key(&self) -> &'static str {
        "sqlite"
    }

    fn reserve(self: Arc<Self>, _: u32) -> BoxFuture<'static, Result<Room, Error>> {
        // Files have no limit that tests come near to.
        Box::pin(async { Ok(Box::new(()) as Room) })
    }

    // One writer at a time locks a whole file, so that tests would wait for each other; a copy costs less.
    fn share(
        self: Arc<Self>,
        recipe: Arc<Recipe>,
        test: Test,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>> {
        self.lease(recipe, test)
    }

    fn lease(
        self: Arc<Self>,
        recipe: Arc<Recipe>,
        test: Test,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>> {
        // In the background, because a template that is begun is to be finished.
        Box::pin(background::run(async move {
            let template = self.template(&recipe).await?;
            let path = self
                .copy(&template)
                .map_err(|error| self.trouble(&recipe, &error))?;
            let Ok(url) = DatabaseUrl::parse(&format!("sqlite:{}", path.display())) else {
                unreachable!("it has a scheme")
            };
            let lease = FileLease {
                folder: self,
                path,
                url,
                test,
                ended: false,
            };
            Ok(Box::new(lease) as Box<dyn Lease>)
        }))
    }

    fn list(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>> {
        Box::pin(async move { Ok(self.kept()) })
    }

    fn remove_unused(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<TestDatabase>, Error>> {
        Box::pin(async move {
            let kept = self.kept();
            for database in &kept {
                remove_database(Path::new(&database.name)).map_err(sqlx::Error::Io)?;
            }
            Ok(kept)
        })
    }
}

impl Folder {
    /// The complete template of this recipe.
    async fn template(&self, recipe: &Recipe) -> Result<PathBuf, Error> {
        let fingerprint = recipe.fingerprint("sqlite");
        let path = self.root.join(format!("{fingerprint}.db"));
        let trouble = |error: io::Error| self.trouble(recipe, &error);
        if !path.exists() {
            fs::create_dir_all(&self.root).map_err(trouble)?;
            let lock = self.root.join(format!("{fingerprint}.lock"));
            let lock = tokio::task::spawn_blocking(move || locked(&lock)).await;
            let lock = lock.map_err(io::Error::other).flatten().map_err(trouble)?;
            // Another one may have made it while this one waited.
            if !path.exists() {
                let unfinished = self.root.join(format!("{fingerprint}.unfinished"));
                remove_database(&unfinished).map_err(trouble)?;
                let url = format!("sqlite:{}?mode=rwc", unfinished.display());
                if let Ok(url) = DatabaseUrl::parse(&url) {
                    recipe.fill(url).await?;
                }
                fs::rename(&unfinished, &path).map_err(trouble)?;
            }
            drop(lock);
        }
        // Its age is the time since it was last used.
        let used = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        used.map_err(trouble)?;
        Ok(path)
    }

    /// A new copy of the template.
    fn copy(&self, template: &Path) -> io::Result<PathBuf> {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let run = match &mut *run {
            Some(run) => run,
            none => none.insert(self.begin_run()?),
        };
        let number = self.next.fetch_add(1, Relaxed);
        let path = run.path.join(format!("{number}.db"));
        fs::copy(template, &path)?;
        run.leases += 1;
        Ok(path)
    }

    /// Makes the folder of this process, and removes those of processes that are gone.
    fn begin_run(&self) -> io::Result<Run> {
        let gate = open_lock(&self.root.join("gate"))?;
        // Whoever waits for the gate looks through the same folder a moment later.
        if gate.try_lock().is_ok() {
            self.remove_remains()?;
            gate.unlock()?;
        }
        gate.lock_shared()?;
        let path = self.root.join(format!("run-{}", process::id()));
        fs::create_dir_all(&path)?;
        let lock = locked(&path.join("lock"))?;
        Ok(Run {
            path,
            leases: 0,
            _lock: lock,
        })
    }

    /// Removes what killed processes have left, and templates that nobody uses. The gate is held.
    fn remove_remains(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("run-") {
                unless_gone(remove_run(&path))?;
            } else if name.ends_with(".db") {
                let idle = fs::metadata(&path)?
                    .modified()?
                    .elapsed()
                    .unwrap_or_default();
                if idle > TEMPLATE_LIFE {
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Takes a test's database back.
    fn take_back(&self, path: &Path, keep_as: Option<&Path>) -> io::Result<()> {
        if let Some(kept) = keep_as {
            if let Some(folder) = kept.parent() {
                fs::create_dir_all(folder)?;
            }
            remove_database(kept)?;
            for suffix in ["", "-wal", "-shm"] {
                let from = with_suffix(path, suffix);
                if from.exists() {
                    fs::rename(from, with_suffix(kept, suffix))?;
                }
            }
        } else {
            remove_database(path)?;
        }
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &mut *run {
            open.leases -= 1;
            if open.leases == 0 {
                unless_gone(fs::remove_dir_all(&open.path))?;
                *run = None;
            }
        }
        Ok(())
    }

    fn trouble(&self, recipe: &Recipe, error: &io::Error) -> TestError {
        TestError::new(
            &recipe.settings,
            format!("the folder {}: {error}", self.root.display()),
            "Give this user the right to write there, or set TMPDIR to another place",
        )
    }
}

struct FileLease {
    folder: Arc<Folder>,
    path: PathBuf,
    url: DatabaseUrl,
    test: Test,
    ended: bool,
}

impl Lease for FileLease {
    fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    fn session(&self) -> Option<&'static str> {
        Some(SESSION)
    }

    fn end(mut self: Box<Self>, keep: bool) -> BoxFuture<'static, Option<String>> {
        let kept = keep.then(|| {
            let name = self.test.to_string().replace("::", ".");
            self.folder.root.join("kept").join(format!("{name}.db"))
        });
        self.give_back(kept.as_deref());
        let shown = kept.map(|path| format!("sqlite:{}", path.display()));
        Box::pin(async { shown })
    }
}

impl FileLease {
    fn give_back(&mut self, keep_as: Option<&Path>) {
        self.ended = true;
        if let Err(error) = self.folder.take_back(&self.path, keep_as) {
            tracing::warn!(%error, path = %self.path.display(), "a test's database could not be put away");
        }
    }
}

impl Drop for FileLease {
    fn drop(&mut self) {
        if !self.ended {
            self.give_back(None);
        }
    }
}

/// Removes the folder of a process that is gone.
fn remove_run(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).open(path.join("lock")) {
        Ok(lock) if lock.try_lock().is_err() => return Ok(()),
        // Its process is just removing it, or was killed before it had made it.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::remove_dir_all(path)
}

/// What another process has removed meanwhile is removed.
fn unless_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A file to lock, made if it is not there.
fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

/// A file with its lock, once that is free.
fn locked(path: &Path) -> io::Result<File> {
    let file = open_lock(path)?;
    file.lock()?;
    Ok(file)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a database and the files beside it, those that are there.
fn remove_database(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(with_suffix(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
