//! What an attributed function may return.

use std::process::ExitCode;

use crate::error::Error;
use crate::logging;

/// The return types of attributed functions: `()`, `Result<T, E>` with `E: From<poolhouse::Error>`, and `ExitCode`.
#[diagnostic::on_unimplemented(
    message = "a function under `#[with_pool]` cannot return `{Self}`",
    label = "poolhouse cannot report a failed start through this type",
    note = "return `()`, `std::process::ExitCode`, or `Result<T, E>` with one of the errors `anyhow::Error`, \
            `Box<dyn std::error::Error>`, `sqlx::Error` and `poolhouse::Error`",
    note = "an error type of your own needs `impl From<poolhouse::Error>`"
)]
pub trait Outcome: Sized + sealed::Sealed {
    /// The value that reports a failed start, or the error itself where the type cannot carry it.
    #[doc(hidden)]
    fn of_error(error: Error) -> Result<Self, Error>;

    /// The same in a test.
    #[doc(hidden)]
    fn of_test_error(error: Error) -> Result<Self, Error> {
        Self::of_error(error)
    }

    /// Whether a test that returns this has failed.
    #[doc(hidden)]
    fn is_failure(&self) -> bool;

    /// The value of a test that expects a panic and ends without one. Such a test returns `()`.
    #[doc(hidden)]
    fn without_panic() -> Option<Self> {
        None
    }
}

#[diagnostic::do_not_recommend]
impl Outcome for () {
    fn of_error(error: Error) -> Result<Self, Error> {
        Err(error)
    }

    fn is_failure(&self) -> bool {
        false
    }

    fn without_panic() -> Option<Self> {
        Some(())
    }
}

#[diagnostic::do_not_recommend]
impl<T, E: From<Error>> Outcome for Result<T, E> {
    fn of_error(error: Error) -> Result<Self, Error> {
        Ok(Err(error.into()))
    }

    fn is_failure(&self) -> bool {
        self.is_err()
    }
}

#[diagnostic::do_not_recommend]
impl Outcome for ExitCode {
    fn of_error(error: Error) -> Result<Self, Error> {
        logging::print(format_args!("Error: {error:?}"));
        Ok(ExitCode::FAILURE)
    }

    fn of_test_error(error: Error) -> Result<Self, Error> {
        // Not `logging::print`, whose lines the test's harness does not capture.
        eprintln!("Error: {error:?}");
        Ok(ExitCode::FAILURE)
    }

    fn is_failure(&self) -> bool {
        *self != ExitCode::SUCCESS
    }
}

mod sealed {
    use std::process::ExitCode;

    use crate::error::Error;

    pub trait Sealed {}
    impl Sealed for () {}
    impl<T, E: From<Error>> Sealed for Result<T, E> {}
    impl Sealed for ExitCode {}
}
