//! A leased database.

use super::kind::{CloneName, Kind};

/// One leased database.
pub(in crate::testing) struct Leased<K: Kind> {
    pub(in crate::testing) name: String,
    /// What its name is made of.
    pub(in crate::testing) incarnation: String,
    #[cfg_attr(
        not(feature = "mysql"),
        allow(dead_code, reason = "marks of MySQL have it in their names")
    )]
    pub(super) number: String,
    /// The lock of the lease.
    pub(super) lock: String,
    pub(in crate::testing) since: K::Since,
}

impl<K: Kind> Leased<K> {
    #[cfg_attr(
        not(feature = "mysql"),
        allow(dead_code, reason = "marks of MySQL have it in their names")
    )]
    pub(in crate::testing) fn clone_name<'a>(&'a self, fingerprint: &'a str) -> CloneName<'a> {
        CloneName {
            fingerprint,
            incarnation: &self.incarnation,
            number: &self.number,
        }
    }
}
