//! Folders for files that nobody needs after the tests: in memory, when there is room.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::Uid;

/// Memory that behaves like a disk, on Linux.
const MEMORY: &str = "/dev/shm";

/// So much must be free there: an empty server takes 40 MB, a template and its copies 10 MB each.
const ROOM: u64 = 1 << 30;

/// This user's folder in memory; `None` when there is no room.
pub(super) fn in_memory() -> Option<io::Result<PathBuf>> {
    let memory = Path::new(MEMORY);
    let room = statvfs(memory).map_or(0, |of| of.fragment_size() * of.blocks_available());
    (room >= ROOM).then(|| own_folder(memory))
}

/// A folder `poolhouse-<user>` that nobody else can have put there.
pub(super) fn own_folder(parent: &Path) -> io::Result<PathBuf> {
    let user = Uid::effective().as_raw();
    let folder = parent.join(format!("poolhouse-{user}"));
    match DirBuilder::new().mode(0o711).create(&folder) {
        // What the process's mask has taken away, the server's account needs, to pass through.
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
