//! SIGINT and SIGTERM.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ending::{Interrupted, Member};
use super::shutdown::Shutdown;
use crate::logging::with_callers_subscriber;

/// The signals of one run. A thread listens, with a runtime of its own, so that signals are received even while the body blocks
/// the only thread of its runtime.
pub(super) struct Signals {
    /// Set at the first signal.
    received: CancellationToken,
    /// Set `drain_delay` after the first signal.
    first: CancellationToken,
    /// Set at the second.
    second: CancellationToken,
    number: Arc<OnceLock<i32>>,
    /// The time that a body has to return after the first; `None` when it takes no [`Shutdown`].
    grace: Option<Duration>,
    shutdown: Shutdown,
    /// Set when the run is over.
    over: CancellationToken,
}

impl Signals {
    /// Begins to listen, if `listens`; otherwise no signal comes. A first signal makes the engines drain, and sets `shutdown`
    /// after `drain_delay`; a body that takes it has `grace` to return.
    pub(super) fn listen(
        listens: bool,
        drain_delay: Duration,
        grace: Option<Duration>,
        shutdown: &Shutdown,
    ) -> Self {
        let signals = Self {
            received: CancellationToken::new(),
            first: CancellationToken::new(),
            second: Member::force(),
            number: Arc::new(OnceLock::new()),
            grace,
            shutdown: shutdown.clone(),
            over: CancellationToken::new(),
        };
        if !listens {
            return signals;
        }
        let listener = Listener {
            received: signals.received.clone(),
            first: signals.first.clone(),
            second: signals.second.clone(),
            number: Arc::clone(&signals.number),
            drain_delay,
            shutdown: shutdown.clone(),
        };
        if let Err(error) = listener.start(signals.over.clone()) {
            crate::logging::warn!(%error, "signals cannot be listened for; the program ends at the first one");
        }
        signals
    }

