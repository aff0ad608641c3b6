//! Many clients with slow requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};

use anyhow::ensure;
use poolhouse_tests::{CaseDatabase, eventually};
use tokio::task::JoinSet;

use super::service::Service;
use super::witness::rows;

/// The number of concurrent clients.
pub(crate) const CLIENTS: usize = 64;

type Answers = Arc<std::sync::Mutex<BTreeMap<i32, Option<u16>>>>;

/// Clients that send one slow request after another, until a connection is refused.
pub(crate) struct Load {
    clients: JoinSet<anyhow::Result<()>>,
    answers: Answers,
    /// The number of answers.
    pub(crate) answered: Arc<AtomicUsize>,
}

/// The outcome of a load's requests.
#[derive(Debug)]
pub(crate) struct Requests {
    /// The number that reached a handler.
    pub(crate) begun: usize,
    /// The number of these that were not answered with 200.
    pub(crate) unanswered: usize,
    /// The number that were answered with 200.
    pub(crate) good: usize,
    /// The number of rows.
    pub(crate) committed: usize,
}

impl Requests {
    /// Whether exactly the requests that reached a handler were answered with 200 and committed.
    pub(crate) fn nothing_is_lost(&self) -> bool {
        self.unanswered == 0 && self.good == self.begun && self.committed == self.begun
    }
}

impl Load {
    pub(crate) fn of(service: &Service) -> Self {
        let answers = Answers::default();
        let answered = Arc::new(AtomicUsize::new(0));
        let next = Arc::new(AtomicI32::new(1));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (answers, answered) = (Arc::clone(&answers), Arc::clone(&answered));
            let next = Arc::clone(&next);
            let (client, address) = (service.client, service.address);
            clients.spawn(async move {
                loop {
                    let key = next.fetch_add(1, Relaxed);
                    let Ok(sent) = client.send(address, "slow", key).await else {
                        return Ok(());
                    };
                    let answer = sent.answer().await?;
                    answered.fetch_add(1, Relaxed);
                    let mut answers = answers.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
                    answers.insert(key, answer.status);
                }
            });
        }
        Self {
            clients,
            answers,
            answered,
        }
    }

    /// Waits for two answers per client on average.
    pub(crate) async fn is_on(&self) -> anyhow::Result<()> {
        eventually("the load is on", async || {
            let answered = self.answered.load(Relaxed);
            ensure!(answered >= 2 * CLIENTS, "{answered} answers");
            Ok(())
        })
        .await
    }

    /// Waits until every client is refused, and compares the service's output with the answers and the rows.
    pub(crate) async fn end(
        mut self,
        said: &str,
        database: &CaseDatabase,
    ) -> anyhow::Result<Requests> {
        while let Some(client) = self.clients.join_next().await {
            client??;
        }
        let good: BTreeSet<i32> = {
            let answers = self
                .answers
                .lock()
                .map_err(|_| anyhow::anyhow!("poisoned"))?;
            let good = answers.iter().filter(|(_, status)| **status == Some(200));
            good.map(|(key, _)| *key).collect()
        };
        let begun: BTreeSet<i32> = said
            .lines()
            .filter_map(|line| line.strip_prefix("begun ")?.strip_suffix('.')?.parse().ok())
            .collect();
        Ok(Requests {
            begun: begun.len(),
            unanswered: begun.difference(&good).count(),
            good: good.len(),
            committed: rows(database, "true").await?,
        })
    }
}
