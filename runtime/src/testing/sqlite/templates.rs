//! Templates: the files from which the databases of tests are copied.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::files::{FolderError, in_folder, open_lock, remove_database, unless_gone, url_of};
use crate::error::Error;
use crate::lock::lock;
use crate::settings::DatabaseUrl;
use crate::testing::recipe::Recipe;
use crate::testing::retention::TEMPLATE_LIFE;

/// The size in bytes up to which a process keeps the content of a template that it has copied.
const SMALL: u64 = 1 << 20;

/// The templates of this user.
pub(super) struct SqliteTemplates {
    folder: PathBuf,
    /// The content of each small template that this process has used, by its fingerprint.
    small: Mutex<HashMap<String, Arc<[u8]>>>,
}

impl SqliteTemplates {
    pub(super) fn of(folder: PathBuf) -> Self {
        Self {
            folder,
            small: Mutex::default(),
        }
    }

    fn path(&self, fingerprint: &str) -> PathBuf {
        self.folder.join(format!("{fingerprint}.db"))
    }

    /// Makes the template of this recipe, or waits for another process that does. `trouble` explains errors of files.
    pub(super) async fn make(
        &self,
        recipe: &Recipe,
        fingerprint: &str,
        trouble: impl Fn(FolderError) -> Error,
    ) -> Result<(), Error> {
        let trouble = |error| trouble(in_folder(&self.folder)(error));
        let path = self.path(fingerprint);
        fs::create_dir_all(&self.folder).map_err(&trouble)?;
        let file = path.with_extension("lock");
        let file = tokio::task::spawn_blocking(move || {
            let file = open_lock(&file)?;
            file.lock()?;
            Ok(file)
        });
        let file = file.await.map_err(io::Error::other).flatten();
        let file = file.map_err(&trouble)?;
        // Another process may have made the template during the wait.
        if !path.exists() {
            let unfinished = path.with_extension("unfinished");
            remove_database(&unfinished).map_err(&trouble)?;
            let url = format!("{}?mode=rwc", url_of(&unfinished));
            let made = match DatabaseUrl::parse(&url) {
                Ok(url) => recipe.fill(url).await,
                Err(_) => unreachable!("it has a scheme"),
            };
            let made = made
                .and_then(|()| is_whole(&unfinished).map_err(&trouble))
                .and_then(|()| fs::rename(&unfinished, &path).map_err(&trouble));
            if let Err(error) = made {
                let _ = remove_database(&unfinished);
                return Err(error);
            }
        }
        drop(file);
        Ok(())
    }

    /// Copies the template of this fingerprint; false when there is none. A failed copy leaves no file.
    pub(super) fn copy(&self, fingerprint: &str, to: &Path) -> Result<bool, FolderError> {
        self.try_copy(fingerprint, to).inspect_err(|_| {
            let _ = fs::remove_file(to);
        })
    }

    fn try_copy(&self, fingerprint: &str, to: &Path) -> Result<bool, FolderError> {
        let there = in_folder(to.parent().unwrap_or(to));
        let known = lock(&self.small).get(fingerprint).cloned();
        if let Some(content) = known {
            return fs::write(to, content).map(|()| true).map_err(there);
        }
        let Some((template, is_small)) = self.open(fingerprint).map_err(in_folder(&self.folder))?
        else {
            return Ok(false);
        };
        if is_small {
            let content = read(template).map_err(in_folder(&self.folder))?;
            fs::write(to, &content).map_err(there)?;
            lock(&self.small).insert(fingerprint.to_owned(), content.into());
        } else {
            // Most errors of a copy are of the written file.
            fs::copy(self.path(fingerprint), to).map_err(there)?;
        }
        Ok(true)
    }

    /// Opens a template that is not in memory, if it exists, and sets its last use to now. Returns it with whether it is
    /// [`SMALL`].
    fn open(&self, fingerprint: &str) -> io::Result<Option<(File, bool)>> {
        let opened = File::options()
            .read(true)
            .write(true)
            .open(self.path(fingerprint));
        let template = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        template.set_modified(SystemTime::now())?;
        let is_small = template.metadata()?.len() <= SMALL;
        Ok(Some((template, is_small)))
    }

    /// Removes the templates that no process has begun to use within `TEMPLATE_LIFE`.
    pub(super) fn remove_old(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|kind| kind == "db") {
                unless_gone(remove_if_old(&path))?;
            }
        }
        Ok(())
    }
}

fn read(mut template: File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    template.read_to_end(&mut content)?;
    Ok(content)
}

fn remove_if_old(template: &Path) -> io::Result<()> {
    let used = fs::metadata(template)?.modified()?;
    if used.elapsed().unwrap_or_default() > TEMPLATE_LIFE {
        fs::remove_file(template)?;
    }
    Ok(())
}

/// Fails if the close of a new template has not written its write-ahead log back.
fn is_whole(template: &Path) -> io::Result<()> {
    let mut log = template.as_os_str().to_owned();
    log.push("-wal");
    if Path::new(&log).exists() {
        return Err(io::Error::other(
            "its write-ahead log was not written back in time",
        ));
    }
    Ok(())
}
