//! A small disk of its own for the process under test, which can be full for a while.
//!
//! It is a tmpfs, as in the fault suites. Full means that it is made as small as what is in it: no ballast takes memory, and room comes
//! back at once. It is mounted in a namespace of its own, so that nothing of it stays behind however the soak ends; and in a user namespace
//! by who is not root, where Linux lets everybody have one.

use std::ffi::CString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rustix::fs::statvfs;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// Set once it goes on in the namespace.
const UNSHARED: &str = "LOAD_UNSHARED";

/// Goes on in a namespace for mounts, where one can be had. Does not come back then.
///
/// # Errors
/// When this program cannot be started again.
pub fn in_own_namespace() -> Result<()> {
    let namespace: &[&str] = if rustix::process::geteuid().is_root() { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] };
    let is_possible = || Command::new("unshare").args(namespace).arg("true").output().is_ok_and(|output| output.status.success());
    if std::env::var_os(UNSHARED).is_some() || !is_possible() {
        return Ok(());
    }
    let mut again = Command::new("unshare");
    again.args(namespace).arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(UNSHARED, "1");
    Err(again.exec()).context("unshare")
}

/// It is unmounted when dropped.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    bytes: u64,
}

impl Disk {
    /// At this folder, with so much room. Of that only what is in use takes memory.
    pub(super) fn mount(folder: &Path, bytes: u64) -> Result<Self> {
        let disk = Self { folder: folder.to_owned(), bytes };
        let size = CString::new(format!("size={bytes}"))?;
        mount("posthorn-soak", folder, "tmpfs", MountFlags::empty(), size.as_c_str()).context("mounting a tmpfs")?;
        Ok(disk)
    }

    /// Takes all room that is left just now; what is deleted makes some again. Fails when something was written meanwhile.
    pub(super) fn fill(&self) -> Result<()> {
        let disk = statvfs(&self.folder)?;
        self.resize((disk.f_blocks - disk.f_bfree) * disk.f_frsize)
    }

    /// Gives all room back.
    pub(super) fn free(&self) -> Result<()> {
        self.resize(self.bytes)
    }

    fn resize(&self, bytes: u64) -> Result<()> {
        // A size of 0 is none. By the system call: mount(8) would repeat the owner, who has no name in a user namespace.
        Ok(mount_remount(&self.folder, MountFlags::empty(), format!("size={}", bytes.max(1)))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whoever still uses it is about to end.
        unmount(&self.folder, UnmountFlags::DETACH).ok();
    }
}
