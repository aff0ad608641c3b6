//! A database that tests have made, as people see it.

use std::fmt;

/// A database that tests have made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestDatabase {
    /// Its name on the server; for SQLite, its file.
    pub name: String,
    /// What it is for.
    pub state: TestDatabaseState,
}

/// What a database of tests is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TestDatabaseState {
    /// The databases of tests are copied from it. It goes by itself a week after its last use.
    Template,
    /// The next test gets it.
    Ready,
    /// A test has it now.
    InUse,
    /// A test run has left it. The next run removes it.
    Left,
    /// It belongs to a test that failed, or it was kept because of `POOLHOUSE_KEEP=all`. It goes by itself after a day.
    Kept,
}

impl fmt::Display for TestDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            TestDatabaseState::Template => "template",
            TestDatabaseState::Ready => "ready",
            TestDatabaseState::InUse => "in use",
            TestDatabaseState::Left => "left",
            TestDatabaseState::Kept => "kept",
        };
        write!(f, "{}: {state}", self.name)
    }
}
