//! MariaDB servers that are one database: a Galera cluster on this machine.

use std::path::Path;

use anyhow::{Context, ensure};

use crate::{Kind, PrivateServer, eventually, private_server::free_port};

/// Where the packages of the distributions put the library that replicates.
const PROVIDERS: [&str; 3] = [
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
    "/usr/lib64/galera/libgalera_smm.so",
];

/// How soon a node that does not answer is taken for dead, where the default is after 5 s. Each must be longer than the one
/// before it. <https://galeracluster.com/library/documentation/galera-parameters.html>
const SUSPICION: &str = "evs.keepalive_period=PT0.5S;evs.inactive_check_period=PT0.5S;evs.suspect_timeout=PT1.5S;\
                         evs.inactive_timeout=PT4S;gmcast.peer_timeout=PT1.5S";

/// A cluster, in which each node takes writes. The nodes die with this value.
#[derive(Debug)]
pub struct Galera {
    nodes: Vec<PrivateServer>,
}

/// The addresses between the nodes; clients have another.
struct Address {
    group: u16,
    /// Where it receives the whole state, when it joins.
    state: u16,
    /// Where it receives what it has missed.
    missed: u16,
}

impl Galera {
    /// Starts a cluster of so many nodes, each of which has joined and answers.
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

        let mut nodes: Vec<PrivateServer> = Vec::new();
        for address in &addresses {
            let mut settings = address.settings(provider);
            let node = match nodes.first() {
                // An address without members begins a cluster.
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
        let this = Self { nodes };
        for node in &this.nodes {
            this.has_joined(node).await?;
        }
        Ok(this)
    }

    /// The nodes. The first one began the cluster, and would begin another one if it were started again.
    pub fn nodes(&self) -> &[PrivateServer] {
        &self.nodes
    }

    /// One node, to be stopped.
    pub fn node_mut(&mut self, index: usize) -> &mut PrivateServer {
        &mut self.nodes[index]
    }

    /// Starts a stopped node and waits until it has what the others have.
    ///
    /// # Errors
    /// When it does not start, or does not catch up within the limit of [`eventually()`].
    pub async fn rejoin(&mut self, index: usize) -> anyhow::Result<()> {
        ensure!(index > 0, "the first node does not join, it begins");
        self.nodes[index].start().await?;
        self.has_joined(&self.nodes[index]).await
    }

    /// Cuts a node off from the others, while clients still reach it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn cut_off(&self, index: usize) -> anyhow::Result<()> {
        self.isolate(index, true).await
    }

    /// Lets a node that was cut off see the others again, and waits until it has what they have.
    ///
    /// # Errors
    /// When it does not answer, or does not catch up within the limit of [`eventually()`].
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
    /// When one does not answer.
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
