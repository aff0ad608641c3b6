//! `POOLHOUSE_RUN=check|migrate|info`: what an operator reads, in files of `operated/golden`.
//!
//! `POOLHOUSE_GOLDEN=update` writes them anew. In none of them is a password, and in no run does the body run.

mod check;
mod golden;
mod migrations;
mod settings;
