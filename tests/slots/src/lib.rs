//! Tests of the pool's slots, whose files are compiled twice: with the locks of `std` for long random sequences, and with those
//! of the model checker `loom`, which tries every interleaving of a few threads.
//!
//! `tests/slots/mutations` breaks the slots one line at a time and checks that a test fails.

#![allow(dead_code, missing_docs, reason = "what the pool alone uses")]
#![allow(
    clippy::duplicate_mod,
    clippy::option_option,
    reason = "the same files twice, and a slot with or without a value"
)]
#![allow(
    clippy::items_after_statements,
    clippy::needless_pass_by_value,
    clippy::similar_names,
    clippy::too_many_lines,
    reason = "a model reads best in one piece"
)]

#[cfg(test)]
mod model;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod time;
mod with_loom;
mod with_std;
