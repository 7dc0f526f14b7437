//! A chunked body (RFC 9112 §7.1), taken apart.

use super::super::error::Fault;

/// Bytes that extensions and superfluous zeros of a body's chunks may have in all.
const MAX_EXTRA: usize = 16 << 10;
/// Bytes that the trailers may have.
const MAX_TRAILERS: usize = 16 << 10;
/// Lines that the trailers may have.
const MAX_TRAILER_LINES: usize = 100;
/// Digits of a chunk's size beyond which they count as superfluous.
const DIGITS: u32 = 16;

/// How far a chunked body was read.
#[derive(Default)]
pub(super) struct Chunks {
    at: At,
    /// The size being read, then what is left of the chunk's data.
    left: u64,
    digits: u32,
    extra: usize,
    /// The trailers, to be checked; nothing in them is used.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    Blank,
    Extension,
    SizeEnd,
    Data,
    DataEnd,
    DataEndLine,
    TrailerStart,
    Trailer,
    TrailerEnd,
    LastLine,
    Done,
}

impl Chunks {
    /// Reads the next piece: how many bytes it has, and which of them are data.
    pub(super) fn next<'a>(&mut self, input: &'a [u8]) -> Result<(usize, &'a [u8]), Fault> {
        for (used, byte) in input.iter().enumerate() {
            if self.at == At::Data {
                let rest = &input[used..];
                let length = rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= length as u64;
                if self.left == 0 {
                    self.at = At::DataEnd;
                }
                return Ok((used + length, &rest[..length]));
            }
            self.at = self.step(*byte)?;
            if self.at == At::Done {
                return Ok((used + 1, &[]));
            }
        }
        Ok((input.len(), &[]))
    }

    /// Whether the last chunk and the trailers were read.
    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    fn step(&mut self, byte: u8) -> Result<At, Fault> {
        Ok(match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte)?,
            (At::Size, b'\r') if self.digits > 0 => At::SizeEnd,
            (At::Size, b' ' | b'\t') if self.digits > 0 => At::Blank,
            (At::Size, b';') if self.digits > 0 => At::Extension,
            (At::Blank, b' ' | b'\t') => self.spend(At::Blank)?,
            (At::Blank, b';') => At::Extension,
            (At::Blank | At::Extension, b'\r') => At::SizeEnd,
            (At::Extension, other) if other != b'\n' => self.spend(At::Extension)?,
            (At::SizeEnd, b'\n') => {
                self.digits = 0;
                if self.left == 0 { At::TrailerStart } else { At::Data }
            }
            (At::DataEnd, b'\r') => At::DataEndLine,
            (At::DataEndLine, b'\n') => At::Size,
            (At::TrailerStart, b'\r') => At::LastLine,
            (At::TrailerStart | At::Trailer, other) if other != b'\r' => self.trailer(other, At::Trailer)?,
            (At::Trailer, _) => self.trailer(byte, At::TrailerEnd)?,
            (At::TrailerEnd, b'\n') => self.trailer(byte, At::TrailerStart)?,
            (At::LastLine, b'\n') => self.finish()?,
            _ => return Err(fault("a broken chunk")),
        })
    }

    fn digit(&mut self, digit: u8) -> Result<At, Fault> {
        let value = char::from(digit).to_digit(16).map_or(0, u64::from);
        self.left = self.left.checked_mul(16).and_then(|left| left.checked_add(value)).ok_or_else(|| fault("a chunk beyond all sizes"))?;
        self.digits += 1;
        if self.digits > DIGITS { self.spend(At::Size) } else { Ok(At::Size) }
    }

    fn spend(&mut self, at: At) -> Result<At, Fault> {
        self.extra += 1;
        if self.extra > MAX_EXTRA { Err(fault("chunk extensions of more than 16 KiB")) } else { Ok(at) }
    }

    fn trailer(&mut self, byte: u8, at: At) -> Result<At, Fault> {
        self.trailers.push(byte);
        if self.trailers.len() > MAX_TRAILERS { Err(fault("trailers of more than 16 KiB")) } else { Ok(at) }
    }

    fn finish(&mut self) -> Result<At, Fault> {
        if self.trailers.is_empty() {
            return Ok(At::Done);
        }
        self.trailers.extend_from_slice(b"\r\n");
        let mut lines = [httparse::EMPTY_HEADER; MAX_TRAILER_LINES];
        match httparse::parse_headers(&self.trailers, &mut lines) {
            Ok(httparse::Status::Complete(_)) => Ok(At::Done),
            _ => Err(fault("broken trailers")),
        }
    }
}

fn fault(text: &str) -> Fault {
    Fault::Protocol(text.into())
}
