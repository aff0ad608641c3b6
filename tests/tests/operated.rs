//! The output of `POOLHOUSE_RUN=check|migrate|info`, compared with the files of `operated/golden`.
//!
//! `POOLHOUSE_GOLDEN=update` rewrites them. No output contains a password, and no run executes the body.

mod check;
mod golden;
mod migrations;
mod settings;
