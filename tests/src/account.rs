//! The account that a server runs as. Postgres and MariaDB refuse to run as root, and tests in a
//! container run as root.

use std::{
    fs::Permissions,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use anyhow::Context;
use nix::unistd::{Uid, User};
use tempfile::TempDir;

/// An unprivileged account, or the caller's own if it is unprivileged already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    switch_to: Option<(u32, u32)>,
}

impl Account {
    /// Finds the account. For root: `preferred`, which the server's package created, or `nobody`.
    pub(crate) fn unprivileged(preferred: &str) -> anyhow::Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self { switch_to: None });
        }
        for name in [preferred, "nobody"] {
            if let Some(user) = User::from_name(name)? {
                return Ok(Self {
                    switch_to: Some((user.uid.as_raw(), user.gid.as_raw())),
                });
            }
        }
        anyhow::bail!(
            "neither the account `{preferred}` nor `nobody` exists, and a server must not run as root"
        )
    }

    /// Gives a file or folder to the account.
    pub(crate) fn own(self, path: &Path) -> anyhow::Result<()> {
        match self.switch_to {
            Some((user, group)) => chown(path, Some(user), Some(group))
                .with_context(|| format!("cannot give away {}", path.display())),
            None => Ok(()),
        }
    }

    /// Creates a folder in `parent` that only the account can read. Dropping the value removes the
    /// folder.
    pub(crate) fn folder(self, prefix: &str, parent: &Path) -> anyhow::Result<TempDir> {
        let folder = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        self.own(folder.path())?;
        Ok(folder)
    }

    /// Makes a command run as the account.
    pub(crate) fn run(self, command: &mut Command) {
        if let Some((user, group)) = self.switch_to {
            command.uid(user).gid(group);
        }
    }
}
