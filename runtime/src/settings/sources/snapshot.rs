//! The sources other than the code: the environment and the file.

use std::sync::Arc;

use once_cell::sync::OnceCell;

use super::environment::Environment;
use super::file::{Choice, File};
use super::surroundings::Surroundings;
use crate::settings::error::SettingsError;

/// The environment and the file, read once for a program and all its engines. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(in crate::settings) surroundings: Arc<Surroundings>,
    pub(in crate::settings) environment: Arc<Environment>,
    pub(in crate::settings) file: Option<Arc<File>>,
}

impl Sources {
    /// Reads the sources of this process.
    ///
    /// # Errors
    ///
    /// A file that a variable names does not exist, or a file cannot be read or is not valid.
    pub(crate) fn of_process() -> Result<Self, SettingsError> {
        Self::read(Surroundings::of_process())
    }

    /// The sources of this process, read once for all its tests. Tests run side by side: what one of them does to the
    /// environment or the working directory must not affect the others.
    ///
    /// # Errors
    ///
    /// A file cannot be read or is not valid.
    pub(crate) fn of_tests() -> Result<Self, SettingsError> {
        static FIRST: OnceCell<Sources> = OnceCell::new();
        FIRST
            .get_or_try_init(|| Self::read_in_test(Surroundings::of_process()))
            .cloned()
    }

    pub(in crate::settings) fn read(surroundings: Surroundings) -> Result<Self, SettingsError> {
        Self::read_with(surroundings, Choice::of_environment)
    }

    /// As [`read`](Self::read), without a choice of the file and its profile, so that a test means the same in every shell.
    pub(in crate::settings) fn read_in_test(
        surroundings: Surroundings,
    ) -> Result<Self, SettingsError> {
        Self::read_with(surroundings, |_| Ok(Choice::default()))
    }

    fn read_with(
        surroundings: Surroundings,
        choice: fn(&Environment) -> Result<Choice, SettingsError>,
    ) -> Result<Self, SettingsError> {
        let surroundings = Arc::new(surroundings);
        let environment = Environment::read(&surroundings)?;
        let file = File::open(&surroundings, choice(&environment)?)?;
        Ok(Self {
            surroundings,
            environment: Arc::new(environment),
            file: file.map(Arc::new),
        })
    }
}
