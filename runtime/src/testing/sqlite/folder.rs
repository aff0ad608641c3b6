//! The folder of this user's test databases.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_core::future::BoxFuture;
use once_cell::sync::OnceCell;
use sqlx::Sqlite;
use sqlx::sqlite::SqliteConnectOptions;

use super::files::{FolderError, in_folder, move_database, remove_database, url_of};
use super::library;
use super::process_folder::ProcessFolder;
use super::templates::SqliteTemplates;
use crate::error::{Error, TestError, TestKind};
use crate::lock::lock;
use crate::settings::{DatabaseUrl, EngineSettings, TestFile};
use crate::testing::background;
use crate::testing::options::{self, DecidesContent};
use crate::testing::recipe::Recipe;
use crate::testing::test::Test;
use crate::testing::test_database::{TestDatabase, TestDatabaseState};
use crate::testing::test_server::{Lease, LeaseEnd, Reservation, Retained, TestServer};

impl DecidesContent for Sqlite {
    fn without_location(options: SqliteConnectOptions) -> SqliteConnectOptions {
        options.filename("").statement_cache_capacity(0)
    }
}

/// The folder, once for the process.
static FOLDER: OnceCell<Arc<Folder>> = OnceCell::new();

fn folder() -> Result<Arc<Folder>, FolderError> {
    let temporary = std::env::temp_dir();
    let root = below(&temporary).map_err(in_folder(&temporary))?;
    let memory = in_memory().map(|memory| memory.join("sqlite"));
    Ok(Arc::new(Folder::new(root.join("sqlite"), memory)))
}

/// The test server of every SQLite URL: tests do not use the configured file.
pub(in crate::testing) fn test_server(
    settings: &EngineSettings,
) -> Result<Arc<dyn TestServer>, Error> {
    match FOLDER.get_or_try_init(folder) {
        Ok(folder) => Ok(Arc::clone(folder) as Arc<dyn TestServer>),
        Err(error) => Err(trouble(settings, &error).into()),
    }
}

struct Folder {
    /// The folder for templates and kept databases, which outlive a process.
    root: PathBuf,
    /// The folder in memory for the files of processes, if there is room.
    memory: Option<PathBuf>,
    templates: SqliteTemplates,
    /// The folder for the tests of this process.
    own: OnceCell<ProcessFolder>,
    /// The files that this process has kept.
    kept: Mutex<HashSet<PathBuf>>,
}

impl TestServer for Folder {
    fn identity(self: Arc<Self>) -> BoxFuture<'static, Result<String, Error>> {
        Box::pin(async { Ok("sqlite".to_owned()) })
    }

    fn reserve(self: Arc<Self>, _: u32) -> BoxFuture<'static, Result<Reservation, Error>> {
        // There is nothing to reserve: files have no limit that tests come near to.
        Box::pin(async { Ok(Box::new(()) as Reservation) })
    }

    // Tests that roll back have their own files too. A writer locks a whole file, so that tests on one file would wait for
    // each other; a copy costs less.
    fn lease(
        self: Arc<Self>,
        recipe: Arc<Recipe>,
        test: Test,
        _: bool,
    ) -> BoxFuture<'static, Result<Box<dyn Lease>, Error>> {
        Box::pin(async move {
            let trouble = |error| trouble(&recipe.settings, &error);
            let own = self.own().map_err(trouble)?;
            let path = own.next_file();
            let url = recipe.settings.url.clone();
            let options = options::of_fingerprint::<Sqlite>(&recipe.settings, url)?;
            let fingerprint = fingerprint(&recipe, &options).await?;
            let copy = || self.templates.copy(&fingerprint, &path).map_err(trouble);
            if !copy()? {
                self.make_template(&recipe, &fingerprint).await?;
                if !copy()? {
                    let gone = io::Error::new(io::ErrorKind::NotFound, "the template is gone");
                    return Err(trouble(in_folder(&self.root)(gone)).into());
                }
            }
            let Ok(url) = DatabaseUrl::parse(&url_of(&path)) else {
                unreachable!("it has a scheme")
            };
            let lease = FileLease {
                folder: self,
                path,
                url,
                test,
                is_kept: false,
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
    fn new(root: PathBuf, memory: Option<PathBuf>) -> Self {
        Self {
            templates: SqliteTemplates::of(root.clone()),
            root,
            memory,
            own: OnceCell::new(),
            kept: Mutex::default(),
        }
    }

    /// Makes a template in the background, so that it is finished even if the test is cancelled.
    async fn make_template(
        self: &Arc<Self>,
        recipe: &Arc<Recipe>,
        fingerprint: &str,
    ) -> Result<(), Error> {
        let (folder, recipe) = (Arc::clone(self), Arc::clone(recipe));
        let fingerprint = fingerprint.to_owned();
        background::run(async move {
            let trouble = |error| trouble(&recipe.settings, &error).into();
            folder.templates.make(&recipe, &fingerprint, trouble).await
        })
        .await
    }

    fn kept_files(&self) -> PathBuf {
        self.root.join("kept")
    }

    /// Lists the kept databases.
    fn kept(&self) -> Vec<TestDatabase> {
        let entries = fs::read_dir(self.kept_files());
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

    /// A file for the database of this test, in place of those that an earlier run has kept. Several cases of a test may have its
    /// name, so that this run may have kept a file for it already.
    fn to_keep(&self, test: &Test) -> io::Result<PathBuf> {
        let folder = self.kept_files();
        fs::create_dir_all(&folder)?;
        let name = test.to_string().replace("::", ".");
        let numbered = |number: usize| match number {
            1 => folder.join(format!("{name}.db")),
            _ => folder.join(format!("{name}.{number}.db")),
        };
        let mut kept = lock(&self.kept);
        let mut numbers = 1..=kept.len();
        let free = numbers.find(|number| !kept.contains(&numbered(*number)));
        let free = free.unwrap_or(kept.len() + 1);
        let earlier = (free..).map(numbered).take_while(|path| path.exists());
        for path in earlier {
            remove_database(&path)?;
        }
        kept.insert(numbered(free));
        Ok(numbered(free))
    }

    /// The folder for the tests of this process. The first call removes old templates.
    fn own(&self) -> Result<&ProcessFolder, FolderError> {
        self.own.get_or_try_init(|| {
            let old = self.templates.remove_old();
            old.map_err(in_folder(&self.root))?;
            let parent = self.memory.as_ref().unwrap_or(&self.root);
            ProcessFolder::take(parent).map_err(in_folder(parent))
        })
    }
}

fn trouble(settings: &EngineSettings, FolderError { folder, error }: &FolderError) -> TestError {
    let cure = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "Make room there, or set TMPDIR to another folder"
        }
        _ => "Give this user the right to write there, or set TMPDIR to another folder",
    };
    let what = format!("the folder {}: {error}", folder.display());
    TestError::new(settings, TestKind::Unavailable, what, cure)
}

/// The fingerprint of a recipe with this process's library.
async fn fingerprint(recipe: &Recipe, options: &str) -> Result<String, Error> {
    let library = library::version().await?;
    Ok(recipe.fingerprint(&format!("sqlite {library}"), options))
}

struct FileLease {
    folder: Arc<Folder>,
    path: PathBuf,
    url: DatabaseUrl,
    test: Test,
    is_kept: bool,
}

impl Lease for FileLease {
    fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    fn file(&self) -> Option<TestFile> {
        Some(TestFile {
            path: self.path.clone(),
            is_on_disk: self.folder.memory.is_none(),
        })
    }

    fn end(mut self: Box<Self>, ending: LeaseEnd) -> BoxFuture<'static, Option<Retained>> {
        let kept = (ending == LeaseEnd::Retain).then(|| self.keep());
        Box::pin(async { kept })
    }
}

