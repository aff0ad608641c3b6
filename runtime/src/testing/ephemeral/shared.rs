//! The running server that all test processes of one user share.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::machine::{Account, running, unfinished};
use super::make::{Make, PASSWORD};
use super::no_server::{NoServer, ServerUrl, in_folder};
use super::template_files;

/// The script of the process that runs the server.
const SUPERVISOR: &str = include_str!("supervisor.sh");

/// How many seconds a server waits for its next user, because `cargo test` is often run again.
const IDLE_SECONDS: u32 = 60;

/// The variable that sets another number of seconds.
const IDLE_VARIABLE: &str = "POOLHOUSE_EPHEMERAL_IDLE";

/// How long a server may take to start, or to stop after its last user.
const LIMIT: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(10);

/// The URL of the running server, which is started if needed. The server runs at least as long as this process.
pub(super) fn url(make: &'static Make) -> ServerUrl {
    let idle_seconds = idle_seconds()?;
    let key = template_files::key(make)?;
    let account = Account::unprivileged(make.account)?;
    // The account owns the folder, so that the supervisor can remove its entries.
    let all = running()?.join(make.name);
    if !all.is_dir() {
        let own = account.folder(&all).or_else(if_there);
        own.map_err(in_folder(&all))?;
    }
    let folder = all.join(&key);
    // Held while a server starts, so that other processes wait. The lock ends with the process.
    let lock = File::create(folder.with_extension("lock")).map_err(in_folder(&all))?;
    lock.lock().map_err(in_folder(&all))?;
    let begun = Instant::now();
    loop {
        if let Some(url) = join(make, &folder)? {
            return Ok(url);
        }
        // The supervisor of a stopping server removes the folder; a killed supervisor cannot.
        if !folder.join("closing").exists() || begun.elapsed() > LIMIT {
            break;
        }
        sleep(PAUSE);
    }
    // The supervisor may have found a user meanwhile, and not stopped the server.
    if let Some(url) = join(make, &folder)? {
        return Ok(url);
    }
    remove(&folder);
    // A failed start leaves nothing.
    let start =
        || start(make, account, &key, &folder, idle_seconds).inspect_err(|_| remove(&folder));
    match start() {
        // Another program has taken the free port before the server.
        Err(failure) if failure.what.contains("Address already in use") => start(),
        started => started,
    }
}

/// Removes the remains of a server. The folder is renamed first, because a crashed server may still write for a moment; its
/// supervisor then removes the rest.
fn remove(folder: &Path) {
    let aside = unfinished(folder);
    if fs::rename(folder, &aside).is_ok() {
        let _ = fs::remove_dir_all(&aside);
    }
}

/// Ignores that another process has made the same folder meanwhile.
fn if_there(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Ok(());
    }
    Err(error)
}

/// How many seconds a server waits. The supervisor would wait for ever on a value that is no number, or too large for it.
fn idle_seconds() -> Result<u32, NoServer> {
    let Some(value) = std::env::var_os(IDLE_VARIABLE) else {
        return Ok(IDLE_SECONDS);
    };
    let seconds = value.to_str().and_then(|value| value.parse().ok());
    seconds.ok_or_else(|| {
        NoServer::new(
            format!(
                "{IDLE_VARIABLE} = {:?} is not valid; expected a whole number of seconds from 0 to {}",
                value.to_string_lossy(),
                u32::MAX
            ),
            "Correct the variable",
        )
    })
}

/// Registers this process as a user of the running server; `None` when none runs.
fn join(make: &Make, folder: &Path) -> Result<Option<String>, NoServer> {
    let name = folder.join("users").join(process::id().to_string());
    match File::create(&name) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(in_folder(folder)(error)),
    }
    let port = fs::read_to_string(folder.join("port"));
    let Some(port) = port.ok().and_then(|port| port.parse().ok()) else {
        return Ok(None);
    };
    if !answers(port) {
        return Ok(None);
    }
    let password = fs::read_to_string(folder.join(PASSWORD)).map_err(in_folder(folder))?;
    Ok(Some((make.url)(&password, port)))
}

/// Starts a server, with this process as its first user.
fn start(make: &Make, account: Account, key: &str, folder: &Path, idle_seconds: u32) -> ServerUrl {
    account.folder(folder).map_err(in_folder(folder))?;
    let password = template_files::put(make, key, account, folder)?;
    let port = free_port()?;
    let users = folder.join("users");
    account
        .folder(&users)
        .and_then(|()| File::create(users.join(process::id().to_string())))
        .map_err(in_folder(&users))?;

    let server = (make.serve)(folder, port)?;
    let mut supervisor = Command::new("sh");
    supervisor
        .args(["-c", SUPERVISOR, "poolhouse"])
        .arg(folder)
        .args([make.stop, &idle_seconds.to_string()])
        .arg(server.get_program())
        .args(server.get_args())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    account.run(&mut supervisor);
    let supervisor = supervisor.spawn().map_err(|error| {
        NoServer::new(format!("`sh` cannot be run: {error}"), "Correct the PATH")
    })?;
    until_it_answers(make, supervisor, folder, port)?;
    // The port is written last and atomically, so that a port file means a running server.
    let unfinished = unfinished(&folder.join("port"));
    fs::write(&unfinished, port.to_string())
        .and_then(|()| fs::rename(&unfinished, folder.join("port")))
        .map_err(in_folder(folder))?;
    Ok((make.url)(&password, port))
}

fn until_it_answers(
    make: &Make,
    mut supervisor: Child,
    folder: &Path,
    port: u16,
) -> Result<(), NoServer> {
    let begun = Instant::now();
    let mut said = String::new();
    while !(make.has_port)(folder) || !answers(port) {
        // The supervisor removes the log with the folder.
        said = fs::read_to_string(folder.join("log")).unwrap_or(said);
        let ended = supervisor.try_wait().is_ok_and(|status| status.is_some());
        if ended || begun.elapsed() > LIMIT {
            // The server is in the process group of its supervisor.
            if let Ok(group) = i32::try_from(supervisor.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            let what = format!("a private {} does not start: {}", make.name, said.trim());
            return Err(NoServer::new(what, "See what it says"));
        }
        sleep(PAUSE);
    }
    Ok(())
}

fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

fn free_port() -> Result<u16, NoServer> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    let address = address.map_err(|error| {
        NoServer::new(
            format!("there is no free port on 127.0.0.1 for a private server: {error}"),
            "Allow this user to listen there",
        )
        .for_now()
    })?;
    Ok(address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that the supervisor can neither see nor send a signal to.
    #[test]
    fn a_hidden_process_of_another_user_is_alive() {
        let begin = SUPERVISOR.find("alive() {").unwrap();
        let end = SUPERVISOR[begin..].find("\n}\n").unwrap() + 3;
        let alive = &SUPERVISOR[begin..begin + end];
        for (answer, is_alive) in [
            ("kill: Operation not permitted", true),
            ("kill: (999999999) - Operation not permitted", true),
            ("kill: No such process", false),
        ] {
            // No process has this number.
            let script = format!(
                "kill() {{ echo '{answer}' >&2; return 1; }}; ps() {{ return 1; }}; {alive} alive 999999999"
            );
            let status = Command::new("sh").args(["-c", &script]).status().unwrap();
            assert_eq!(status.success(), is_alive, "{answer}");
        }
    }
}
