//! SIGINT and SIGTERM.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::ending::{Interrupted, Member};
use super::shutdown::Shutdown;
use crate::lock::lock;
use crate::logging::with_callers_subscriber;

/// The signals of one run. It listens until it is dropped.
pub(super) struct Signals {
    /// Set at the first signal.
    received: CancellationToken,
    /// Set `drain_delay` after the first signal.
    first: CancellationToken,
    /// Set at the second.
    second: CancellationToken,
    /// The first signal.
    number: Arc<OnceLock<i32>>,
    /// The time that a body has to return after the first; `None` when it takes no [`Shutdown`].
    grace: Option<Duration>,
    shutdown: Shutdown,
    /// The number of the run among those that listen.
    id: Option<u64>,
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
        let mut signals = Self {
            received: CancellationToken::new(),
            first: CancellationToken::new(),
            second: Member::force(),
            number: Arc::new(OnceLock::new()),
            grace,
            shutdown: shutdown.clone(),
            id: None,
        };
        if !listens {
            return signals;
        }
        let listener = Listener {
            received: signals.received.clone(),
            first: signals.first.clone(),
            second: signals.second.clone(),
            drain_delay,
            shutdown: shutdown.clone(),
        };
        match listener.start(Arc::clone(&signals.number)) {
            Ok(id) => signals.id = Some(id),
            Err(error) => {
                crate::logging::warn!(%error, "signals cannot be listened for; the program ends at the first one");
            }
        }
        signals
    }

    /// Ends the listening, unless a signal has been received, which is returned. No signal is lost in between: a later one ends
    /// the process, unless another run listens.
    pub(super) fn stop(&self) -> Option<Interrupted> {
        let signal = lock(&LISTENING).stop(self.id?);
        signal.map(|signal| Interrupted { signal })
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

    /// Whether a signal has come. A program may also end `Shutdown` by itself.
    pub(super) fn have_come(&self) -> bool {
        self.number.get().is_some()
    }

    /// Set when remaining work has to end now.
    pub(super) fn force(&self) -> &CancellationToken {
        &self.second
    }

    /// Waits for a signal of this run, or for one of another run that ends the process.
    async fn interrupted(&self, own: &CancellationToken, member: &Member) -> Interrupted {
        tokio::select! {
            () = own.cancelled() => Interrupted {
                // The number is set before the token.
                signal: self.number.get().copied().unwrap_or_default(),
            },
            interrupted = member.others_end() => interrupted,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            lock(&LISTENING).remove(id);
        }
    }
}

/// Drops an unfinished body. A panic of its drop must not keep the pools from being closed.
fn drop_body<F>(body: Pin<Box<F>>) {
    if catch_unwind(AssertUnwindSafe(|| drop(body))).is_err() {
        crate::logging::warn!("the body panicked while it was dropped after a signal");
    }
}

/// Held to add or to remove a run, or to deliver a signal, never across an await. So each signal reaches the runs that listen at
/// its moment, and ends the process if there is none.
static LISTENING: Mutex<ListeningRuns> = Mutex::new(ListeningRuns::new());

/// The runs that listen.
struct ListeningRuns {
    runs: Vec<ListeningRun>,
    next_id: u64,
    /// The runtime of the thread that receives signals, once it is started.
    thread: Option<Handle>,
}

struct ListeningRun {
    id: u64,
    /// The first signal.
    number: Arc<OnceLock<i32>>,
    signals: UnboundedSender<i32>,
}

impl ListeningRuns {
    const fn new() -> Self {
        Self {
            runs: Vec::new(),
            next_id: 0,
            thread: None,
        }
    }

    /// Adds a run, and returns its id and its signals.
    fn add(&mut self, number: Arc<OnceLock<i32>>) -> (u64, UnboundedReceiver<i32>) {
        let (signals, received) = unbounded_channel();
        let id = self.next_id;
        self.next_id += 1;
        self.runs.push(ListeningRun {
            id,
            number,
            signals,
        });
        (id, received)
    }

    fn remove(&mut self, id: u64) {
        self.runs.retain(|run| run.id != id);
    }

    /// Removes a run, unless it has received a signal, which is returned.
    fn stop(&mut self, id: u64) -> Option<i32> {
        let run = self.runs.iter().find(|run| run.id == id)?;
        let signal = run.number.get().copied();
        if signal.is_none() {
            self.remove(id);
        }
        signal
    }

