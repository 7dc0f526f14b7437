//! A topic as server-sent events (HTML §9.2): `id:` is the cursor, `data:` is `{"cursor","event"}`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use posthorn_domain::problem::Problem;
use tokio::sync::OwnedSemaphorePermit;

use super::page::write_entry;
use super::{Entry, Session};

/// A comment is sent when nothing else was for this long.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
const PAGE: usize = 100;

struct State {
    session: Session,
    /// Of the page before, which may not be sent yet.
    _held: Option<OwnedSemaphorePermit>,
}

/// The rest of the topic, as it comes, until the node shuts down or the topic cannot be read on; the reason is then sent as an
/// event named `problem`. Reads on only as fast as it is polled.
pub fn stream(session: Session) -> impl Stream<Item = Bytes> + Send {
    let first = Some(State { session: session.streaming(), _held: None });
    futures_util::stream::unfold(first, |state| async move {
        let State { mut session, _held } = state?;
        drop(_held);
        if session.is_over() {
            return None;
        }
        match session.next(PAGE, KEEP_ALIVE).await {
            Ok(slice) if slice.entries.is_empty() && session.is_over() => None,
            Ok(slice) if slice.entries.is_empty() => Some((Bytes::from_static(b": keep-alive\n\n"), Some(State { session, _held: None }))),
            Ok(slice) => Some((chunk(&slice.entries), Some(State { session, _held: slice.held }))),
            Err(problem) => Some((last(&problem), None)),
        }
    })
}

pub(crate) fn chunk(entries: &[Entry]) -> Bytes {
    let (mut out, mut json) = (Vec::new(), Vec::new());
    for entry in entries {
        json.clear();
        write_entry(entry, &mut json);
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(entry.cursor.as_bytes());
        out.push(b'\n');
        write_data(&json, &mut out);
    }
    out.into()
}

pub(crate) fn last(problem: &Problem) -> Bytes {
    let mut out = b"event: problem\n".to_vec();
    write_data(problem.to_value().to_string().as_bytes(), &mut out);
    out.into()
}

/// Published JSON may have line breaks between its tokens; each line needs its own field (HTML §9.2.6 joins them again).
fn write_data(json: &[u8], out: &mut Vec<u8>) {
    for line in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_with_line_breaks_takes_several_fields() {
        let mut out = Vec::new();
        write_data(b"{\n\"a\":1\r}", &mut out);
        assert_eq!(out, b"data: {\ndata: \"a\":1\ndata: }\n\n");
    }
}
