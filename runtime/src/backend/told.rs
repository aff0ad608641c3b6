//! Errors of our own among those of the driver: each knows what it means.

use std::fmt;
use std::io;

use super::Diagnosis;

/// An error that was made here, in the form of the driver's.
#[derive(Debug)]
struct Told {
    words: String,
    diagnosis: Diagnosis,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Told {}

/// An error of a connect, with the words and the meaning that are known here.
pub(crate) fn tell(words: String, diagnosis: Diagnosis) -> sqlx::Error {
    let told = Told { words, diagnosis };
    sqlx::Error::Io(io::Error::new(io::ErrorKind::NotConnected, told))
}

/// What an error of [`tell`] means.
pub(crate) fn told(error: &io::Error) -> Option<Diagnosis> {
    let told: &Told = error.get_ref()?.downcast_ref()?;
    Some(told.diagnosis.clone())
}
