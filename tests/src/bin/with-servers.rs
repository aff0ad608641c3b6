//! Runs a command with private database servers: `with-servers cargo test --workspace`.
//!
//! The servers live in a temporary folder. They are stopped and the folder is removed when the
//! command ends, and after a signal. A server whose URL the environment names replaces the private
//! one.

use std::{
    env,
    ffi::OsString,
    fs::Permissions,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use poolhouse_tests::{Kind, PrivateServer, Server, servers};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

/// The time that the command has to end after a signal before it is killed.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let mut words = env::args_os().skip(1);
    let program = words
        .next()
        .context("usage: with-servers <command> [arguments]")?;
    let folder = tempfile::Builder::new()
        .prefix("poolhouse-tests-")
        // The servers' accounts must reach their own folders inside.
        .permissions(Permissions::from_mode(0o711))
        .tempdir()?;

    let mut stop = Signals::listen()?;
    let servers = tokio::select! {
        servers = start_all(folder.path()) => servers?,
        signal = stop.next() => return Ok(killed_by(signal)),
    };
    let mut command = Command::new(&program);
    command
        .args(words)
        .stdin(Stdio::null())
        .envs(variables(folder.path(), &servers));
    run_to_the_end(command, &mut stop)
        .await
        .with_context(|| format!("cannot run {}", program.display()))
}

/// A server to test on. Dropping the value ends a private one.
enum Target {
    Given(Server),
    Private(PrivateServer),
}

async fn start_all(folder: &Path) -> anyhow::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for kind in Kind::ALL {
        targets.push(start(kind, folder).await?);
    }
    Ok(targets)
}

async fn start(kind: Kind, folder: &Path) -> anyhow::Result<Target> {
    if let Some(server) = Server::from_environment(kind) {
        eprintln!("{kind}: the one that {} names", kind.url_variable());
        return Ok(Target::Given(server));
    }
    let server = PrivateServer::of(kind).below(folder).start().await?;
    eprintln!("{kind}: a private one on {}", server.address());
    Ok(Target::Private(server))
}

/// The variables that the tests read; see [`servers`].
fn variables(folder: &Path, targets: &[Target]) -> Vec<(&'static str, OsString)> {
    let mut variables = vec![
        (servers::REQUIRED, "1".into()),
        (servers::FOLDER, folder.into()),
    ];
    for target in targets {
        let server: &Server = match target {
            Target::Given(server) => server,
            Target::Private(server) => server,
        };
        variables.push((server.kind.url_variable(), server.url.clone().into()));
        if let Some(log) = &server.log {
            variables.push((server.kind.log_variable(), log.path().into()));
        }
    }
    variables
}

/// Runs the command in its own process group, so that a signal reaches the tests that it starts
/// too.
async fn run_to_the_end(mut command: Command, stop: &mut Signals) -> anyhow::Result<ExitCode> {
    let mut child = command.process_group(0).spawn()?;
    let group = Pid::from_raw(i32::try_from(
        child.id().context("it has just been started")?,
    )?);
    tokio::select! {
        status = child.wait() => Ok(code(status?)),
        signal = stop.next() => {
            // Each call fails only if the group has ended already.
            let _ = killpg(group, Signal::SIGTERM);
            let _ = timeout(GRACE, child.wait()).await;
            let _ = killpg(group, Signal::SIGKILL);
            Ok(killed_by(signal))
        }
    }
}

/// The exit code as a shell reports it: the program's own, or 128 plus the signal's number.
fn code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn killed_by(signal: Signal) -> ExitCode {
    u8::try_from(128 + signal as i32).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The signals that ask a program to end.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hangup.recv() => Signal::SIGHUP,
        }
    }
}
