//! Many clients with slow requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};

use anyhow::ensure;
use poolhouse_tests::{CaseDatabase, eventually};
use tokio::task::JoinSet;

use super::service::Service;
use super::witness::rows;

/// How many clients there are at a time.
pub(crate) const CLIENTS: usize = 64;

type Answers = Arc<std::sync::Mutex<BTreeMap<i32, Option<u16>>>>;

/// Clients that send one slow request after the other, until nobody takes their connection.
pub(crate) struct Load {
    clients: JoinSet<anyhow::Result<()>>,
    answers: Answers,
    /// How many answers there are.
    pub(crate) answered: Arc<AtomicUsize>,
}

/// What became of the requests of a load.
#[derive(Debug)]
pub(crate) struct Requests {
    /// How many have come to a handler.
    pub(crate) begun: usize,
    /// How many of these were not answered with 200.
    pub(crate) unanswered: usize,
    /// How many requests were answered with 200.
    pub(crate) good: usize,
    /// How many rows there are.
    pub(crate) committed: usize,
}

impl Requests {
    /// Whether each that has come to a handler was answered with 200 and is committed, and no other one is.
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

    /// Waits until each client has been answered about twice.
    pub(crate) async fn is_on(&self) -> anyhow::Result<()> {
        eventually("the load is on", async || {
            let answered = self.answered.load(Relaxed);
            ensure!(answered >= 2 * CLIENTS, "{answered} answers");
            Ok(())
        })
        .await
    }

    /// Waits until nobody takes a connection of any client, and compares what the service said with the answers and the rows.
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