    /// Passes a signal on to every run. False when there is none.
    fn deliver(&self, signal: i32) -> bool {
        for run in &self.runs {
            // Only the first one is kept.
            let _ = run.number.set(signal);
            // Cannot fail: the task of the run holds the receiver until the run is removed.
            let _ = run.signals.send(signal);
        }
        !self.runs.is_empty()
    }
}

/// Starts the thread that receives signals, and returns its runtime. It has a runtime of its own, so that signals are received even
/// while a body blocks the only thread of its runtime.
///
/// The thread never ends: tokio's handlers of the signals stay installed, so that without it a signal would have no effect. At the
/// end of `main`, for example, the runtime's drop waits for its blocking tasks, such as a read of the standard input, without a
/// limit.
///
/// # Errors
///
/// There is no room for a thread or its runtime, or the signals cannot be received.
fn start_thread() -> io::Result<Handle> {
    let (sender, is_ready) = std::sync::mpsc::channel();
    let prepare = || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let incoming = runtime.block_on(async { Incoming::new() })?;
        Ok((runtime, incoming))
    };
    // The runtime is dropped in the thread, because its drop would panic inside of another runtime.
    let run = move || match prepare() {
        Ok((runtime, incoming)) => {
            let _ = sender.send(Ok(runtime.handle().clone()));
            runtime.block_on(receive(incoming));
        }
        Err(error) => {
            let _ = sender.send(Err(error));
        }
    };
    std::thread::Builder::new()
        .name("poolhouse-signals".to_owned())
        .spawn(run)?;
    let gone = "the thread that receives signals has no runtime";
    is_ready
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other(gone)))
}

/// Delivers each signal. One that comes while no run listens ends the process.
async fn receive(mut incoming: Incoming) {
    loop {
        let signal = incoming.next().await;
        let is_delivered = lock(&LISTENING).deliver(signal);
        if !is_delivered {
            std::process::exit(128 + signal);
        }
    }
}

/// Sets the tokens of a run at its signals.
struct Listener {
    received: CancellationToken,
    first: CancellationToken,
    second: CancellationToken,
    drain_delay: Duration,
    shutdown: Shutdown,
}

impl Listener {
    /// Adds the run to those that listen, and returns its id.
    ///
    /// # Errors
    ///
    /// As [`start_thread`].
    fn start(self, number: Arc<OnceLock<i32>>) -> io::Result<u64> {
        let mut listening = lock(&LISTENING);
        // The thread does not take the lock before it is ready.
        let thread = match &listening.thread {
            Some(thread) => thread.clone(),
            None => listening.thread.insert(start_thread()?).clone(),
        };
        let (id, signals) = listening.add(number);
        drop(listening);
        thread.spawn(with_callers_subscriber(self.follow(signals)));
        Ok(id)
    }

    /// Follows the signals of the run; `None` when it is over.
    async fn follow(self, mut signals: UnboundedReceiver<i32>) -> Option<()> {
        let signal = signals.recv().await?;
        crate::logging::info!(signal, "a signal asks the program to end");
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
                signal = signals.recv() => second = Some(signal?),
            }
        }
        self.shutdown.begin();
        self.first.cancel();
        let signal = match second {
            Some(signal) => signal,
            None => signals.recv().await?,
        };
        crate::logging::warn!(signal, "second signal: the remaining work is ended now");
        self.second.cancel();
        let signal = signals.recv().await?;
        // After the third signal, a pool that cannot close must not keep the process alive.
        std::process::exit(128 + signal)
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use super::ListeningRuns;

    #[test]
    fn a_signal_reaches_every_run_that_listens_or_nobody() {
        let mut listening = ListeningRuns::new();
        assert!(!listening.deliver(15));
        let numbers = [(); 2].map(|()| Arc::new(OnceLock::new()));
        let runs = numbers
            .each_ref()
            .map(|number| listening.add(Arc::clone(number)));
        let [(one, mut of_one), (other, mut of_other)] = runs;
        assert_eq!(listening.stop(one), None);
        assert!(listening.deliver(15));
        assert!(listening.deliver(2));
        // One that has received a signal goes on to listen, for the second one.
        assert_eq!(listening.stop(other), Some(15));
        assert!(listening.deliver(15));
        listening.remove(other);
        assert!(!listening.deliver(15));
        assert_eq!(
            numbers.map(|number| number.get().copied()),
            [None, Some(15)]
        );
        let mut received = vec![];
        while let Some(signal) = of_other.blocking_recv() {
            received.push(signal);
        }
        assert_eq!(received, [15, 2, 15]);
        assert_eq!(of_one.blocking_recv(), None);
    }
}
