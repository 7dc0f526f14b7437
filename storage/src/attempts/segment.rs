//! One file of attempts: `<number, 16 hex digits>-<time of its making, 16 hex digits>.att`.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use posthorn_domain::time::Time;

use super::Attempt;
use super::block::{self, Block, HEADER, MAGIC, Words};

/// A segment and how much of it is whole.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) since: Time,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// Appends to one segment.
pub(super) struct Writer {
    file: File,
    words: Words,
}

/// The segments in `dir`, oldest first. Other files are left alone.
pub(super) fn list(dir: &Path) -> io::Result<VecDeque<Segment>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some((number, since)) = name.to_str().and_then(read_name) {
            found.push(Segment { number, since, path: entry.path(), bytes: entry.metadata()?.len() });
        }
    }
    found.sort_by_key(|segment| segment.number);
    Ok(found.into())
}

fn read_name(name: &str) -> Option<(u64, Time)> {
    let (number, since) = name.strip_suffix(".att")?.split_once('-')?;
    Some((u64::from_str_radix(number, 16).ok()?, Time::from_millis(u64::from_str_radix(since, 16).ok()?)))
}

impl Segment {
    /// Its bytes; empty when retention dropped it meanwhile.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match File::open(&self.path) {
            Ok(file) => file.take(self.bytes).read_to_end(&mut bytes).map(|_| bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(bytes),
            Err(error) => Err(error),
        }
    }
}

/// What a segment's bytes say.
#[derive(Default)]
pub(super) struct Content<'a> {
    /// Its whole blocks.
    pub(super) blocks: Vec<Block<'a>>,
    /// All its words.
    pub(super) words: Vec<&'a [u8]>,
    /// Where the whole part ends.
    whole: usize,
}

impl<'a> Content<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        if !bytes.starts_with(MAGIC) {
            return Self::default();
        }
        let mut content = Self { whole: MAGIC.len(), ..Self::default() };
        while let Some(payload) = bytes.get(content.whole..).and_then(block::payload) {
            let Some(block) = Block::open(payload, &mut content.words) else { break };
            content.blocks.push(block);
            content.whole += HEADER + payload.len();
        }
        content
    }
}

impl Writer {
    /// Begins a segment.
    pub(super) fn create(dir: &Path, number: u64, since: Time) -> io::Result<(Segment, Self)> {
        let path = dir.join(format!("{number:016x}-{:016x}.att", since.millis()));
        let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        file.write_all(MAGIC)?;
        Ok((Segment { number, since, path, bytes: MAGIC.len() as u64 }, Self { file, words: Words::default() }))
    }

    /// Goes on with a segment from an earlier run, unless it has another form; what is torn at its end is cut.
    pub(super) fn resume(segment: &mut Segment) -> io::Result<Option<Self>> {
        let bytes = segment.read()?;
        let Content { words, whole, .. } = Content::of(&bytes);
        if whole == 0 && bytes.len() >= MAGIC.len() {
            return Ok(None);
        }
        let mut file = OpenOptions::new().append(true).open(&segment.path)?;
        if whole < bytes.len() {
            tracing::warn!(path = %segment.path.display(), dropped_bytes = bytes.len() - whole, "cut a torn tail of attempts");
            file.set_len(whole as u64)?;
        }
        segment.bytes = whole as u64;
        if whole == 0 {
            file.write_all(MAGIC)?;
            segment.bytes = MAGIC.len() as u64;
        }
        Ok(Some(Self { file, words: Words::of(&words) }))
    }

    /// Appends one block of the first of `attempts`; returns how many it took.
    pub(super) fn append(&mut self, segment: &mut Segment, attempts: &[Attempt]) -> io::Result<usize> {
        let (block, count) = block::encode(&mut self.words, attempts);
        self.file.write_all(&block)?;
        segment.bytes += block.len() as u64;
        Ok(count)
    }
}
