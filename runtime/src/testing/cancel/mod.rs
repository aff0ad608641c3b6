//! Runs a future repeatedly, and drops it at each of its await points.
//!
//! | file | what it holds |
//! |---|---|
//! | `everywhere` | the runs |
//! | `watched` | a watched engine: its pool, its sessions on the server, and its database |
//! | `rows` | the rows of a database, and the differences between two states |
//! | `tables` | reading and restoring rows, with the SQL of each database |

mod everywhere;
mod rows;
mod tables;
mod watched;

pub use self::everywhere::{Cancelled, Completed, cancel_everywhere};
