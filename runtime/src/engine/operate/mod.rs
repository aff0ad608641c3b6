//! Operations on an engine instead of running its program: `POOLHOUSE_RUN=check`, `migrate` and `info`.
//!
//! | file | what it holds |
//! |---|---|
//! | `report` | the result, as data |
//! | `operation` | the three operations on one engine and its nodes |
//! | `inspect` | checks for common faults |
//! | `migrations` | which migrations are applied and which are pending, and running them one by one |

mod inspect;
mod migrations;
mod operation;
mod report;

pub(crate) use self::operation::Operation;
pub(super) use self::operation::operate;
pub(super) use self::report::Progress;
pub(crate) use self::report::{EngineReport, Finding, MigrationReport, MigrationState, Severity};
