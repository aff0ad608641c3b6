//! The table of settings, from the crate of the attribute: `macros/src/table.rs`.
//!
//! It says of each setting its name, what it takes and where it may be written, and what other pools call it.
#![allow(
    dead_code,
    reason = "the attribute needs more of the table than the runtime"
)]

poolhouse_macros::settings_table!();
