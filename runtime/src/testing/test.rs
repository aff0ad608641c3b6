//! What the attribute knows of a test function.

use std::fmt;

use crate::settings::Migrations;

/// A test function: its name, how it passes, and the migrations of its crate.
#[derive(Clone, Debug)]
pub struct Test {
    name: &'static str,
    should_panic: bool,
    migrations: Migrations,
}

impl Test {
    /// The test of this name, with its module's path.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            should_panic: false,
            migrations: Migrations::None,
        }
    }

    /// The test passes when it panics: it carries `#[should_panic]`.
    #[must_use]
    pub fn should_panic(mut self) -> Self {
        self.should_panic = true;
        self
    }

    /// The `./migrations` of the crate, which count when nothing else is set.
    #[must_use]
    pub fn migrations(
        mut self,
        directory: &'static str,
        files: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.migrations = Migrations::Embedded { directory, files };
        self
    }

    /// The migrations that count when nothing else is set.
    pub(crate) fn of_crate(&self) -> Migrations {
        self.migrations.clone()
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
