//! A template.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::kind::Kind;
use crate::lock::lock;

/// A complete template.
pub(in crate::testing) struct Template<K: Kind> {
    pub(in crate::testing) fingerprint: String,
    /// The incarnation of the server in which the template was found complete. A crash may change the template.
    pub(super) incarnation: String,
    pub(in crate::testing) content: K::Content,
    /// When this process last found no ready clone of it.
    none_ready: Mutex<Option<Instant>>,
}

impl<K: Kind> Template<K> {
    pub(super) fn new(fingerprint: String, incarnation: String, content: K::Content) -> Self {
        Self {
            fingerprint,
            incarnation,
            content,
            none_ready: Mutex::default(),
        }
    }

    /// Whether the server is to be asked for a ready clone: there was one, or it was not asked for this time.
    pub(super) fn is_to_ask(&self, again: Duration) -> bool {
        lock(&self.none_ready).is_none_or(|asked| asked.elapsed() >= again)
    }

    /// Notes that the server has just had no ready clone.
    pub(super) fn found_none(&self) {
        *lock(&self.none_ready) = Some(Instant::now());
    }

    /// Notes that this process has made a spare clone.
    pub(super) fn made_one(&self) {
        *lock(&self.none_ready) = None;
    }
}
