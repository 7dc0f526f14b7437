//! Walks the frames of a file, over damage too. Recovery and reading share it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::DiskFile;
use super::frame::{FRAME_HEAD, Head, MAGIC};

/// A whole frame.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) at: u64,
    pub(super) head: Head,
    pub(super) body: Bytes,
}

pub(super) struct Walker {
    file: Arc<dyn DiskFile>,
    limit: u64,
    salt: u64,
    chunk_len: usize,
    chunk: Bytes,
    chunk_at: u64,
}

impl Walker {
    /// Looks at the first `limit` bytes of `file`, at least `chunk_len` of them a read.
    pub(super) fn new(file: Arc<dyn DiskFile>, limit: u64, salt: u64, chunk_len: usize) -> Self {
        Self { file, limit, salt, chunk_len: chunk_len.max(4096), chunk: Bytes::new(), chunk_at: 0 }
    }

    /// The head at `at`, if a sound one is there.
    pub(super) fn head(&mut self, at: u64) -> io::Result<Option<Head>> {
        Ok(self.bytes(at, FRAME_HEAD)?.and_then(|bytes| Head::decode(&bytes, self.salt)))
    }

    /// The frame at `at`, if a whole one with a base of at least `expected` is there.
    pub(super) fn frame(&mut self, at: u64, expected: u64) -> io::Result<Option<Found>> {
        let Some(head) = self.head(at)?.filter(|head| head.base >= expected) else { return Ok(None) };
        let Some(body) = self.bytes(at + FRAME_HEAD as u64, head.body)? else { return Ok(None) };
        Ok(head.holds(&body).then_some(Found { at, head, body }))
    }

    /// The frame at `at`, or the next whole one behind what is broken there.
    pub(super) fn next(&mut self, at: u64, expected: u64) -> io::Result<Option<Found>> {
        if let Some(found) = self.frame(at, expected)? {
            return Ok(Some(found));
        }
        let mut from = at + 1;
        while let Some(candidate) = self.find_magic(from)? {
            if let Some(found) = self.frame(candidate, expected)? {
                return Ok(Some(found));
            }
            from = candidate + 1;
        }
        Ok(None)
    }

    fn find_magic(&mut self, mut from: u64) -> io::Result<Option<u64>> {
        while from + FRAME_HEAD as u64 <= self.limit {
            let Some(_) = self.bytes(from, FRAME_HEAD)? else { return Ok(None) };
            let rest = self.chunk.slice(usize::try_from(from - self.chunk_at).unwrap_or(0)..);
            match rest.windows(MAGIC.len()).position(|window| window == MAGIC) {
                Some(position) => return Ok(Some(from + position as u64)),
                None => from += (rest.len() - (MAGIC.len() - 1)) as u64,
            }
        }
        Ok(None)
    }

    fn bytes(&mut self, at: u64, len: usize) -> io::Result<Option<Bytes>> {
        let end = at + len as u64;
        if end > self.limit {
            return Ok(None);
        }
        if at < self.chunk_at || end > self.chunk_at + self.chunk.len() as u64 {
            let room = usize::try_from(self.limit - at).unwrap_or(usize::MAX);
            let mut buffer = vec![0; len.max(self.chunk_len).min(room)];
            let count = self.file.read_at(&mut buffer, at)?;
            buffer.truncate(count);
            self.chunk = buffer.into();
            self.chunk_at = at;
        }
        let start = usize::try_from(at - self.chunk_at).unwrap_or(usize::MAX);
        Ok((start + len <= self.chunk.len()).then(|| self.chunk.slice(start..start + len)))
    }
}
