//! Templates: the files from which the databases of tests are copied.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::files::{open_lock, remove_database, unless_gone};
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
        trouble: impl Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
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
            let url = format!("sqlite:{}?mode=rwc", unfinished.display());
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
    pub(super) fn copy(&self, fingerprint: &str, to: &Path) -> io::Result<bool> {
        self.try_copy(fingerprint, to).inspect_err(|_| {
            let _ = fs::remove_file(to);
        })
    }

    fn try_copy(&self, fingerprint: &str, to: &Path) -> io::Result<bool> {
        let known = lock(&self.small).get(fingerprint).cloned();
        match known {
            Some(content) => fs::write(to, content).map(|()| true),
            None => self.copy_file(fingerprint, to),
        }
    }

    /// Copies a template that is not in memory, and sets its last use to now.
    fn copy_file(&self, fingerprint: &str, to: &Path) -> io::Result<bool> {
        let path = self.path(fingerprint);
        let mut template = match File::options().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        template.set_modified(SystemTime::now())?;
        if template.metadata()?.len() > SMALL {
            fs::copy(path, to)?;
        } else {
            let mut content = Vec::new();
            template.read_to_end(&mut content)?;
            fs::write(to, &content)?;
            lock(&self.small).insert(fingerprint.to_owned(), content.into());
        }
        Ok(true)
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
