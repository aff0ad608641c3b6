//! Child processes that end with this one.
//!
//! A test process can be killed before it cleans up. Linux then ends the children that asked for it (`PR_SET_PDEATHSIG`, through
//! `setpriv`, since this crate has no `unsafe`). The kernel takes the *thread* that started a child as its parent, and threads of
//! tests end early. So one thread, which lives as long as the process, starts all children.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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

static STARTER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, answer) in inbox {
            // The sender waits for this answer, so it cannot be lost.
            let _ = answer.send(command.spawn());
        }
    });
    orders
});

/// A command that runs `program`. The kernel ends it with this process where `setpriv` exists (Linux).
pub(crate) fn ending_with_this_process(program: &Path) -> Command {
    match binaries::find("setpriv", "util-linux") {
        Ok(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        Err(_) => Command::new(program),
    }
}

/// A server process. Dropping the value ends it by its process id.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// The signal that ends the process at once.
    end_signal: Signal,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in `folder`, with its output in `log`.
    pub(crate) fn start(
        mut command: Command,
        account: Account,
        folder: &Path,
        log: &Path,
        end_signal: Signal,
    ) -> anyhow::Result<Self> {
        let what = format!("{command:?}");
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        account.run(&mut command);
        let (answer, outcome) = mpsc::channel();
        STARTER
            .send((command, answer))
            .context("the thread that starts processes is gone")?;
        let child = outcome
            .recv()?
            .with_context(|| format!("cannot start {what}"))?;
        Ok(Self {
            child,
            end_signal,
            log: log.to_owned(),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `probe` succeeds.
    ///
    /// # Errors
    /// At once when the process ends, or at the limit of [`eventually()`]; the error has the end of the log.
    pub(crate) async fn ready(
        &mut self,
        mut probe: impl AsyncFnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let outcome = eventually("the server answers", async || {
            match self.child.try_wait()? {
                Some(status) => Ok(Err(anyhow::anyhow!("it ended at once with {status}"))),
                None => probe().await.map(Ok),
            }
        })
        .await
        .flatten();
        outcome.with_context(|| self.last_words())
    }

    /// Sends a signal and waits for the process's end.
    pub(crate) async fn end(&mut self, signal: Signal) -> anyhow::Result<()> {
        kill(self.pid()?, signal)?;
        eventually("the process ends", async || {
            self.child.try_wait()?.context("it runs")
        })
        .await?;
        Ok(())
    }

    fn last_words(&self) -> String {
        const LINES: usize = 20;
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        format!(
            "the server did not start; the end of its log:\n{}",
            last.join("\n")
        )
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only a child that has not been waited for still owns its process id.
        if let (Ok(None), Ok(pid)) = (self.child.try_wait(), self.pid()) {
            let _ = kill(pid, self.end_signal);
            let _ = self.child.wait();
        }
    }
}
