//! A small disk of its own for the process under test, which can be full for a while.
//!
//! It is a tmpfs, as in the fault suites. Full means that it is made as small as what is in it: no ballast takes memory, and room comes
//! back at once. It is mounted in a namespace of its own, so that nothing of it stays behind however the soak ends; and in a user namespace
//! by who is not root, where Linux lets everybody have one.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::statvfs;

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
        let size = format!("size={bytes}");
        done(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "posthorn-soak"]).arg(folder))?;
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
        // A size of 0 is none.
        let size = format!("remount,size={}", bytes.max(1));
        done(Command::new("mount").args(["-o", &size]).arg(&self.folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whoever still uses it is about to end.
        drop(Command::new("umount").arg("-l").arg(&self.folder).output());
    }
}

fn done(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
