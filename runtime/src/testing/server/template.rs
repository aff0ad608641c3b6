//! A template.

use super::kind::Kind;

/// A complete template.
pub(in crate::testing) struct Template<K: Kind> {
    pub(in crate::testing) fingerprint: String,
    /// The incarnation of the server in which it was found to be complete. A crash may change it.
    pub(super) incarnation: String,
    pub(in crate::testing) content: K::Content,
}
