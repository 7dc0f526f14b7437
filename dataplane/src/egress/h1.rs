//! One HTTP/1.1 exchange. The attempt's own future drives the socket: the request goes out with one vectored write, the answer is
//! read while it does, so an endpoint that answers early or reads nothing holds nothing up.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::task::{Context, Poll};

use bytes::Bytes;
use posthorn_domain::time::Time;
use smallvec::SmallVec;
use tokio::io::ReadBuf;

use super::answer::Answer;
use super::error::{Fault, Phase, SendError};
use super::stream::Stream;

/// Pieces that are given to the kernel at once.
const SLICES: usize = 64;

/// An open connection that speaks HTTP/1.1.
pub(super) struct H1 {
    pub(super) stream: Stream,
    pub(super) peer: IpAddr,
    pub(super) since: Time,
}

/// Why there is no answer.
pub(super) enum Broken {
    /// Nothing of the request went out.
    Unsent,
    /// It may have.
    Sent(Fault),
}

impl From<Broken> for SendError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Unsent => Self::unsent(Fault::Closed),
            Broken::Sent(fault) => Self::sent(fault),
        }
    }
}

impl H1 {
    /// Sends `head` and `body` and reads the answer. Whether the connection may serve again.
    pub(super) async fn exchange(
        &mut self,
        head: &[u8],
        body: &[Bytes],
        answer: &mut Answer,
        scratch: &RefCell<Box<[u8]>>,
        phase: &Cell<Phase>,
    ) -> Result<bool, Broken> {
        let unwritten = head.len() + body.iter().map(Bytes::len).sum::<usize>();
        let stream = &mut self.stream;
        let mut talk =
            Talk { stream, head, body, answer, scratch, phase, unwritten, written: 0, unflushed: true, cut: false, early: Vec::new() };
        phase.set(Phase::Write);
        poll_fn(|cx| talk.poll(cx)).await?;
        Ok(talk.answer.keeps() && !talk.is_writing() && !talk.cut && talk.early.is_empty())
    }
}

struct Talk<'a> {
    stream: &'a mut Stream,
    head: &'a [u8],
    body: &'a [Bytes],
    answer: &'a mut Answer,
    /// Where bytes are read to; of no use beyond a poll, so all exchanges of a thread share it.
    scratch: &'a RefCell<Box<[u8]>>,
    phase: &'a Cell<Phase>,
    unwritten: usize,
    written: usize,
    unflushed: bool,
    /// The other side takes no more; it may have answered nonetheless.
    cut: bool,
    /// A head that came in part, or what came after the answer.
    early: Vec<u8>,
}

impl Talk<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.is_writing() && !self.cut {
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) => self.phase.set(if self.answer.has_head() { Phase::Body } else { Phase::Answer }),
                Poll::Ready(Err(_)) if self.written == 0 && self.stream.is_plain() => return Poll::Ready(Err(Broken::Unsent)),
                Poll::Ready(Err(_)) => self.cut = true,
                Poll::Pending => {}
            }
        }
        self.poll_answer(cx).map_err(Broken::Sent)
    }

    fn is_writing(&self) -> bool {
        self.unwritten > 0 || self.unflushed
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unwritten > 0 {
            let slices = rest(self.head, self.body, self.written);
            let count = std::task::ready!(self.stream.poll_write(cx, &slices))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.unwritten = self.unwritten.saturating_sub(count);
        }
        std::task::ready!(self.stream.poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let mut scratch = self.scratch.borrow_mut();
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            std::task::ready!(self.stream.poll_read(cx, &mut buf)).map_err(|error| of_io(&error))?;
            let came = buf.filled();
            if came.is_empty() {
                return Poll::Ready(self.answer.end());
            }
            self.hear(came)?;
            if self.answer.is_done() {
                return Poll::Ready(Ok(()));
            }
            if self.answer.has_head() && !self.is_writing() {
                self.phase.set(Phase::Body);
            }
        }
    }

    fn hear(&mut self, came: &[u8]) -> Result<(), Fault> {
        if self.early.is_empty() {
            let used = self.answer.advance(came)?;
            self.early.extend_from_slice(&came[used..]);
        } else {
            self.early.extend_from_slice(came);
            let used = self.answer.advance(&self.early)?;
            self.early.drain(..used);
        }
        Ok(())
    }
}

/// What of head and body is still to be written, as much as goes in one call.
fn rest<'a>(head: &'a [u8], body: &'a [Bytes], written: usize) -> SmallVec<[IoSlice<'a>; 4]> {
    let mut passed = written;
    let mut slices = SmallVec::new();
    for piece in std::iter::once(head).chain(body.iter().map(Bytes::as_ref)) {
        let piece_left = piece.get(passed..).unwrap_or_default();
        passed = passed.saturating_sub(piece.len());
        if !piece_left.is_empty() {
            slices.push(IoSlice::new(piece_left));
        }
        if slices.len() == SLICES {
            break;
        }
    }
    slices
}

/// rustls reports broken records as invalid data; all else is the connection's end.
fn of_io(error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::InvalidData { Fault::Tls(error.to_string()) } else { Fault::Closed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_goes_on_where_the_last_one_ended() {
        let body = [Bytes::from_static(b"cd"), Bytes::new(), Bytes::from_static(b"e")];
        for written in 0..5 {
            let joined: Vec<u8> = rest(b"ab", &body, written).iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(joined, b"abcde"[written..]);
        }
        let many: Vec<Bytes> = (0..301).map(|_| Bytes::from_static(b"x")).collect();
        assert_eq!(rest(b"h", &many, 0).len(), SLICES);
    }
}
