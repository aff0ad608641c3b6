//! The attribute's facts about a test function.

use std::fmt;

use crate::settings::Migrations;

/// A test function: its name, whether it should panic, and its crate's migrations.
#[derive(Clone, Debug)]
pub struct Test {
    name: &'static str,
    should_panic: bool,
    any_panic: bool,
    migrations: Migrations,
}

impl Test {
    /// The test of this name, which includes the module's path.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            should_panic: false,
            any_panic: false,
            migrations: Migrations::None,
        }
    }

    /// Records that the test carries `#[should_panic]`, and so passes when it panics.
    #[must_use]
    pub fn should_panic(mut self) -> Self {
        self.should_panic = true;
        self
    }

    /// Records that the `#[should_panic]` has no `expected`, and so the test passes with any panic.
    #[must_use]
    pub fn any_panic(mut self) -> Self {
        self.any_panic = true;
        self
    }

    /// Sets the crate's `./migrations`, which are used when no others are set.
    #[must_use]
    pub fn migrations(
        mut self,
        directory: &'static str,
        files: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.migrations = Migrations::Embedded { directory, files };
        self
    }

    /// The crate's migrations, which are used when no others are set.
    pub(crate) fn of_crate(&self) -> Migrations {
        self.migrations.clone()
    }

    /// Whether the test passes with any panic.
    pub(crate) fn passes_with_any_panic(&self) -> bool {
        self.any_panic
    }

    /// Whether the test fails, given whether its body panicked or returned an error.
    pub(super) fn fails(&self, body_failed: bool) -> bool {
        body_failed != self.should_panic
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
