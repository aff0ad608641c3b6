//! The statements of the benchmark.

use std::fmt;

/// The tables, and ten thousand rows to read, in SQL that every database here accepts.
pub(crate) const SCHEMA: &[&str] = &[
    "CREATE TABLE item (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(40) NOT NULL)",
    "CREATE TABLE entry (item INTEGER NOT NULL, note VARCHAR(40) NOT NULL)",
    "INSERT INTO item \
     WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 99) \
     SELECT 1 + a.n + 100 * b.n, 'an item with a name' FROM n a, n b",
];

/// The greatest key to read. At least a hundred rows begin at each key from 1 on.
pub(crate) const KEYS: i32 = 9_900;

/// The number of rows that [`Statement::Rows`] reads.
pub(crate) const ROWS: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// `SELECT 1`
    One,
    /// A row by its primary key.
    Point,
    /// A small row into a table without indices.
    Insert,
    /// A hundred rows by their primary key.
    Rows,
}

impl Statement {
    pub(crate) const ALL: [Self; 4] = [Self::One, Self::Point, Self::Insert, Self::Rows];
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::One => "SELECT 1",
            Self::Point => "point read",
            Self::Insert => "insert",
            Self::Rows => "100 rows",
        })
    }
}
