//! A leased database.

use super::kind::Kind;

/// One leased database.
pub(in crate::testing) struct Leased<K: Kind> {
    pub(in crate::testing) name: String,
    /// The incarnation of the server in which it was leased.
    pub(in crate::testing) incarnation: String,
    /// The lock of the lease.
    pub(super) lock: String,
    pub(in crate::testing) since: K::Since,
}
