//! A network that delays, holds back, discards, refuses or resets.
//!
//! No crate is used: the maintained proxies of this kind are servers that must be installed and
//! controlled over HTTP. None reports when a client has closed a socket, which is the evidence that
//! the tests need.

mod link;

use std::{
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{net::TcpListener, runtime, sync::watch};

use crate::{eventually, private_server::listen_on_free_port};

/// The treatment of bytes in transit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Pass,
    Stop,
    BlackHole,
    Refuse,
    /// The proxy is being dropped.
    End,
}

#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    mode: Mode,
    delay: Duration,
    /// The number of resets of all sockets.
    resets: u64,
}

/// A socket that a client has opened.
#[derive(Clone, Copy, Debug)]
pub struct Socket {
    /// When it was accepted.
    pub opened: Instant,
    /// When the client or the proxy closed or reset the socket; `None` while it is open.
    pub closed: Option<Instant>,
}

/// Whether the proxy listens, for callers that have just started or stopped it.
#[derive(Debug)]
struct Gate {
    /// `None` after the proxy has failed.
    open: Mutex<Option<bool>>,
    moved: Condvar,
}

impl Gate {
    fn set(&self, open: Option<bool>) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = open;
        self.moved.notify_all();
    }

    /// Blocks until the proxy's thread has applied the change.
    fn wait_until(&self, open: bool) {
        let now = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.moved.wait_while(now, |now| *now == Some(!open)));
    }
}

/// A TCP proxy in front of one address. It runs on its own thread, also while a test's runtime is
/// blocked, paused or gone. Dropping it closes every socket.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    conditions: watch::Sender<Conditions>,
    gate: Arc<Gate>,
    sockets: watch::Receiver<Vec<Socket>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy that forwards everything to `upstream`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn before(upstream: SocketAddr) -> anyhow::Result<Self> {
        let listener = listen_on_free_port()?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let (conditions, current) = watch::channel(Conditions::default());
        let (records, sockets) = watch::channel(Vec::new());
        let gate = Arc::new(Gate {
            open: Mutex::new(Some(true)),
            moved: Condvar::new(),
        });
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::Builder::new().name("proxy".to_owned()).spawn({
            let gate = Arc::clone(&gate);
            move || {
                let served = runtime.block_on(serve(listener, upstream, current, &gate, records));
                // An error ends the proxy and every socket, so that the test fails.
                if let Err(error) = served {
                    eprintln!("the proxy on {address} has failed: {error}");
                }
                gate.set(None);
            }
        })?;
        Ok(Self {
            address,
            conditions,
            gate,
            sockets,
            thread: Some(thread),
        })
    }

    /// The address on which the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Delays all data by this time in each direction, whatever the amount. A connect is not
    /// delayed, because the kernel answers it. The timer adds up to a millisecond.
    pub fn delay(&self, delay: Duration) {
        self.conditions
            .send_modify(|conditions| conditions.delay = delay);
    }

    /// Holds all data back until [`Proxy::pass`]; nothing is lost.
    pub fn stop(&self) {
        self.set(Mode::Stop);
    }

    /// Discards all data in both directions. Sockets stay open, and new ones are accepted and never
    /// answered. A close of one side does not reach the other, as behind a cut cable. A connection
    /// that has lost data stays silent forever; the others continue at [`Proxy::pass`].
    pub fn black_hole(&self) {
        self.set(Mode::BlackHole);
    }

    /// Refuses new sockets, as a host without a server does. Open ones continue.
    pub fn refuse(&self) {
        self.set(Mode::Refuse);
        self.gate.wait_until(false);
    }

    /// Forwards everything again.
    pub fn pass(&self) {
        self.set(Mode::Pass);
        self.gate.wait_until(true);
    }

    /// Resets every open socket, on both sides.
    pub fn reset(&self) {
        self.conditions
            .send_modify(|conditions| conditions.resets += 1);
    }

    /// All sockets that clients have opened so far, in order.
    pub fn sockets(&self) -> Vec<Socket> {
        self.sockets.borrow().clone()
    }

    /// The number of open sockets on the clients' side.
    pub fn open(&self) -> usize {
        self.sockets
            .borrow()
            .iter()
            .filter(|socket| socket.closed.is_none())
            .count()
    }

    /// Waits until this many sockets are open.
    ///
    /// # Errors
    /// At the limit of [`eventually()`], with the current number.
    pub async fn open_become(&self, wanted: usize) -> anyhow::Result<()> {
        eventually(&format!("{wanted} sockets are open"), async || {
            let open = self.open();
            anyhow::ensure!(open == wanted, "{open} are open");
            Ok(())
        })
        .await
    }

    fn set(&self, mode: Mode) {
        self.conditions
            .send_modify(|conditions| conditions.mode = mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Mode::End);
        if let Some(thread) = self.thread.take() {
            // The thread prints its own panic.
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    upstream: SocketAddr,
    mut conditions: watch::Receiver<Conditions>,
    gate: &Gate,
    records: watch::Sender<Vec<Socket>>,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let mut listener = TcpListener::from_std(listener)?;
    loop {
        let mode = conditions.borrow_and_update().mode;
        if mode == Mode::End {
            return Ok(());
        }
        if mode == Mode::Refuse {
            drop(listener);
            gate.set(Some(false));
            let over = conditions
                .wait_for(|conditions| conditions.mode != Mode::Refuse)
                .await;
            over.context("the proxy's owner is gone")?;
            // A process that another thread was starting may have a copy of the old listener, until it executes its program.
            listener = eventually("the proxy listens again", async || {
                Ok(TcpListener::bind(address).await?)
            })
            .await?;
            gate.set(Some(true));
            continue;
        }
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted?;
                tokio::spawn(link::carry(client, upstream, conditions.clone(), Record::open(&records)));
            }
            changed = conditions.changed() => changed?,
        }
    }
}

/// Records when one socket was opened and closed.
struct Record {
    index: usize,
    records: watch::Sender<Vec<Socket>>,
}

impl Record {
    fn open(records: &watch::Sender<Vec<Socket>>) -> Self {
        let mut index = 0;
        records.send_modify(|sockets| {
            index = sockets.len();
            sockets.push(Socket {
                opened: Instant::now(),
                closed: None,
            });
        });
        Self {
            index,
            records: records.clone(),
        }
    }

    /// Only the first call counts.
    fn close(&self) {
        self.records.send_modify(|sockets| {
            sockets[self.index].closed.get_or_insert_with(Instant::now);
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.close();
    }
}
