//! The last good snapshot as one file, so that a node starts with the control plane gone (I7). Blocking.
//!
//! ```text
//! file  = "PHSNAP" · format u16 LE (3) · frames
//! frame = length u32 LE · sealed page (I11; the header and the frame's number are authenticated with it)
//! ```
//! What a page says is told in [`super::kept`]. The file is the only place where a node has its resources as they were sent: it begins
//! with pages that say all, and a change adds pages. When these have grown longer than the whole, the file is written anew, out of
//! itself. A last step that a crash cut off was never acknowledged and is left out. Formats 1 and 2 are still read ([`super::old`]).
//! A file that cannot be used is reported and passed over: a full snapshot takes its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use posthorn_domain::sealing::{SealingError, SealingKey};

use super::held::Step;
use super::kept::{Kept, LAST, Pages, WHOLE, pages_of};
use super::old;

pub(super) const HEADER: &[u8] = b"PHSNAP\x03\x00";
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

/// How far the file goes, and what it leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    whole: u64,
    steps: u64,
    frames: u32,
    revision: u64,
    control_plane_id: String,
}

/// What is known of the file that is there.
#[derive(Debug, Default)]
pub enum Known {
    /// What it says, if there is one, counts no more.
    #[default]
    Nothing,
    /// What it says counts, but not how it ends, or how it is written.
    Content,
    /// It goes so far.
    Extent(Extent),
}

/// What was found.
#[derive(Debug)]
pub struct Loaded {
    /// The snapshot.
    pub kept: Kept,
    /// What is known of its file.
    pub known: Known,
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
    /// The file that this process read or wrote is not there any more, or damaged.
    #[error("the snapshot's file is gone or damaged; a full snapshot is asked for")]
    Lost,
}

impl Cache {
    /// The file `snapshot` in `data_dir`.
    pub fn new(data_dir: &Path, key: Arc<SealingKey>) -> Self {
        Self { path: data_dir.join("snapshot"), key }
    }

    /// The snapshot, if there is one.
    pub fn load(&self) -> Result<Option<Loaded>, CacheError> {
        let mut file = match self.open() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io(source)),
        };
        let mut header = [0; HEADER.len()];
        file.read_exact(&mut header).map_err(|source| self.cut(source))?;
        if header[..MAGIC] != HEADER[..MAGIC] {
            return Err(CacheError::Format);
        }
        let format = u16::from_le_bytes([header[MAGIC], header[MAGIC + 1]]);
        match format {
            1 | 2 => {
                let mut content = Vec::new();
                file.read_to_end(&mut content).map_err(|source| self.io(source))?;
                let pages = pages_of(&old::read(&self.key, format, &header, &content)?);
                Ok(Some(Loaded { kept: Kept::of(pages).ok_or(CacheError::Content)?, known: Known::Content }))
            }
            3 => self.pages(file).map(Some),
            other => Err(CacheError::Version(other)),
        }
    }

    fn pages(&self, mut file: impl Read) -> Result<Loaded, CacheError> {
        let (mut pages, mut extent, mut known) = (Vec::new(), Extent::default(), 0);
        let (mut frame, mut bytes, mut torn) = (Vec::new(), 0, false);
        loop {
            let opened = next_frame(&mut file, &mut frame).map_err(|source| self.cut(source)).and_then(|there| {
                let number = u32::try_from(pages.len()).map_err(|_| CacheError::Content)?;
                if there { Ok(Some(self.key.open(&frame, &place(HEADER, number))?)) } else { Ok(None) }
            });
            match opened {
                Ok(Some(page)) => pages.push(page),
                Ok(None) => break,
                Err(error) if known == 0 || matches!(error, CacheError::Io { .. }) => return Err(error),
                Err(_) => {
                    torn = true;
                    break;
                }
            }
            bytes += 4 + frame.len() as u64;
            let flags = pages.last().and_then(|page| page.first()).copied().unwrap_or_default();
            if flags & LAST != 0 {
                known = pages.len();
                let part = if flags & WHOLE == 0 { &mut extent.steps } else { &mut extent.whole };
                *part += std::mem::take(&mut bytes);
            }
        }
        if known == 0 {
            return Err(CacheError::Format);
        }
        torn |= known < pages.len();
        pages.truncate(known);
        let kept = Kept::of(pages).ok_or(CacheError::Content)?;
        if torn {
            tracing::warn!(revision = kept.revision, "the snapshot's file ends in a step that is not whole; it is left out");
        }
        extent.frames = u32::try_from(known).map_err(|_| CacheError::Content)?;
        (extent.revision, extent.control_plane_id) = (kept.revision, kept.control_plane_id.clone());
        Ok(Loaded { kept, known: if torn { Known::Content } else { Known::Extent(extent) } })
    }

    /// Writes down where a step leads: adds it to the file, or writes the file anew.
    pub(super) fn save(&self, known: Known, step: &Step) -> Result<Extent, CacheError> {
        match known {
            Known::Extent(extent) if extent.is_at(step) => Ok(extent),
            Known::Extent(extent) if !extent.is_long() && self.length()? == extent.end() => self.append(extent, step),
            Known::Extent(_) | Known::Content => match self.load() {
                Ok(Some(loaded)) => self.write_anew(&loaded.kept, step),
                Err(error @ CacheError::Io { .. }) => Err(error),
                Ok(None) | Err(_) => Err(CacheError::Lost),
            },
            Known::Nothing => self.write_anew(&Kept::default(), step),
        }
    }

    /// Adds a step. After an error nobody knows how far the file goes.
    fn append(&self, mut extent: Extent, step: &Step) -> Result<Extent, CacheError> {
        let file = OpenOptions::new().append(true).open(&self.path).map_err(|source| self.io(source))?;
        let mut frames = Frames { cache: self, file: BufWriter::new(file), number: extent.frames, bytes: 0 };
        let mut pages = Pages::new(false, step.revision, &step.control_plane_id, |page: &[u8]| frames.add(page));
        step.rows.iter().try_for_each(|(key, change)| pages.add_change(key, change))?;
        pages.end()?;
        extent.steps += frames.bytes;
        extent.frames = frames.number;
        frames.end()?;
        Ok(Extent { revision: step.revision, control_plane_id: step.control_plane_id.clone(), ..extent })
    }

    /// Puts what was before, and the step after it, in the file's place; a crash leaves either the old or the new one.
    fn write_anew(&self, before: &Kept, step: &Step) -> Result<Extent, CacheError> {
        let temporary = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary).map_err(|source| self.io(source))?;
        let mut frames = Frames { cache: self, file: BufWriter::new(file), number: 0, bytes: 0 };
        frames.file.write_all(HEADER).map_err(|source| self.io(source))?;
        let mut pages = Pages::new(true, step.revision, &step.control_plane_id, |page: &[u8]| frames.add(page));
        before.rows().try_for_each(|row| pages.add(&row))?;
        step.rows.iter().try_for_each(|(key, change)| pages.add_change(key, change))?;
        pages.end()?;
        let extent = Extent { whole: frames.bytes, steps: 0, frames: frames.number, ..Extent::default() };
        frames.end()?;
        let named = fs::rename(&temporary, &self.path);
        let synced = named.and_then(|()| File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all());
        synced.map_err(|source| self.io(source))?;
        Ok(Extent { revision: step.revision, control_plane_id: step.control_plane_id.clone(), ..extent })
    }

    /// Of the file; 0 when there is none.
    fn length(&self) -> Result<u64, CacheError> {
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            other => other.map(|file| file.len()).map_err(|source| self.io(source)),
        }
    }

    fn open(&self) -> io::Result<BufReader<File>> {
        let file = File::open(&self.path)?;
        if file.metadata()?.len() > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(BufReader::new(file))
    }

    fn cut(&self, source: io::Error) -> CacheError {
        if source.kind() == io::ErrorKind::UnexpectedEof { CacheError::Format } else { self.io(source) }
    }

    fn io(&self, source: io::Error) -> CacheError {
        CacheError::Io { path: self.path.clone(), source }
    }
}

