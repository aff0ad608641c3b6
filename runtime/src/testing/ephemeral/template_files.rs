//! The files of an empty server: made once, kept, and copied for each start. A copy takes a tenth of the time.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::machine::{Account, cache, private_folder, unfinished};
use super::make::{INIT_FILE, Make, PASSWORD};
use super::no_server::{NoServer, in_folder};

/// The version of the files, changed when this crate must not use files made by an older version of it.
const VERSION: &str = "3";

/// The name of the files of one server program and version.
pub(super) fn key(make: &Make) -> Result<String, NoServer> {
    let program = (make.server)()?;
    let version = output(Command::new(&program).arg("--version").stdin(Stdio::null()))?;
    let mut hash = Sha256::new();
    hash.update(VERSION);
    hash.update(program.as_os_str().as_encoded_bytes());
    hash.update(version);
    let digits: Vec<String> = hash.finalize()[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(format!("{}-{}", make.name, digits.concat()))
}

/// Puts the files of an empty server into the folder, as `data` and `password`, and returns the password.
pub(super) fn put(
    make: &Make,
    key: &str,
    account: Account,
    folder: &Path,
) -> Result<String, NoServer> {
    let cached = cache().map(|cache| cache.join(key));
    let known = cached
        .as_ref()
        .and_then(|cached| fs::read_to_string(cached.join(PASSWORD)).ok());
    let password = if let (Some(password), Some(cached)) = (known, &cached) {
        copy(cached, folder)?;
        password
    } else {
        let password = create(make, account, folder)?;
        if let Some(cached) = &cached
            && let Err(failure) = keep(folder, cached)
        {
            tracing::debug!(
                "the files of an empty server are not kept: {}",
                failure.what
            );
        }
        password
    };
    let init = folder.join(INIT_FILE);
    fs::write(&init, (make.init)(&password))
        .and_then(|()| account.own(&init))
        .map_err(in_folder(folder))?;
    Ok(password)
}

/// Keeps the files for the next start. The folder gets its name when it is complete.
fn keep(folder: &Path, cached: &Path) -> Result<(), NoServer> {
    let unfinished = unfinished(cached);
    // Private, because the password is in the folder.
    let kept = private_folder(&unfinished)
        .map_err(in_folder(&unfinished))
        .and_then(|()| copy(folder, &unfinished))
        .and_then(|()| fs::rename(&unfinished, cached).map_err(in_folder(cached)));
    kept.inspect_err(|_| {
        let _ = fs::remove_dir_all(&unfinished);
    })
}

fn create(make: &Make, account: Account, folder: &Path) -> Result<String, NoServer> {
    let password = format!("{:032x}", fastrand::u128(..));
    let secret = folder.join(PASSWORD);
    File::create(&secret)
        .and_then(|_| account.own(&secret))
        .and_then(|()| fs::write(&secret, &password))
        .map_err(in_folder(folder))?;
    let mut command = (make.create)(folder)?;
    account.run(&mut command);
    output(command.stdin(Stdio::null()))?;
    if let Some(users) = make.users {
        let script = folder.join(INIT_FILE);
        let script = fs::write(&script, (make.init)(&password)).and_then(|()| File::open(&script));
        let script = script.map_err(in_folder(folder))?;
        let mut command = users(folder)?;
        account.run(&mut command);
        output(command.stdin(script))?;
    }
    Ok(password)
}

/// Copies `data` and `password`, with their owners and rights.
fn copy(from: &Path, to: &Path) -> Result<(), NoServer> {
    output(
        Command::new("cp")
            .arg("-pR")
            .arg(from.join("data"))
            .arg(from.join(PASSWORD))
            .arg(to)
            .stdin(Stdio::null()),
    )
    .map_err(NoServer::for_now)?;
    Ok(())
}

/// Runs a short command to its end.
fn output(command: &mut Command) -> Result<Vec<u8>, NoServer> {
    let run = command.output();
    let name = command.get_program().to_string_lossy().into_owned();
    let cure = "See what it says";
    let output =
        run.map_err(|error| NoServer::new(format!("{name} cannot be run: {error}"), cure))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let what = format!("{name} ended with {}: {}", output.status, said.trim());
    Err(NoServer::new(what, cure))
}
