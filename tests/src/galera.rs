//! A Galera cluster on this machine: MariaDB servers that replicate one database.

use std::path::Path;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::{
    Kind, PrivateServer, account::Account, eventually, private_server::free_port, servers,
};

/// The replication library, where the packages of the distributions install it.
const PROVIDERS: [&str; 3] = [
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
    "/usr/lib64/galera/libgalera_smm.so",
];

/// The times after which an unresponsive node is suspected and removed; the defaults are 5 s and 15 s. Each must be longer than
/// the one before it. With much shorter times, on a machine with few processors, the other nodes suspect one another. Then none
/// of them may write, and they never form a group without the killed node.
/// <https://galeracluster.com/library/documentation/galera-parameters.html>
const SUSPICION: &str = "evs.keepalive_period=PT0.5S;evs.inactive_check_period=PT0.5S;evs.suspect_timeout=PT4S;\
                         evs.inactive_timeout=PT12S;evs.install_timeout=PT6S;gmcast.peer_timeout=PT4S";

/// A cluster in which each node accepts writes. Dropping the value kills the nodes.
#[derive(Debug)]
pub struct Galera {
    nodes: Vec<PrivateServer>,
    /// The nodes' logs: every command (`commands-0.log`), and the changes of the cluster (`cluster-0.log`).
    logs: TempDir,
}

/// The addresses between the nodes; clients use another.
struct Address {
    group: u16,
    /// Receives the whole state when the node joins.
    state: u16,
    /// Receives missed changes.
    missed: u16,
}

impl Galera {
    /// Starts a cluster of `size` nodes. Each has joined and answers.
    ///
    /// # Errors
    /// When MariaDB or Galera is missing, or with the end of a node's log when it does not start.
    pub async fn start(size: usize) -> anyhow::Result<Self> {
        let provider = PROVIDERS.iter().map(Path::new).find(|path| path.is_file());
        let provider = provider.context("Galera was not found: install the package `galera-4`")?;
        let addresses: Vec<Address> = (0..size)
            .map(|_| Address::free())
            .collect::<anyhow::Result<_>>()?;
        let group: Vec<String> = addresses
            .iter()
            .map(|address| format!("127.0.0.1:{}", address.group))
            .collect();

        let account = Account::unprivileged(Kind::MariaDb.facts().account())?;
        let logs = account.folder("galera-", &servers::folder())?;
        let mut nodes: Vec<PrivateServer> = Vec::new();
        for (index, address) in addresses.iter().enumerate() {
            let mut settings = address.settings(provider);
            let log = |name: &str| format!("{}/{name}-{index}.log", logs.path().display());
            settings.push(("general-log".into(), "ON".into()));
            settings.push(("general-log-file".into(), log("commands")));
            settings.push(("log-error".into(), log("cluster")));
            let node = match nodes.first() {
                // An address without members starts a new cluster.
                None => {
                    settings.push(("wsrep-cluster-address".into(), "gcomm://".into()));
                    let builder = PrivateServer::of(Kind::MariaDb);
                    settings
                        .into_iter()
                        .fold(builder, |builder, (name, value)| {
                            builder.setting(&name, value)
                        })
                        .start()
                        .await?
                }
                Some(first) => {
                    let members = format!("gcomm://{}", group.join(","));
                    settings.push(("wsrep-cluster-address".into(), members));
                    first.beside(settings).await?
                }
            };
            nodes.push(node);
        }
        let this = Self { nodes, logs };
        for node in &this.nodes {
            this.has_joined(node).await?;
        }
        Ok(this)
    }

    /// The nodes. The first one started the cluster, and would start another one after a restart.
    pub fn nodes(&self) -> &[PrivateServer] {
        &self.nodes
    }

    /// One node, to stop it.
    pub fn node_mut(&mut self, index: usize) -> &mut PrivateServer {
        &mut self.nodes[index]
    }

    /// The folder of the nodes' logs: `commands-0.log` has every command of the first node's clients, and `cluster-0.log` its
    /// messages about the cluster.
    pub fn logs(&self) -> &Path {
        self.logs.path()
    }

    /// Keeps the logs after this value is dropped, and returns their folder.
    pub fn keep_logs(&mut self) -> &Path {
        self.logs.disable_cleanup(true);
        self.logs.path()
    }