    /// Runs a future that is dropped at a signal, without `drain_delay`, or when an interruption of another run ends the
    /// process.
    pub(super) async fn interrupt<T>(
        &self,
        member: &Member,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupted> {
        tokio::select! {
            output = work => Ok(output),
            interrupted = self.interrupted(&self.received, member) => Err(interrupted),
        }
    }

    /// Runs the body. After the first signal it has its grace, if it takes [`Shutdown`]; a second signal ends that too.
    ///
    /// When this returns [`Interrupted`], the body has been dropped.
    pub(super) async fn watch<T>(
        &self,
        member: &Member,
        body: impl Future<Output = T>,
    ) -> Result<T, Interrupted> {
        let mut body = Box::pin(body);
        let interrupted = tokio::select! {
            output = &mut body => return Ok(output),
            interrupted = self.interrupted(&self.first, member) => interrupted,
        };
        let Some(grace) = self.grace else {
            crate::logging::warn!(
                "a signal ends the program, and its body is dropped with what it was doing, because it has no parameter of the \
                 type Shutdown. Take one to finish first, or set signals = false where another part of the program handles \
                 signals, such as a web server"
            );
            drop_body(body);
            return Err(interrupted);
        };
        self.shutdown.begin();
        let outcome = tokio::select! {
            output = &mut body => Ok(output),
            () = self.second.cancelled() => Err(interrupted),
            () = member.is_stuck() => Err(interrupted),
            () = tokio::time::sleep(grace) => {
                crate::logging::warn!(
                    "the body did not return within {} of the signal (shutdown_timeout) and is dropped",
                    humantime::format_duration(grace)
                );
                Err(interrupted)
            }
        };
        if outcome.is_err() {
            drop_body(body);
        }
        outcome
    }

    /// Set when remaining work has to end now.
    pub(super) fn force(&self) -> &CancellationToken {
        &self.second
    }

    /// Waits for a signal of this run, or for one of another run that ends the process.
    async fn interrupted(&self, own: &CancellationToken, member: &Member) -> Interrupted {
        tokio::select! {
            () = own.cancelled() => Interrupted {
                // The listener sets the number before the token.
                signal: self.number.get().copied().unwrap_or_default(),
            },
            interrupted = member.others_end() => interrupted,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

/// Drops an unfinished body. A panic of its drop must not keep the pools from being closed.
fn drop_body<F>(body: Pin<Box<F>>) {
    if catch_unwind(AssertUnwindSafe(|| drop(body))).is_err() {
        crate::logging::warn!("the body panicked while it was dropped after a signal");
    }
}

/// The listening thread: it sets the tokens.
struct Listener {
    received: CancellationToken,
    first: CancellationToken,
    second: CancellationToken,
    number: Arc<OnceLock<i32>>,
    drain_delay: Duration,
    shutdown: Shutdown,
}

impl Listener {
    /// Starts the thread. Once the run is over, it ends the process at the next signal that comes while no run is under way.
    ///
    /// tokio's handlers of the signals stay installed, so that without a listener a signal would have no effect: at the end of
    /// `main` the runtime's drop waits for its blocking tasks, such as a read of the standard input, without a limit. One
    /// thread is enough for that, and the others end.
    ///
    /// # Errors
    ///
    /// There is no room for a thread or its runtime, or the signals cannot be received.
    fn start(self, over: CancellationToken) -> io::Result<()> {
        static REMAINS: AtomicBool = AtomicBool::new(false);

        let (sender, is_ready) = std::sync::mpsc::channel();
        let listen = with_callers_subscriber(async move {
            let mut incoming = match Incoming::new() {
                Ok(incoming) => incoming,
                Err(error) => {
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            let _ = sender.send(Ok(()));
            over.run_until_cancelled(self.follow(&mut incoming)).await;
            if REMAINS.swap(true, AcqRel) {
                return;
            }
            loop {
                let signal = incoming.next().await;
                if !Member::any() {
                    std::process::exit(128 + signal);
                }
            }
        });
        // The runtime is dropped in the thread, because its drop would panic inside of another runtime.
        let run = move || -> io::Result<()> {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(listen);
            Ok(())
        };
        std::thread::Builder::new()
            .name("poolhouse-signals".to_owned())
            .spawn(run)?;
        let gone = "the thread that receives signals has no runtime";
        is_ready
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other(gone)))
    }

    async fn follow(self, incoming: &mut Incoming) {
        let signal = incoming.next().await;
        crate::logging::info!(signal, "a signal asks the program to end");
        // Cannot fail: the cell is new, and only this task sets it.
        let _ = self.number.set(signal);
        self.shutdown.drain();
        self.received.cancel();
        let mut second = None;
        if !self.drain_delay.is_zero() {
            crate::logging::info!(
                "the program drains for {} (drain_delay): it continues to serve, and its readiness is draining",
                humantime::format_duration(self.drain_delay)
            );
            tokio::select! {
                () = tokio::time::sleep(self.drain_delay) => {}
                signal = incoming.next() => second = Some(signal),
            }
        }
        self.shutdown.begin();
        self.first.cancel();
        let signal = match second {
            Some(signal) => signal,
            None => incoming.next().await,
        };
        crate::logging::warn!(signal, "second signal: the remaining work is ended now");
        self.second.cancel();
        let signal = incoming.next().await;
        // After the third signal, a pool that cannot close must not keep the process alive.
        std::process::exit(128 + signal);
    }
}

/// The stream of both signals.
#[cfg(unix)]
struct Incoming {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Incoming {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> i32 {
        use tokio::signal::unix::SignalKind;
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
        }
    }
}

/// Other systems have only Ctrl-C, which counts as SIGINT.
#[cfg(not(unix))]
struct Incoming;

#[cfg(not(unix))]
impl Incoming {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> i32 {
        match tokio::signal::ctrl_c().await {
            Ok(()) => 2,
            Err(_) => std::future::pending().await,
        }
    }
}
