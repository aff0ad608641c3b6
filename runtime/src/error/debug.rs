//! The `Debug` form of errors.

use std::error::Error as _;
use std::fmt;

use super::acquire::AcquireError;
use super::combined::Error;
use super::start::StartError;
use super::test::TestError;
use super::transaction::TransactionError;
use super::usage::UsageError;
use crate::dialect::message;
use crate::settings::SettingsError;

/// Implements `Debug` as the error's text, and the message of the driver's error that is its cause.
///
/// A program whose `main` returns an error prints its `Debug` form, so people read it.
macro_rules! debug_for_people {
    ($($error:ty),+) => {$(
        impl fmt::Debug for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")?;
                match self.source().and_then(|cause| cause.downcast_ref()) {
                    Some(cause) => write!(f, ". Caused by: {}", message(cause)),
                    None => Ok(()),
                }
            }
        }
    )+};
}

debug_for_people!(
    Error,
    SettingsError,
    StartError,
    AcquireError,
    TransactionError,
    UsageError,
    TestError
);
