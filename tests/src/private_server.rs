//! A test's own server, for faults that would disturb every other test.

use std::{
    fmt::Display,
    io,
    net::{SocketAddr, TcpListener},
    ops::Deref,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::Context;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::{
    Kind, Log, Server,
    account::Account,
    children::Process,
    cluster,
    kind::{Demotion, Layout},
    servers,
};

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The server ends its sessions and writes its data: Postgres' fast mode, MariaDB's SIGTERM.
    Orderly,
    /// The server ends at once, without notice to clients, and recovers at its next start.
    Crash,
}

/// Settings for a server before its start.
#[derive(Debug)]
pub struct Builder {
    kind: Kind,
    folder: PathBuf,
    settings: Vec<(String, String)>,
}

impl Builder {
    /// Sets a server variable by the server's own name for it. Both kinds have `max_connections`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: impl Display) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Stores the server's files below `folder` instead of the default one.
    #[must_use]
    pub fn below(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    /// Creates an empty server and starts it. The server answers when this returns.
    ///
    /// # Errors
    /// When its programs are missing, or when the server does not start; the error has the end of its log.
    pub async fn start(self) -> anyhow::Result<PrivateServer> {
        let facts = self.kind.facts();
        let account = Account::unprivileged(facts.account())?;
        let prefix = format!("{}-", self.kind.to_string().to_lowercase());
        let folder = account.folder(&prefix, &self.folder)?;
        let password = cluster::create(self.kind, account, folder.path()).await?;
        let layout = Layout {
            folder: folder.path().to_owned(),
            port: free_port()?,
            password,
        };
        PrivateServer::launch(self.kind, self.settings, account, layout, folder).await
    }
}

/// A server that one test owns. It ends with this value, and with the test's process.
#[derive(Debug)]
pub struct PrivateServer {
    server: Server,
    settings: Vec<(String, String)>,
    account: Account,
    layout: Layout,
    process: Option<Process>,
    // After the process: fields are dropped in this order, so the folder is removed when no process uses it.
    _folder: TempDir,
}

impl PrivateServer {
    /// A server of this kind, or `None` outside `tests/run`, with a printed line.
    pub fn require(kind: Kind) -> Option<Builder> {
        if servers::required() {
            return Some(Self::of(kind));
        }
        servers::say_what_is_left_out();
        None
    }

    /// A server of this kind if its programs are installed, for benchmarks.
    pub fn of(kind: Kind) -> Builder {
        Builder {
            kind,
            folder: servers::folder(),
            settings: Vec::new(),
        }
    }

    pub(crate) async fn launch(
        kind: Kind,
        settings: Vec<(String, String)>,
        account: Account,
        layout: Layout,
        folder: TempDir,
    ) -> anyhow::Result<Self> {
        let server = Server {
            kind,
            url: kind.facts().url(&layout),
            log: Some(Log::new(layout.log())),
        };
        let mut this = Self {
            server,
            settings,
            account,
            layout,
            process: None,
            _folder: folder,
        };
        this.start().await?;
        Ok(this)
    }

    /// Starts a read-only replica of this server on its own port. For MariaDB, the primary needs the setting `log-bin` from its
    /// first start on.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn replica(&self) -> anyhow::Result<Self> {
        let facts = self.kind.facts();
        let (layout, folder) = self.layout_beside()?;
        if let Some(mut command) = facts.copy(&self.server.url, &layout.data())? {
            self.account.run(&mut command);
            cluster::run(&mut command).await?;
        } else {
            cluster::create(self.kind, self.account, folder.path()).await?;
        }
        let settings = self.settings.clone();
        let replica = Self::launch(self.kind, settings, self.account, layout, folder).await?;
        replica.ask(&facts.follow(&self.layout)).await?;
        Ok(replica)
    }

    /// Promotes a replica to a primary, with all changes that it has received.
    ///
    /// # Errors
    /// When the server is no replica.
    pub async fn promote(&self) -> anyhow::Result<()> {
        let facts = self.kind.facts();
        let received = self.ask(&[facts.received().to_owned()]).await?;
        let received = received.first().context("it follows no server")?;
        self.ask(&facts.promote(received)).await?;
        Ok(())
    }

