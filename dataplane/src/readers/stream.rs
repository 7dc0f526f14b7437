//! A reader as server-sent events: as a topic's, but from where the reader stands. Commits are requests of their own.

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::OwnedSemaphorePermit;

use super::Session;
use crate::read::sse::{KEEP_ALIVE, chunk, last};

/// Events that are read at once.
const PAGE: usize = 100;

struct State {
    session: Session,
    /// Of the page before, which may not be sent yet.
    _held: Option<OwnedSemaphorePermit>,
}

/// The rest, as it comes, until the node shuts down or the reader cannot be read on; the reason is then sent as an event named
/// `problem`. Reads on only as fast as it is polled.
pub fn stream(session: Session) -> impl Stream<Item = Bytes> + Send {
    let first = Some(State { session: session.streaming(), _held: None });
    futures_util::stream::unfold(first, |state| async move {
        let State { mut session, _held } = state?;
        drop(_held);
        if session.is_over() {
            return None;
        }
        match session.next(PAGE, KEEP_ALIVE).await {
            Ok(page) if page.entries.is_empty() && session.is_over() => None,
            Ok(page) if page.entries.is_empty() => Some((Bytes::from_static(b": keep-alive\n\n"), Some(State { session, _held: None }))),
            Ok(page) => Some((chunk(&page.entries), Some(State { session, _held: page.held }))),
            Err(problem) => Some((last(&problem), None)),
        }
    })
}
