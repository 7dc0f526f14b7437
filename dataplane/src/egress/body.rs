//! A request body that is a few pieces of shared memory, sent without joining them.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

use super::error::Phase;

/// The parts of a body, in order: what stands before the data, the data as published, what stands after it.
pub type Pieces = SmallVec<[Bytes; 3]>;

/// Sends [`Pieces`]; moves the exchange's phase on once the last one is handed over.
pub(super) struct PiecesBody {
    pieces: Pieces,
    next: usize,
    left: u64,
    phase: Rc<Cell<Phase>>,
}

impl PiecesBody {
    pub(super) fn new(pieces: Pieces, phase: Rc<Cell<Phase>>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces, next: 0, left, phase }
    }
}

impl Body for PiecesBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while let Some(piece) = self.pieces.get(self.next).cloned() {
            self.next += 1;
            if piece.is_empty() {
                continue;
            }
            self.left -= piece.len() as u64;
            if self.left == 0 {
                self.phase.set(Phase::Answer);
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
