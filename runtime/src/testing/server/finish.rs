//! The last test of a process prepares the next run.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::adaptor::Adaptor;
use super::database_server::DatabaseServer;

/// How long the last test waits for returned databases.
const RETURN_LIMIT: Duration = Duration::from_secs(1);

/// The time within which the next test of a process begins, most of the time.
const NEXT_TEST: Duration = Duration::from_millis(10);

impl<K: Adaptor> DatabaseServer<K> {
    /// Whether no other test of this process uses the server now, so that the process may end with this one.
    pub(super) fn runs_last_test(&self) -> bool {
        self.waiting.load(SeqCst) == 0 && self.kept.tests() <= 1
    }

    /// Prepares the next run, as far as the last test can.
    pub(super) async fn finish(&self) {
        self.until_returned().await;
        if one_test_per_process() {
            // No other test of this process needs the kept slots and databases.
            self.give_up_kept().await;
        } else if self.kept.may_leave_rolled_back() && !self.kept.has_lost_too_much() {
            let begun = Instant::now();
            if self.no_test_begins().await {
                self.give_up_rolled_back().await;
            }
            self.kept.add_lost(begun.elapsed());
        }
    }

    /// Waits until all returned databases are kept or have to be dropped, within [`RETURN_LIMIT`]. The next run would have to drop
    /// one that is not given up.
    async fn until_returned(&self) {
        let returned = async {
            loop {
                let freed = self.freed.notified();
                if self.returning.load(SeqCst) == 0 {
                    return;
                }
                freed.await;
            }
        };
        let _ = timeout(RETURN_LIMIT, returned).await;
    }

    /// Whether no test of this process begins within [`NEXT_TEST`].
    async fn no_test_begins(&self) -> bool {
        let begun = self.begun.notified();
        self.runs_last_test() && timeout(NEXT_TEST, begun).await.is_err()
    }
}

/// Whether the process ends with this test: <https://nexte.st/docs/configuration/env-vars/>.
pub(super) fn one_test_per_process() -> bool {
    std::env::var("NEXTEST_EXECUTION_MODE").is_ok_and(|mode| mode == "process-per-test")
}
