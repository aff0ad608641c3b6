//! Processes that do not outlive this one.
//!
//! A test process can be killed without a chance to clean up. Linux then ends the children that
//! asked for it (`PR_SET_PDEATHSIG`, through `setpriv`, since this crate has no `unsafe`). The
//! kernel counts the *thread* that started a child as its parent, and a test's threads come and go;
//! so one thread, which lives as long as the process, starts all.

use std::{
    fs::OpenOptions,
    io,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, mpsc},
    thread,
};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{account::Account, binaries, eventually};

type Order = (Command, mpsc::Sender<io::Result<Child>>);

static KEEPER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, answer) in inbox {
            // Whoever ordered the child waits for this answer, so it cannot be lost.
            let _ = answer.send(command.spawn());
        }
    });
    orders
});

/// A command that runs `program`, which the kernel ends with this process where `setpriv` exists
/// (Linux).
pub(crate) fn mortal(program: &Path) -> Command {
    match binaries::find("setpriv", "util-linux") {
        Ok(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        Err(_) => Command::new(program),
    }
}

/// A server process. It is ended with this value, by its process id.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// The signal that ends it at once.
    farewell: Signal,
}

impl Process {
    /// Starts `command` in `folder`, with all it says going to `log`.
    pub(crate) fn start(
        mut command: Command,
        account: Account,
        folder: &Path,
        log: &Path,
        farewell: Signal,
    ) -> anyhow::Result<Self> {
        let what = format!("{command:?}");
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        account.run(&mut command);
        let (answer, outcome) = mpsc::channel();
        KEEPER
            .send((command, answer))
            .context("the thread that starts processes is gone")?;
        let child = outcome
            .recv()?
            .with_context(|| format!("cannot start {what}"))?;
        Ok(Self { child, farewell })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status once it has ended.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends a signal and waits for the end.
    pub(crate) async fn end(&mut self, signal: Signal) -> anyhow::Result<()> {
        kill(self.pid()?, signal)?;
        eventually("the process ends", async || {
            self.ended()?.context("it runs")
        })
        .await?;
        Ok(())
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only a child that has not been waited for keeps its process id to itself.
        if let (Ok(None), Ok(pid)) = (self.ended(), self.pid()) {
            let _ = kill(pid, self.farewell);
            let _ = self.child.wait();
        }
    }
}
