//! The sources besides the code that say something about engines.

use std::sync::Arc;

use once_cell::sync::OnceCell;

use super::environment::Environment;
use super::file::File;
use super::surroundings::Surroundings;
use crate::settings::error::SettingsError;

/// The environment and the file, read once for a run, its program and all its engines. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(in crate::settings) surroundings: Arc<Surroundings>,
    pub(in crate::settings) environment: Arc<Environment>,
    pub(in crate::settings) file: Option<Arc<File>>,
}

impl Sources {
    /// Those of this process, now.
    ///
    /// # Errors
    ///
    /// A file that is asked for and not there, or that cannot be read.
    pub(crate) fn of_process() -> Result<Self, SettingsError> {
        Self::read(Surroundings::of_process())
    }

    /// Those of this process when its first test began. Tests run side by side, and what one of them does to the
    /// environment or the working directory is not to change what the others get.
    ///
    /// # Errors
    ///
    /// As [`of_process`](Self::of_process).
    pub(crate) fn of_tests() -> Result<Self, SettingsError> {
        static FIRST: OnceCell<Sources> = OnceCell::new();
        FIRST.get_or_try_init(Self::of_process).cloned()
    }

    pub(in crate::settings) fn read(surroundings: Surroundings) -> Result<Self, SettingsError> {
        let surroundings = Arc::new(surroundings);
        let environment = Environment::read(&surroundings)?;
        let file = File::open(&surroundings, &environment)?;
        Ok(Self {
            surroundings,
            environment: Arc::new(environment),
            file: file.map(Arc::new),
        })
    }
}
