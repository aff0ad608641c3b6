//! The advisory locks of this crate, each a class in the upper half of the key and a number in the lower one.
//!
//! They are all held by sessions, so that they end with the process that took them.

/// Held by the test that leases a database, by the database's id.
pub(super) const LEASE: i64 = 0x706f_6f01 << 32;
/// Held while a template is built, by its fingerprint.
const TEMPLATE: i64 = 0x706f_6f02 << 32;
/// Held for each connection that a test may open, by number.
const PLACE: i64 = 0x706f_6f03 << 32;
/// Held by whoever looks for remains.
pub(super) const REAPER: i64 = 0x706f_6f04 << 32;

pub(super) fn lease(oid: i64) -> i64 {
    LEASE | oid
}

pub(super) fn template(fingerprint: &str) -> i64 {
    // Two fingerprints with the same lock only wait for each other.
    let number = fingerprint
        .get(..8)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok());
    TEMPLATE | i64::from(number.unwrap_or_default())
}

pub(super) fn place(number: u32) -> i64 {
    PLACE | i64::from(number)
}
