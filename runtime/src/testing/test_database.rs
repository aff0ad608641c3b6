//! A test database, as the inventory lists it.

use std::fmt;

/// A database that tests have made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestDatabase {
    /// The name on the server; for SQLite, the path of the file.
    pub name: String,
    /// The state of the database.
    pub state: TestDatabaseState,
}

/// The state of a test database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TestDatabaseState {
    /// The databases of tests are cloned from it. A test run removes it a week after its last use.
    Template,
    /// Clean, for the next test.
    Ready,
    /// Leased by a test.
    InUse,
    /// Left by an ended test run. The next run removes it.
    Left,
    /// Kept after a failed test, or because of `POOLHOUSE_KEEP=all`. A test run removes it after a day, except for SQLite,
    /// where the file stays until the same test's next one replaces it.
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
