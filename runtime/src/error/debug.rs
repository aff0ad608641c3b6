//! The `Debug` form of errors.

use std::fmt;

use super::acquire::AcquireError;
use super::combined::Error;
use super::start::StartError;
use super::test::TestError;
use super::transaction::TransactionError;
use super::usage::UsageError;
use crate::settings::SettingsError;

/// A program whose `main` returns an error prints its `Debug` form, so that one is for people too.
macro_rules! debug_as_display {
    ($($error:ty),+) => {$(
        impl fmt::Debug for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )+};
}

debug_as_display!(
    Error,
    SettingsError,
    StartError,
    AcquireError,
    TransactionError,
    UsageError,
    TestError
);
