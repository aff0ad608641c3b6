//! The files that the databases of tests are copied from.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::files::{open_lock, remove_database, unless_gone};
use crate::error::Error;
use crate::settings::DatabaseUrl;
use crate::testing::keep::TEMPLATE_LIFE;
use crate::testing::recipe::Recipe;

/// The size in bytes up to which a template's content is kept by the processes that copy it.
const SMALL: u64 = 1 << 20;

/// The templates of this user.
pub(super) struct Templates {
    folder: PathBuf,
    /// The content of small ones that this process has used.
    small: Mutex<HashMap<PathBuf, Arc<[u8]>>>,
}

impl Templates {
    pub(super) fn of(folder: PathBuf) -> Self {
        Self {
            folder,
            small: Mutex::default(),
        }
    }

    /// Where the template of this recipe is, or will be when it is complete.
    pub(super) fn path(&self, recipe: &Recipe) -> PathBuf {
        let fingerprint = recipe.fingerprint("sqlite");
        self.folder.join(format!("{fingerprint}.db"))
    }

    /// Whether this template is there. It is young from then on.
    pub(super) fn has(&self, template: &Path) -> io::Result<bool> {
        if self.small().contains_key(template) {
            return Ok(true);
        }
        match File::options().write(true).open(template) {
            Ok(file) => file.set_modified(SystemTime::now()).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes the template of this recipe, unless another one just does. Trouble with the files is `trouble`'s to explain.
    pub(super) async fn make(
        &self,
        recipe: &Recipe,
        trouble: impl Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        let path = self.path(recipe);
        fs::create_dir_all(&self.folder).map_err(&trouble)?;
        let lock = path.with_extension("lock");
        let lock = tokio::task::spawn_blocking(move || {
            let lock = open_lock(&lock)?;
            lock.lock()?;
            Ok(lock)
        });
        let lock = lock.await.map_err(io::Error::other).flatten();
        let lock = lock.map_err(&trouble)?;
        // Another one may have made it while this one waited.
        if !path.exists() {
            let unfinished = path.with_extension("unfinished");
            remove_database(&unfinished).map_err(&trouble)?;
            let url = format!("sqlite:{}?mode=rwc", unfinished.display());
            if let Ok(url) = DatabaseUrl::parse(&url) {
                recipe.fill(url).await?;
            }
            fs::rename(&unfinished, &path).map_err(&trouble)?;
        }
        drop(lock);
        Ok(())
    }

    /// Copies a template.
    pub(super) fn copy(&self, template: &Path, to: &Path) -> io::Result<()> {
        let known = self.small().get(template).cloned();
        match known {
            Some(content) => fs::write(to, content),
            None => self.copy_file(template, to),
        }
    }

    /// Copies one that this process has not used, or that is large.
    fn copy_file(&self, template: &Path, to: &Path) -> io::Result<()> {
        if fs::metadata(template)?.len() > SMALL {
            return fs::copy(template, to).map(drop);
        }
        let content: Arc<[u8]> = fs::read(template)?.into();
        fs::write(to, &content)?;
        self.small().insert(template.to_owned(), content);
        Ok(())
    }

    fn small(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<[u8]>>> {
        self.small.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes those that no process has begun to use for long.
    pub(super) fn remove_old(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        for entry in fs::read_dir(&self.folder)? {
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
