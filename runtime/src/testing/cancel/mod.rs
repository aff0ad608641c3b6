//! Running a future again and again, dropped at each of its await points.
//!
//! | file | what it holds |
//! |---|---|
//! | `everywhere` | the runs |
//! | `watched` | an engine under watch: its pool, the server's view of it, and its database |
//! | `rows` | what a database holds, and putting it back |
//! | `tables` | the SQL that differs between databases |

mod everywhere;
mod rows;
mod tables;
mod watched;

pub use self::everywhere::{Cancelled, Completed, cancel_everywhere};
