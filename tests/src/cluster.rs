//! The files of an empty server: created once per run, then copied, which takes a tenth of the
//! time.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context;

use crate::{Kind, account::Account, database::random, servers};

/// Creates an empty cluster in `folder/data` and returns its superuser's password.
pub(crate) async fn create(kind: Kind, account: Account, folder: &Path) -> anyhow::Result<String> {
    let data = folder.join("data");
    let Some(shared) = std::env::var_os(servers::FOLDER) else {
        return make(kind, account, &data).await;
    };
    let template = Path::new(&shared).join(format!("template-{kind}"));
    let password = make_once(kind, account, &template).await?;
    run(Command::new("cp")
        .arg("-a")
        .arg(template.join("data"))
        .arg(&data))
    .await?;
    Ok(password)
}

/// Creates the template of this run, once for all processes, under a lock that ends with the
/// process.
async fn make_once(kind: Kind, account: Account, template: &Path) -> anyhow::Result<String> {
    let lock = File::create(template.with_extension("lock"))?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
    // The password is written last: if its file exists, the data is complete.
    let secret = template.join("password");
    if let Ok(password) = fs::read_to_string(&secret) {
        return Ok(password);
    }
    if template.exists() {
        fs::remove_dir_all(template)?;
    }
    fs::create_dir(template)?;
    account.own(template)?;
    let password = make(kind, account, &template.join("data")).await?;
    fs::write(&secret, &password)?;
    drop(lock);
    Ok(password)
}

async fn make(kind: Kind, account: Account, data: &Path) -> anyhow::Result<String> {
    let password = random();
    let mut command = kind.facts().create(data, &password)?;
    account.run(&mut command);
    run(&mut command).await?;
    Ok(password)
}

/// Runs a short command to its end.
pub(crate) async fn run(command: &mut Command) -> anyhow::Result<()> {
    let command = std::mem::replace(command, Command::new(""));
    let what = format!("{command:?}");
    let output = tokio::process::Command::from(command)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {what}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{what} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
