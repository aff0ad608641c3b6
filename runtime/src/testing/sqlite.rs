//! SQLite: a file copied from a template, in a folder of this process.
//!
//! ```text
//! <temporary folder>/poolhouse-<user>/sqlite/
//!   gate                      held while a folder of a process is made (shared) or looked through (exclusive)
//!   <fingerprint>.db          a template; it is renamed to this when it is complete
//!   <fingerprint>.lock        held while it is made
//!   kept/<test>.db            the database of a failed test
//! <the same, or in memory>/
//!   gate                      the same for this folder
//!   run-<process>/lock        held for as long as the process lives
//!   run-<process>/<n>.db      the database of one test
//! ```
//!
//! What tests write is in memory where there is room, unless `TMPDIR` names a folder. The file system is the server here: locks on files end with the process, and so tell what a killed one has left.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
const SPARE_THE_DISK: &str = "PRAGMA synchronous = OFF";

/// The size in bytes up to which a template's content is kept by the processes that copy it.
const SMALL: u64 = 1 << 20;

/// The folder, once for the process.
static GROUND: Lazy<Arc<Folder>> = Lazy::new(|| {
    let user = ["USER", "LOGNAME", "USERNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_default();
    let user: String = user.chars().filter(char::is_ascii_alphanumeric).collect();
    let root = std::env::temp_dir().join(format!("poolhouse-{user}"));
    Arc::new(Folder {
        root: root.join("sqlite"),
        memory: in_memory().map(|memory| memory.join("sqlite")),
        next: AtomicU64::new(0),
        tidied: AtomicBool::new(false),
        run: Mutex::new(None),
        small: Mutex::default(),
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
    /// What outlives a process.
    root: PathBuf,
    /// What does not, where there is memory for it.
    memory: Option<PathBuf>,
    /// The number of the next test's file.
    next: AtomicU64,
    /// Whether this process has removed what others have left.
    tidied: AtomicBool,
    run: Mutex<Option<Run>>,
    /// The content of small templates that this process has used.
    small: Mutex<HashMap<PathBuf, Arc<[u8]>>>,
}

/// The folder of this process, while a test has a file in it.
struct Run {
    path: PathBuf,
    leases: usize,
    /// Held for as long as this process lives.
    _lock: File,
}

impl Run {
    /// Removes the folder, in which nothing but the lock is left unless something went wrong.
    fn remove(&self) -> io::Result<()> {
        unless_gone(fs::remove_file(self.path.join("lock")))?;
        match fs::remove_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                unless_gone(fs::remove_dir_all(&self.path))
            }
            removed => unless_gone(removed),
        }
    }
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
        Box::pin(async move {
            let template = self.template(&recipe);
            if !self.small().contains_key(&template) && !template.exists() {
                // In the background, because a template that is begun is to be finished.
                let (folder, recipe) = (Arc::clone(&self), Arc::clone(&recipe));
                background::run(async move { folder.make_template(&recipe).await }).await?;
            }
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
        })
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
    /// Where the template of this recipe is, or will be when it is complete.
    fn template(&self, recipe: &Recipe) -> PathBuf {
        let fingerprint = recipe.fingerprint("sqlite");
        self.root.join(format!("{fingerprint}.db"))
    }

    /// Makes the template of this recipe, unless another one just does.
    async fn make_template(&self, recipe: &Recipe) -> Result<(), Error> {
        let path = self.template(recipe);
        let trouble = |error: io::Error| self.trouble(recipe, &error);
        fs::create_dir_all(&self.root).map_err(trouble)?;
        let lock = path.with_extension("lock");
        let lock = tokio::task::spawn_blocking(move || locked(&lock)).await;
        let lock = lock.map_err(io::Error::other).flatten().map_err(trouble)?;
        // Another one may have made it while this one waited.
        if !path.exists() {
            let unfinished = path.with_extension("unfinished");
            remove_database(&unfinished).map_err(trouble)?;
            let url = format!("sqlite:{}?mode=rwc", unfinished.display());
            if let Ok(url) = DatabaseUrl::parse(&url) {
                recipe.fill(url).await?;
            }
            fs::rename(&unfinished, &path).map_err(trouble)?;
        }
        drop(lock);
        Ok(())
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
        let known = self.small().get(template).cloned();
        match known {
            Some(content) => fs::write(&path, content)?,
            None => self.copy_file(template, &path)?,
        }
        run.leases += 1;
        Ok(path)
    }

    /// Copies a template that this process has not used, or that is large.
    fn copy_file(&self, template: &Path, path: &Path) -> io::Result<()> {
        let file = File::open(template)?;
        // Its age is the time since a process began to use it.
        file.set_modified(SystemTime::now())?;
        if file.metadata()?.len() > SMALL {
            return fs::copy(template, path).map(drop);
        }
        let content: Arc<[u8]> = fs::read(template)?.into();
        fs::write(path, &content)?;
        self.small().insert(template.to_owned(), content);
        Ok(())
    }

    fn small(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<[u8]>>> {
        self.small.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the folder of this process, and the first time removes those of processes that are gone.
    fn begin_run(&self) -> io::Result<Run> {
        if !self.tidied.swap(true, Relaxed) {
            for folder in [Some(&self.root), self.memory.as_ref()]
                .into_iter()
                .flatten()
            {
                fs::create_dir_all(folder)?;
                let gate = open_lock(&folder.join("gate"))?;
                // Whoever has it makes or looks through the same folder at this moment.
                if gate.try_lock().is_ok() {
                    remove_remains(folder)?;
                }
            }
        }
        let folder = self.memory.as_ref().unwrap_or(&self.root);
        // That of the same folder: processes of one user may have different temporary folders, and share the memory.
        let gate = open_lock(&folder.join("gate"))?;
        gate.lock_shared()?;
        let path = folder.join(format!("run-{}", process::id()));
        fs::create_dir_all(&path)?;
        let lock = locked(&path.join("lock"))?;
        Ok(Run {
            path,
            leases: 0,
            _lock: lock,
        })
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
                    move_file(&from, &with_suffix(kept, suffix))?;
                }
            }
        } else {
            remove_database(path)?;
        }
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &mut *run {
            open.leases -= 1;
            if open.leases == 0 {
                open.remove()?;
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
        // It makes a session open the file at once, and files in memory are written nowhere.
        self.folder.memory.is_none().then_some(SPARE_THE_DISK)
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

/// The folder of this user for files in memory; `None` where they are better off elsewhere.
#[cfg(unix)]
fn in_memory() -> Option<PathBuf> {
    if std::env::var_os("TMPDIR").is_some() {
        return None;
    }
    // One that is somebody else's is no reason not to test.
    super::scratch::in_memory()?.ok()
}

#[cfg(not(unix))]
fn in_memory() -> Option<PathBuf> {
    None
}

/// Moves a file, from memory to a disk if need be.
fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(from, to)?;
            fs::remove_file(from)
        }
        moved => moved,
    }
}

/// Removes what killed processes have left in a folder, and templates that nobody uses. Its gate is held.
fn remove_remains(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
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
