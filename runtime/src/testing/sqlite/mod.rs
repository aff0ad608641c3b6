//! SQLite: a file copied from a template, in a folder that is this process's.
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
//! What tests write is in memory where there is room, unless `TMPDIR` names a folder. The file system is the server
//! here: locks on files end with the process, and so tell what a killed one has left.

mod files;
mod folder;
mod process_folder;
mod templates;

pub(super) use self::folder::test_server;