impl FileLease {
    /// Moves the database to the kept ones.
    fn keep(&mut self) -> Retained {
        let path = self.folder.to_keep(&self.test);
        let path = path.and_then(|path| move_database(&self.path, &path).map(|()| path));
        self.is_kept = path.is_ok();
        path.map(|path| url_of(&path))
            .map_err(|error| format!("the folder {}: {error}", self.folder.kept_files().display()))
    }
}

impl Drop for FileLease {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if let Err(error) = remove_database(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a test's database could not be removed");
        }
    }
}

/// This user's folder for files in memory; `None` when `TMPDIR` is set or there is no room.
#[cfg(unix)]
fn in_memory() -> Option<PathBuf> {
    if std::env::var_os("TMPDIR").is_some() {
        return None;
    }
    // A folder of another user is not used, and is no reason for tests to fail.
    crate::testing::scratch::in_memory()?.ok()
}

#[cfg(not(unix))]
fn in_memory() -> Option<PathBuf> {
    None
}

/// This user's folder in the one for temporary files, which all users share.
#[cfg(unix)]
fn below(temporary: &Path) -> io::Result<PathBuf> {
    // `TMPDIR` may name a folder that nobody has made yet.
    fs::create_dir_all(temporary)?;
    crate::testing::scratch::own_folder(temporary)
}

/// This user's folder in the one for temporary files, which is the user's own.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "it can fail on Unix")]
fn below(temporary: &Path) -> io::Result<PathBuf> {
    Ok(temporary.join("poolhouse"))
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

    use super::*;
    use crate::settings::{Settings, resolve};

    #[tokio::test]
    async fn another_library_makes_another_template() {
        let settings = Settings::new().url("sqlite::memory:");
        let recipe = Recipe::new(Arc::new(resolve(&settings).unwrap())).await;
        let recipe = recipe.unwrap();
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut of_library = async |version: &str| {
            let version = format!("SELECT {version} || ' ' || sqlite_source_id()");
            let version = sqlx::query_scalar(AssertSqlSafe(version)).fetch_one(&mut connection);
            let version: String = version.await.unwrap();
            recipe.fingerprint(&format!("sqlite {version}"), "")
        };
        let of_this = fingerprint(&recipe, "").await.unwrap();
        assert_eq!(of_this, of_library("sqlite_version()").await);
        assert_ne!(of_this, of_library("'3.1.0'").await);
    }

    #[test]
    fn the_error_names_the_folder_that_fails() {
        let name = format!("poolhouse-broken-{}", std::process::id());
        let parent = std::env::temp_dir().join(name);
        fs::create_dir_all(&parent).unwrap();
        let (file, whole) = (parent.join("file"), parent.join("whole"));
        // A file is in the place of a folder.
        fs::write(&file, "").unwrap();
        let failed = |root: &Path, memory: &Path| {
            let folder = Folder::new(root.to_owned(), Some(memory.to_owned()));
            folder.own().err().map(|error| error.folder)
        };
        assert_eq!(failed(&file, &whole), Some(file.clone()));
        assert_eq!(failed(&whole, &file), Some(file));
        fs::remove_dir_all(parent).unwrap();
    }
}
