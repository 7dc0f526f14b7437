//! Answers of the receiver: whole, or with a body that comes in pieces.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// A body that takes its time comes in so many pieces, or more of the largest size.
const PIECES: usize = 10;
const LARGEST_PIECE: usize = 64 << 10;
static DOTS: [u8; LARGEST_PIECE] = [b'.'; LARGEST_PIECE];

/// The body of an answer.
pub(super) type Reply = Either<Full<Bytes>, Pieces>;

/// A body that comes in pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    left: usize,
    piece: usize,
    /// One of them at a time; without these, as fast as they are taken.
    ticks: Option<Interval>,
}

pub(super) fn status(code: StatusCode) -> Response<Reply> {
    answer(code, 0, Duration::ZERO)
}

pub(super) fn json(value: &impl serde::Serialize) -> Response<Reply> {
    let text = serde_json::to_vec(value).expect("plain data");
    Response::new(Either::Left(Full::from(text)))
}

pub(super) fn text(code: StatusCode, text: String) -> Response<Reply> {
    with_status(code, Either::Left(Full::from(text)))
}

/// `bytes` bytes, over that time.
pub(super) fn answer(code: StatusCode, bytes: usize, over: Duration) -> Response<Reply> {
    if bytes == 0 || (over.is_zero() && bytes <= LARGEST_PIECE) {
        return with_status(code, Either::Left(Full::from(&DOTS[..bytes])));
    }
    let pieces = bytes.div_ceil(LARGEST_PIECE).max(PIECES);
    let ticks = (!over.is_zero()).then(|| {
        let mut ticks = interval(over / pieces as u32);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    with_status(code, Either::Right(Pieces { left: bytes, piece: bytes.div_ceil(pieces), ticks }))
}

fn with_status(code: StatusCode, body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(ticks) = &mut self.ticks {
            std::task::ready!(ticks.poll_tick(context));
        }
        let piece = self.piece.min(self.left);
        self.left -= piece;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&DOTS[..piece])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_takes_its_time_and_is_whole() {
        let began = tokio::time::Instant::now();
        let body = answer(StatusCode::OK, 95, Duration::from_secs(10)).into_body();
        assert_eq!(body.size_hint().exact(), Some(95));
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 95);
        assert_eq!(began.elapsed().as_secs(), 9, "nine pauses between ten pieces");
        assert_eq!(status(StatusCode::OK).into_body().size_hint().exact(), Some(0));
        let large = answer(StatusCode::OK, (1 << 30) + 1, Duration::ZERO).into_body();
        assert_eq!(large.size_hint().exact(), Some((1 << 30) + 1), "never held as a whole");
    }
}
