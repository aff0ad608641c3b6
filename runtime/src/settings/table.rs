//! The table of settings, from the crate of the attribute: `macros/src/table.rs`.
//!
//! It has the name of each setting, the values that it takes, where it may be written, and its names in other pools.
#![allow(
    dead_code,
    reason = "the attribute needs more of the table than the runtime"
)]

poolhouse_macros::settings_table!();
