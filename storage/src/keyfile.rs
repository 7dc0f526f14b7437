//! The file that holds the installation's sealing key. Called once at start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use posthorn_domain::sealing::{SealingError, SealingKey};

/// A key file that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file could not be read or made.
    #[error("the key file {path} could not be read or made")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The file holds no key.
    #[error("the key file {path} holds no key; restore it from a backup, for a new key cannot open what the old one sealed")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: SealingError,
    },
}

/// The key in `path`; made there with mode 0600 when there is no such file. Of two processes that make it at once, both get the same key.
pub fn load_or_create(path: &Path) -> Result<SealingKey, KeyFileError> {
    let io_error = |source| KeyFileError::Io { path: path.to_owned(), source };
    match load(path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    let key = SealingKey::generate().map_err(|source| KeyFileError::Content { path: path.to_owned(), source })?;
    match publish(path, key.to_text().as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load(path),
        done => done.map(|()| key).map_err(io_error),
    }
}

fn load(path: &Path) -> Result<SealingKey, KeyFileError> {
    let io_error = |source| KeyFileError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io_error)?;
    let mode = file.metadata().map_err(io_error)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others can read the key file; chmod 600 it");
    }
    let mut text = zeroize::Zeroizing::new(String::with_capacity(128));
    file.take(1024).read_to_string(&mut text).map_err(io_error)?;
    SealingKey::from_text(&text).map_err(|source| KeyFileError::Content { path: path.to_owned(), source })
}

/// Writes beside `path` and links into place, so that the file is whole or absent and never overwritten.
fn publish(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let linked = write_draft(&draft, text).and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    linked?;
    removed?;
    File::open(folder)?.sync_all()
}

fn write_draft(draft: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text)?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/sealing.key");
        let made = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap().id(), made.id());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_spoilt_file_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealing.key");
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(load_or_create(&path), Err(KeyFileError::Content { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "nonsense");
    }
}
