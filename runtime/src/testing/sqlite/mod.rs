//! SQLite: a file for each test, copied from a template into a folder of this process.
//!
//! ```text
//! <temporary folder>/poolhouse-<user>/sqlite/
//!   <fingerprint>.db          a template; it is renamed to this when it is complete
//!   <fingerprint>.lock        held while it is made
//!   kept/<test>.db            the database of a failed test
//! <the same, or in memory>/
//!   process-<n>/lock          held by the process that has its files there
//!   process-<n>/<m>.db        the database of one test
//! ```
//!
//! The tests' files are in memory where there is room, unless `TMPDIR` names a folder. File locks end with the process, so
//! that a free lock marks the remains of a killed one.

mod files;
mod folder;
mod library;
mod process_folder;
mod templates;

pub(super) use self::folder::test_server;
