//! A small file system of its own, for a disk that is really full.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::client::skip;

/// A mounted tmpfs; it goes when it is dropped. Declare it before the node that lives on it.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many bytes at a folder, which is made. Skips where that is not allowed.
    pub(crate) fn at(path: &Path, bytes: u64) -> Option<Self> {
        fs_err::create_dir_all(path).expect("a folder can be made in the test's folder");
        let size = format!("size={bytes}");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { path: path.to_path_buf() });
        }
        skip("needs the right to mount a small file system");
        None
    }

    /// Takes all room but so many bytes.
    pub(crate) fn fill(&self, but: u64) {
        self.make_room();
        let free = rustix::fs::statvfs(&self.path).expect("a mounted disk says how full it is");
        let take = (free.f_bavail * free.f_frsize).saturating_sub(but);
        let take = usize::try_from(take).expect("the disk is small");
        fs_err::write(self.ballast(), vec![0x55; take]).expect("there is room for that");
    }

    /// Gives the room back.
    pub(crate) fn make_room(&self) {
        let _ = fs_err::remove_file(self.ballast());
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("somebody-elses-file")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}
