//! The last good snapshot as one file, so that a node starts with the control plane gone (I7). Blocking.
//!
//! ```text
//! file  = "PHSNAP" · format u16 LE (2) · frame of `Held` · frames of `Step`
//! frame = length u32 LE · sealed JSON (I11; the header and the frame's number are authenticated with it)
//! ```
//! A change adds a frame; when the steps have grown longer than the whole, the file is written anew. A last step that a crash cut
//! off was never acknowledged and is left out. Format 1 had, after the header, the sealed JSON of `Held` alone; it is still read.
//! A file that cannot be used is reported and passed over: a full snapshot takes its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use posthorn_domain::sealing::{SealingError, SealingKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Held;
use super::held::Step;

const HEADER: &[u8] = b"PHSNAP\x02\x00";
const HEADER_1: &[u8] = b"PHSNAP\x01\x00";
/// Bytes of steps that are never too many.
const STEPS_BYTES: u64 = 1 << 20;
const MAGIC: usize = 6;
/// A larger file is none of ours.
const MAX_BYTES: u64 = 1 << 30;

/// Where the snapshot is kept, and the key that seals it.
#[derive(Clone, Debug)]
pub struct Cache {
    path: PathBuf,
    key: Arc<SealingKey>,
}

/// How long the file is that this process wrote.
#[derive(Debug)]
pub struct Kept {
    whole: u64,
    steps: u64,
    frames: u32,
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
        if header == HEADER_1 {
            return self.read_sealed(sealed, HEADER_1).map(Some);
        }
        if header != HEADER {
            return Err(CacheError::Version(u16::from_le_bytes([header[MAGIC], header[MAGIC + 1]])));
        }
        self.fold(sealed).map(Some)
    }

    fn fold(&self, frames: &[u8]) -> Result<Held, CacheError> {
        let (whole, mut rest) = first_frame(frames).ok_or(CacheError::Format)?;
        let mut held: Held = self.read_sealed(whole, &place(0))?;
        for number in 1.. {
            if rest.is_empty() {
                break;
            }
            let step = first_frame(rest).and_then(|(sealed, after)| {
                rest = after;
                self.read_sealed(sealed, &place(number)).ok()
            });
            let Some(step) = step else {
                tracing::warn!(revision = held.revision, "the snapshot's file ends in a step that is not whole; it is left out");
                break;
            };
            held.follow(step);
        }
        Ok(held)
    }

    fn read_sealed<T: DeserializeOwned>(&self, sealed: &[u8], place: &[u8]) -> Result<T, CacheError> {
        serde_json::from_slice(&self.key.open(sealed, place)?).map_err(|_| CacheError::Content)
    }

    fn frame(&self, content: &impl Serialize, number: u32) -> Result<Vec<u8>, CacheError> {
        let plain = serde_json::to_vec(content).map_err(|_| CacheError::Content)?;
        let sealed = self.key.seal(&plain, &place(number))?;
        let length = u32::try_from(sealed.len()).map_err(|_| CacheError::Content)?;
        Ok([&length.to_le_bytes()[..], &sealed].concat())
    }

    /// Puts `held` in the file's place; a crash leaves either the old or the new one.
    pub fn store(&self, held: &Held) -> Result<Kept, CacheError> {
        let frame = self.frame(held, 0)?;
        self.write(&frame).map_err(|source| self.io(source))?;
        Ok(Kept { whole: frame.len() as u64, steps: 0, frames: 1 })
    }

    /// Adds a step to the file that this process wrote. After an error the file is to be [`Cache::store`]d anew.
    pub(super) fn append(&self, mut kept: Kept, step: &Step) -> Result<Kept, CacheError> {
        let frame = self.frame(step, kept.frames)?;
        let added = OpenOptions::new().append(true).open(&self.path).and_then(|mut file| {
            file.write_all(&frame)?;
            file.sync_data()
        });
        added.map_err(|source| self.io(source))?;
        kept.frames += 1;
        kept.steps += frame.len() as u64;
        Ok(kept)
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        if fs::metadata(&self.path)?.len() > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        fs::read(&self.path)
    }

    fn write(&self, frame: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(HEADER)?;
        file.write_all(frame)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }

    fn io(&self, source: io::Error) -> CacheError {
        CacheError::Io { path: self.path.clone(), source }
    }
}

impl Kept {
    /// Whether the file is better written anew than added to.
    pub(super) fn is_long(&self) -> bool {
        self.steps > self.whole.max(STEPS_BYTES)
    }
}

/// What a frame is sealed to, so that none can be moved.
fn place(number: u32) -> Vec<u8> {
    [HEADER, &number.to_le_bytes()].concat()
}

/// The sealed content of the first frame, and what follows.
fn first_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use posthorn_domain::snapshot::{Delta, Document, Resource, ResourceKey};
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

    fn change(held: &mut Held, revision: u64, changed: &[&str], removed: &[&str]) {
        let resource = Resource { revision, incarnation: 3, document: Document::of(&json!({"at": revision})), secrets: Default::default() };
        let changed = changed.iter().map(|key| (ResourceKey::from_text(*key), resource.clone())).collect();
        let removed = removed.iter().map(|key| ResourceKey::from_text(*key)).collect();
        held.commit(Delta { revision, changed, removed }, Vec::new());
    }

    #[test]
    fn steps_are_added_and_one_that_was_cut_off_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path(), Arc::new(SealingKey::generate().unwrap()));
        let mut now = held();
        let kept = cache.store(&now.whole()).unwrap();
        change(&mut now, 4, &["topics/a", "topics/b"], &["subscriptions/sub_1"]);
        let kept = cache.append(kept, &now.step()).unwrap();
        let path = dir.path().join("snapshot");
        let (before, length) = (now.clone(), fs::metadata(&path).unwrap().len());
        change(&mut now, 5, &["topics/a"], &["topics/b"]);
        let kept = cache.append(kept, &now.step()).unwrap();
        assert!(!kept.is_long());
        assert_eq!(cache.load().unwrap(), Some(now.whole()));

        let file = fs::read(&path).unwrap();
        for end in usize::try_from(length).unwrap()..file.len() {
            fs::write(&path, &file[..end]).unwrap();
            assert_eq!(cache.load().unwrap(), Some(before.clone()), "cut at {end}");
        }
    }

    #[test]
    fn the_first_format_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let key = Arc::new(SealingKey::generate().unwrap());
        let sealed = key.seal(&serde_json::to_vec(&held()).unwrap(), HEADER_1).unwrap();
        fs::write(dir.path().join("snapshot"), [HEADER_1, &sealed].concat()).unwrap();
        assert_eq!(Cache::new(dir.path(), key).load().unwrap(), Some(held()));
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
        newer[MAGIC] = 3;
        fs::write(&path, newer).unwrap();
        assert!(matches!(cache.load(), Err(CacheError::Version(3))));
    }
}
