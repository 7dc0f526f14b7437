//! Deadlines of calls: `grpc-timeout`, as the gRPC protocol over HTTP/2 writes it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::time::Sleep;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// An answer takes a moment to travel: a call ends so much before its client gives up, so that the client hears why.
const TRAVEL: Duration = Duration::from_millis(5);

/// How long the call may take; `None` when it does not say, or says nothing that can be read.
pub(super) fn of(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    timeout(text).map(|timeout| timeout.saturating_sub(TRAVEL))
}

/// `call`, or its end when the time is up. What was begun goes on: an append is not taken back.
pub(super) async fn within<T>(timeout: Option<Duration>, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match timeout {
        None => call.await,
        Some(timeout) => tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| Err(exceeded())),
    }
}

/// A stream that ends with `DEADLINE_EXCEEDED` when the time is up.
pub(super) struct Until<S> {
    answers: S,
    deadline: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl<S> Until<S> {
    pub(super) fn new(timeout: Option<Duration>, answers: S) -> Self {
        Self { answers, deadline: timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout))), over: false }
    }
}

impl<T, S: Stream<Item = Result<T, Status>> + Unpin> Stream for Until<S> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(answer) = Pin::new(&mut self.answers).poll_next(context) {
            return Poll::Ready(answer);
        }
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        if deadline.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.over = true;
        Poll::Ready(Some(Err(exceeded())))
    }
}

fn exceeded() -> Status {
    Status::deadline_exceeded(
        "the call's deadline has passed; events without an answer may be kept all the same: send them again, duplicates are recognised",
    )
}

/// At most eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(timeout("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(timeout("1n"), Some(Duration::from_nanos(1)));
        for bad in ["", "S", "1", "1x", "123456789S", "-1S", "1é"] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
    }
}
