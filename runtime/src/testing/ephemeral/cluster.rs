//! The files of an empty server: made once, kept, and copied for each start, which takes a tenth of the time.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::Failure;
use super::machine::{Account, cache, unfinished};
use super::make::{INIT_FILE, Make, PASSWORD, init_file};

/// Changed when files made by an older version of this crate must not be used by this one.
const VERSION: &str = "1";

/// What tells the files of one server program from those of another.
pub(super) fn key(make: &Make) -> Result<String, Failure> {
    let program = (make.server)()?;
    let version = output(Command::new(&program).arg("--version"))?;
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
) -> Result<String, Failure> {
    let cached = cache().map_err(no_folder)?.join(key);
    // Another user's mask, a full disk: without a cache it only takes longer.
    let password = match fs::read_to_string(cached.join(PASSWORD)) {
        Ok(password) => {
            copy(&cached, folder)?;
            password
        }
        Err(_) => {
            let password = create(make, account, folder)?;
            let unfinished = unfinished(&cached);
            let kept = fs::create_dir(&unfinished)
                .map_err(no_folder)
                .and_then(|()| copy(folder, &unfinished))
                .and_then(|()| fs::rename(&unfinished, &cached).map_err(no_folder));
            if let Err(failure) = kept {
                let _ = fs::remove_dir_all(&unfinished);
                tracing::debug!(
                    "the files of an empty server are not kept: {}",
                    failure.what
                );
            }
            password
        }
    };
    let init = folder.join(INIT_FILE);
    fs::write(&init, init_file(&password)).map_err(no_folder)?;
    account.own(&init).map_err(no_folder)?;
    Ok(password)
}

fn create(make: &Make, account: Account, folder: &Path) -> Result<String, Failure> {
    let password: String = (0..4)
        .map(|_| format!("{:08x}", fastrand::u32(..)))
        .collect();
    let secret = folder.join(PASSWORD);
    File::create(&secret).map_err(no_folder)?;
    account.own(&secret).map_err(no_folder)?;
    fs::write(&secret, &password).map_err(no_folder)?;
    let mut command = (make.create)(folder)?;
    account.run(&mut command);
    output(&mut command)?;
    Ok(password)
}

/// Copies `data` and `password`, with their owners and rights.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    output(
        Command::new("cp")
            .arg("-pR")
            .arg(from.join("data"))
            .arg(from.join(PASSWORD))
            .arg(to),
    )?;
    Ok(())
}

/// Runs a short command to its end.
fn output(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let run = command.stdin(Stdio::null()).output();
    let name = command.get_program().to_string_lossy().into_owned();
    let cure = "See what it says";
    let output =
        run.map_err(|error| Failure::new(format!("{name} cannot be run: {error}"), cure))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let what = format!("{name} ended with {}: {}", output.status, said.trim());
    Err(Failure::new(what, cure))
}

/// A folder that cannot be made or written.
pub(super) fn no_folder(error: std::io::Error) -> Failure {
    Failure::new(
        format!("the folder of a private server cannot be written: {error}"),
        "Make room in the folder for temporary files",
    )
}
