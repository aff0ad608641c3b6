//! The sources other than the code: the environment and the file.

mod environment;
mod file;
mod snapshot;
mod source;
mod surroundings;

pub(crate) use self::snapshot::Sources;
pub(crate) use self::source::Source;
#[cfg(test)]
pub(super) use self::surroundings::Surroundings;
