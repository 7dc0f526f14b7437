//! The last good snapshot as one file, so that a node starts with the control plane gone (I7). Blocking.
//!
//! ```text
//! file = "PHSNAP" · format u16 LE (1) · sealed JSON of `Held` (I11; the header is authenticated with it)
//! ```
//! A file that cannot be used is reported and passed over: a full snapshot takes its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use posthorn_domain::sealing::{SealingError, SealingKey};

use super::Held;

const HEADER: &[u8] = b"PHSNAP\x01\x00";
const MAGIC: usize = 6;
/// A larger file is none of ours.
const MAX_BYTES: u64 = 1 << 30;

/// Where the snapshot is kept, and the key that seals it.
#[derive(Clone, Debug)]
pub struct Cache {
    path: PathBuf,
    key: Arc<SealingKey>,
}

/// Why the file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The operating system says no.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// Not a snapshot, or cut short.
    #[error("the file is not a snapshot, or is cut short")]
    Format,
    /// Of another version.
    #[error("the file has format {0}, which this version does not read")]
    Version(u16),
    /// Damaged, or sealed with another key.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The content is not what this version writes.
    #[error("the content cannot be read")]
    Content,
}

impl Cache {
    /// The file `snapshot` in `data_dir`.
    pub fn new(data_dir: &Path, key: Arc<SealingKey>) -> Self {
        Self { path: data_dir.join("snapshot"), key }
    }

    /// The snapshot, if there is one.
    pub fn load(&self) -> Result<Option<Held>, CacheError> {
        let file = match self.read() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io(source)),
        };
        let (header, sealed) = file.split_at_checked(HEADER.len()).ok_or(CacheError::Format)?;
        if header[..MAGIC] != HEADER[..MAGIC] {
            return Err(CacheError::Format);
        }
        if header != HEADER {
            return Err(CacheError::Version(u16::from_le_bytes([header[MAGIC], header[MAGIC + 1]])));
        }
        let plain = self.key.open(sealed, HEADER)?;
        serde_json::from_slice(&plain).map(Some).map_err(|_| CacheError::Content)
    }

    /// Puts `held` in the file's place; a crash leaves either the old or the new one.
    pub fn store(&self, held: &Held) -> Result<(), CacheError> {
        let plain = serde_json::to_vec(held).map_err(|_| CacheError::Content)?;
        let sealed = self.key.seal(&plain, HEADER)?;
        self.write(&sealed).map_err(|source| self.io(source))
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        if fs::metadata(&self.path)?.len() > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        fs::read(&self.path)
    }

    fn write(&self, sealed: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(HEADER)?;
        file.write_all(sealed)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }

    fn io(&self, source: io::Error) -> CacheError {
        CacheError::Io { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use posthorn_domain::snapshot::{Document, Resource, ResourceKey};
    use serde_json::json;

    use super::*;

    fn held() -> Held {
        let secrets = [("/secret", "whsec_plain")].into_iter().collect();
        let resource = Resource { revision: 3, incarnation: 3, document: Document::of(&json!({"id": "visible", "secret": null})), secrets };
        let resources = [(ResourceKey::from_text("subscriptions/sub_1"), Arc::new(resource))].into();
        Held { revision: 3, control_plane_id: "cp".into(), resources, ..Held::default() }
    }

    #[test]
    fn a_snapshot_comes_back_and_shows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let key = Arc::new(SealingKey::generate().unwrap());
        let cache = Cache::new(dir.path(), key);
        assert!(cache.load().unwrap().is_none());
        cache.store(&held()).unwrap();
        assert_eq!(cache.load().unwrap(), Some(held()));
        let file = fs::read(dir.path().join("snapshot")).unwrap();
        for word in [&b"whsec_plain"[..], b"visible"] {
            assert!(!file.windows(word.len()).any(|window| window == word));
        }
        let other = Cache::new(dir.path(), Arc::new(SealingKey::generate().unwrap()));
        assert!(matches!(other.load(), Err(CacheError::Sealing(SealingError::OtherKey { .. }))));
    }

    #[test]
    fn damaged_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path(), Arc::new(SealingKey::generate().unwrap()));
        cache.store(&held()).unwrap();
        let path = dir.path().join("snapshot");
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(10) {
            fs::write(&path, &whole[..at]).unwrap();
            assert!(cache.load().is_err(), "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(cache.load().is_err(), "changed at {at}");
        }
        let mut newer = whole;
        newer[MAGIC] = 2;
        fs::write(&path, newer).unwrap();
        assert!(matches!(cache.load(), Err(CacheError::Version(2))));
    }
}
