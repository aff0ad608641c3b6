//! Folders for temporary files of tests, in memory when there is room.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::Uid;

/// The in-memory file system of Linux.
const MEMORY: &str = "/dev/shm";

/// The free bytes needed there: an empty server takes 40 MB, a template and its copies 10 MB each.
const ROOM: u64 = 1 << 30;

/// This user's folder in memory; `None` when there is no room.
pub(super) fn in_memory() -> Option<io::Result<PathBuf>> {
    let memory = Path::new(MEMORY);
    let room = statvfs(memory).map_or(0, |of| of.fragment_size() * of.blocks_available());
    (room >= ROOM).then(|| own_folder(memory))
}

/// Makes the folder `poolhouse-<user>`; fails when another user owns it.
pub(super) fn own_folder(parent: &Path) -> io::Result<PathBuf> {
    let user = Uid::effective().as_raw();
    let folder = parent.join(format!("poolhouse-{user}"));
    match DirBuilder::new().mode(0o711).create(&folder) {
        // The server's account needs the right to pass through, which the process's umask may have removed.
        Ok(()) => fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(&folder)?;
            if !found.is_dir() || found.uid() != user {
                return Err(io::Error::other(format!(
                    "{} is not ours",
                    folder.display()
                )));
            }
        }
        Err(error) => return Err(error),
    }
    Ok(folder)
}