impl Extent {
    /// Whether the file is better written anew than added to.
    fn is_long(&self) -> bool {
        self.steps > self.whole.max(STEPS_BYTES)
    }

    fn end(&self) -> u64 {
        HEADER.len() as u64 + self.whole + self.steps
    }

    /// Whether the step says nothing new.
    fn is_at(&self, step: &Step) -> bool {
        step.rows.is_empty() && step.revision == self.revision && step.control_plane_id == self.control_plane_id
    }
}

/// Frames on their way to a file.
struct Frames<'a> {
    cache: &'a Cache,
    file: BufWriter<File>,
    number: u32,
    bytes: u64,
}

impl Frames<'_> {
    fn add(&mut self, page: &[u8]) -> Result<(), CacheError> {
        let sealed = self.cache.key.seal(page, &place(HEADER, self.number))?;
        let length = u32::try_from(sealed.len()).map_err(|_| CacheError::Content)?;
        let written = self.file.write_all(&length.to_le_bytes()).and_then(|()| self.file.write_all(&sealed));
        written.map_err(|source| self.cache.io(source))?;
        self.number += 1;
        self.bytes += 4 + sealed.len() as u64;
        Ok(())
    }

    fn end(mut self) -> Result<(), CacheError> {
        let ended = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        ended.map_err(|source| self.cache.io(source))
    }
}

/// What a frame is sealed to, so that none can be moved.
pub(super) fn place(header: &[u8], number: u32) -> Vec<u8> {
    [header, &number.to_le_bytes()].concat()
}

/// Reads the sealed content of the next frame; false at the end of the file.
fn next_frame(file: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<bool> {
    frame.clear();
    file.by_ref().take(4).read_to_end(frame)?;
    if frame.is_empty() {
        return Ok(false);
    }
    let length: [u8; 4] = frame.as_slice().try_into().map_err(|_| io::ErrorKind::UnexpectedEof)?;
    let length = u64::from(u32::from_le_bytes(length));
    frame.clear();
    let read = file.by_ref().take(length).read_to_end(frame)?;
    if read as u64 == length { Ok(true) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The sealed content of the first frame, and what follows.
pub(super) fn first_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
