//! A template.

use super::kind::Kind;

/// A complete template.
pub(in crate::testing) struct Template<K: Kind> {
    pub(in crate::testing) fingerprint: String,
    pub(in crate::testing) content: K::Content,
}