    /// The changes in the nodes' logs: when they had no primary group or were forming one.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn changes(&self) -> anyhow::Result<Vec<Change>> {
        let mut changes = Vec::new();
        for node in 0..self.nodes.len() {
            let log = self.logs.path().join(format!("cluster-{node}.log"));
            let text = std::fs::read(&log).with_context(|| log.display().to_string())?;
            for line in String::from_utf8_lossy(&text).lines() {
                changes.extend(Change::read(node, line));
            }
        }
        Ok(changes)
    }

    /// Waits until a query has the same answer on each node, and so each has the earlier writes.
    ///
    /// # Errors
    /// When the answers differ at the limit of [`eventually()`].
    pub async fn agree(&self, query: &str, answer: &str) -> anyhow::Result<()> {
        for node in &self.nodes {
            eventually("the node has what another one has written", async || {
                let rows = node.ask(&[query.to_owned()]).await?;
                let value = rows.into_iter().flatten().flatten().next();
                ensure!(value.as_deref() == Some(answer), "{value:?}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Starts a stopped node and waits until it has joined.
    ///
    /// # Errors
    /// When it does not start, or does not catch up within the limit of [`eventually()`].
    pub async fn rejoin(&mut self, index: usize) -> anyhow::Result<()> {
        ensure!(index > 0, "the first node does not join, it begins");
        self.nodes[index].start().await?;
        self.has_joined(&self.nodes[index]).await
    }

    /// Cuts a node off from the others; clients still reach it.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn cut_off(&self, index: usize) -> anyhow::Result<()> {
        self.isolate(index, true).await
    }

    /// Waits until a node that was cut off takes no statements.
    ///
    /// # Errors
    /// When the node does not answer, or still takes them at the limit of [`eventually()`].
    pub async fn knows_that_it_is_cut_off(&self, index: usize) -> anyhow::Result<()> {
        eventually("the node knows that it is cut off", async || {
            let ready = status(&self.nodes[index], "wsrep_ready").await?;
            ensure!(ready == "OFF", "wsrep_ready is {ready}");
            Ok(())
        })
        .await
    }

    /// Reconnects a node that was cut off, and waits until it has joined.
    ///
    /// # Errors
    /// When the node does not answer, or does not catch up within the limit of [`eventually()`].
    pub async fn reconnect(&self, index: usize) -> anyhow::Result<()> {
        self.isolate(index, false).await?;
        self.has_joined(&self.nodes[index]).await
    }

    /// <https://galeracluster.com/library/documentation/galera-parameters.html#gmcast-isolate>
    async fn isolate(&self, index: usize, cut_off: bool) -> anyhow::Result<()> {
        let set = format!(
            "SET GLOBAL wsrep_provider_options = 'gmcast.isolate={}'",
            u8::from(cut_off)
        );
        self.nodes[index].ask(&[set]).await?;
        Ok(())
    }

    /// The sum of a status variable over all nodes.
    ///
    /// # Errors
    /// When a node does not answer.
    pub async fn sum(&self, variable: &str) -> anyhow::Result<u64> {
        let mut sum = 0;
        for node in &self.nodes {
            let value: u64 = status(node, variable).await?.parse()?;
            sum += value;
        }
        Ok(sum)
    }

    async fn has_joined(&self, node: &PrivateServer) -> anyhow::Result<()> {
        let size = self.nodes.len().to_string();
        eventually("the node is in step with the cluster", async || {
            let state = status(node, "wsrep_local_state_comment").await?;
            let members = status(node, "wsrep_cluster_size").await?;
            ensure!(
                state == "Synced" && members == size,
                "{state}, {members} members"
            );
            Ok(())
        })
        .await
    }
}

/// A change of the cluster, from a node's log.
#[derive(Clone, Debug)]
pub struct Change {
    /// The index of the node.
    pub node: usize,
    /// The second of the day.
    pub second: u64,
    /// Whether the group may write from then on; `None` while the node still searches for one.
    pub primary: Option<bool>,
    /// The node's message.
    pub words: String,
}

impl Change {
    /// Parses a line such as `2026-11-25  1:05:31 0 [Note] WSREP: view(view_id(PRIM,3ef9ac90-ab6a,6) memb {`.
    fn read(node: usize, line: &str) -> Option<Self> {
        let (head, words) = line.split_once("WSREP: ")?;
        let primary = if words.starts_with("view(view_id(PRIM") {
            Some(true)
        } else if words.starts_with("view(view_id(NON_PRIM") {
            Some(false)
        } else if words.contains("turning message relay requesting on")
            || words.contains("suspecting node")
            || words.contains("install timer expired")
        {
            None
        } else {
            return None;
        };
        let mut time = head.split_whitespace().nth(1)?.split(':');
        let mut next = || time.next()?.parse::<u64>().ok();
        let second = next()? * 3600 + next()? * 60 + next()?;
        Some(Self {
            node,
            second,
            primary,
            words: words.to_owned(),
        })
    }
}

async fn status(node: &PrivateServer, variable: &str) -> anyhow::Result<String> {
    let sql = format!(
        "SELECT variable_value FROM information_schema.global_status WHERE variable_name = '{variable}'"
    );
    let rows = node.ask(&[sql]).await?;
    let value = rows.into_iter().flatten().flatten().next();
    value.with_context(|| format!("there is no {variable}"))
}

impl Address {
    fn free() -> anyhow::Result<Self> {
        Ok(Self {
            group: free_port()?,
            state: free_port()?,
            missed: free_port()?,
        })
    }

    /// <https://mariadb.com/kb/en/configuring-mariadb-galera-cluster/>
    fn settings(&self, provider: &Path) -> Vec<(String, String)> {
        let options = format!(
            "gmcast.listen_addr=tcp://127.0.0.1:{};ist.recv_addr=127.0.0.1:{};gcache.size=8M;{SUSPICION}",
            self.group, self.missed
        );
        [
            ("wsrep-on", "ON".into()),
            ("wsrep-provider", provider.display().to_string()),
            ("wsrep-cluster-name", "poolhouse".into()),
            ("wsrep-node-address", format!("127.0.0.1:{}", self.group)),
            ("wsrep-sst-method", "rsync".into()),
            (
                "wsrep-sst-receive-address",
                format!("127.0.0.1:{}", self.state),
            ),
            ("wsrep-provider-options", options),
            ("binlog-format", "ROW".into()),
            ("innodb-autoinc-lock-mode", "2".into()),
        ]
        .map(|(name, value)| (name.into(), value))
        .into()
    }
}
