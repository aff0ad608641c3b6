//! Log lines of an outage: at its begin, when its cause changes, and at its end.

use std::sync::Mutex;
use std::time::Instant;

use crate::dialect::{Diagnosis, message};
use crate::error::whole_millis;
use crate::lock::lock;

/// The outage of one pool's server, if there is one.
#[derive(Default)]
pub(super) struct Outages(Mutex<Option<Outage>>);

struct Outage {
    since: Instant,
    cause: String,
}

impl Outages {
    /// Notes that no connection could be opened. Warns if the outage or its cause is new.
    pub(super) fn failed(&self, engine: &str, diagnosis: &Diagnosis, error: &sqlx::Error) {
        let mut outage = self.lock();
        let (since, is_new) = match &*outage {
            Some(Outage { cause, .. }) if *cause == diagnosis.what => return,
            Some(Outage { since, .. }) => (*since, false),
            None => (Instant::now(), true),
        };
        let cause = diagnosis.what.to_string();
        *outage = Some(Outage { since, cause });
        drop(outage);
        let (what, words, cure) = (&diagnosis.what, message(error), &diagnosis.cure);
        if is_new {
            crate::logging::warn!(
                engine,
                "no connection can be opened: {what} ({words}). It is tried again; {cure}"
            );
        } else {
            crate::logging::warn!(
                engine,
                "no connection can be opened for {} now; the cause is another one: {what} ({words}); {cure}",
                whole_millis(since.elapsed()),
            );
        }
    }

    /// Notes that a connection was opened. Logs the end of an outage.
    pub(super) fn over(&self, engine: &str) {
        let Some(Outage { since, cause }) = self.lock().take() else {
            return;
        };
        crate::logging::warn!(
            engine,
            "connections can be opened again, after {} ({cause})",
            whole_millis(since.elapsed()),
        );
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Outage>> {
        lock(&self.0)
    }
}
