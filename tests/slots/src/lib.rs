//! The pool's slots, which are files of `poolhouse` itself, built twice: with the locks of `std` for long random sequences,
//! and with those of the model checker `loom`, which tries every interleaving of a few threads.
//!
//! `tests/slots/mutations` breaks them one line at a time and looks that a test notices.

#![allow(dead_code, missing_docs, reason = "what the pool alone uses")]

#[cfg(test)]
mod model;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod time;
mod with_loom;
mod with_std;