    /// Starts a server without data, which receives its data from this one.
    pub(crate) async fn beside(&self, settings: Vec<(String, String)>) -> anyhow::Result<Self> {
        let (layout, folder) = self.layout_beside()?;
        std::fs::create_dir(layout.data())?;
        self.account.own(&layout.data())?;
        Self::launch(self.kind, settings, self.account, layout, folder).await
    }

    /// The layout of a server that has the same users as this one.
    fn layout_beside(&self) -> anyhow::Result<(Layout, TempDir)> {
        let prefix = format!("{}-", self.kind.to_string().to_lowercase());
        let folder = self.account.folder(&prefix, &servers::folder())?;
        let layout = Layout {
            folder: folder.path().to_owned(),
            port: free_port()?,
            password: self.layout.password.clone(),
        };
        Ok((layout, folder))
    }

    /// Makes a stopped server read-only at its next start.
    ///
    /// # Errors
    /// When its folder cannot be written to.
    pub fn demote(&mut self) -> anyhow::Result<()> {
        match self.kind.facts().demotion() {
            Demotion::File(name) => {
                let file = self.layout.data().join(name);
                std::fs::write(&file, "")?;
                self.account.own(&file)
            }
            Demotion::Setting(name, value) => {
                self.settings.push((name.to_owned(), value.to_owned()));
                Ok(())
            }
        }
    }

    /// Starts a stopped server, on the same port and with the same data. Does nothing when it runs.
    ///
    /// # Errors
    /// When the server does not start; the error has the end of its log.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let facts = self.kind.facts();
        let command = facts.serve(&self.layout, &self.settings)?;
        let end_signal = facts.signal(Stop::Crash);
        let mut process = Process::start(
            command,
            self.account,
            &self.layout.folder,
            &self.layout.log(),
            end_signal,
        )?;
        let question = [facts.whose_data().to_owned()];
        let ready = process.ready(async || {
            let rows = self.ask(&question).await?;
            let data = rows
                .into_iter()
                .flatten()
                .flatten()
                .next()
                .unwrap_or_default();
            let port = self.layout.port;
            anyhow::ensure!(
                Path::new(&data) == self.layout.data(),
                "a stranger has port {port}"
            );
            Ok(())
        });
        ready
            .await
            .with_context(|| format!("cannot start {}", self.kind))?;
        self.process = Some(process);
        Ok(())
    }

    /// Stops the server and waits for its end. Does nothing when it is stopped.
    ///
    /// # Errors
    /// When it still runs at the limit of [`eventually`](crate::eventually()).
    pub async fn stop(&mut self, stop: Stop) -> anyhow::Result<()> {
        let signal = self.kind.facts().signal(stop);
        if let Some(process) = &mut self.process {
            process.end(signal).await?;
        }
        self.process = None;
        Ok(())
    }

    /// Stops the server and starts it again.
    ///
    /// # Errors
    /// As [`PrivateServer::stop`] and [`PrivateServer::start`].
    pub async fn restart(&mut self, stop: Stop) -> anyhow::Result<()> {
        self.stop(stop).await?;
        self.start().await
    }

    /// The server's address, also while it is stopped.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.layout.port).into()
    }

    /// The process id while the server runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }
}

impl Deref for PrivateServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// The first port of this process's turn on which `listen` succeeds, below the range of outgoing connections. From inside that
/// range, a client could take the port of a stopped server, and even connect to itself.
fn on_free_port<L>(listen: impl Fn(SocketAddr) -> io::Result<L>) -> anyhow::Result<L> {
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 15_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);

    // Processes that search at the same time begin at different ports.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from(start.wrapping_add(step) % u32::from(COUNT))?;
        if let Ok(listener) = listen(SocketAddr::from(([127, 0, 0, 1], FIRST + offset))) {
            return Ok(listener);
        }
    }
    anyhow::bail!("no free port from {FIRST} on")
}

/// A listener on a free port of this machine.
pub(crate) fn listen_on_free_port() -> anyhow::Result<TcpListener> {
    on_free_port(TcpListener::bind)
}

/// A free port, for a server that is a process of its own.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    // Bound, but never listening: a process that another thread starts right now holds a copy of the socket until it executes its
    // program, and a copy that listens would keep the server from the port.
    on_free_port(|address| {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(address.port())
    })
}
