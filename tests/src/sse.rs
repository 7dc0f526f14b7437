//! Reads server-sent events (HTML Living Standard §9.2.6) from a response body.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

const LARGEST_EVENT: usize = 8 << 20;

/// One dispatched event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// `id:`, empty when there was none.
    pub id: String,
    /// `event:`, empty when there was none.
    pub name: String,
    /// The `data:` lines, joined by line feeds.
    pub data: String,
}

/// An open stream; dropping it closes the connection.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    buffer: BytesMut,
    comments: usize,
}

impl EventStream {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new(), comments: 0 }
    }

    /// How many comments (keep-alives) were read so far.
    #[must_use]
    pub fn comments(&self) -> usize {
        self.comments
    }

    /// The next event; `None` when the server ended the stream.
    ///
    /// # Errors
    /// When none came within `deadline`, the connection broke, or the event is larger than 8 MiB.
    pub async fn next(&mut self, deadline: Duration) -> Result<Option<ServerEvent>> {
        match tokio::time::timeout(deadline, self.read()).await {
            Ok(event) => event,
            Err(_) => bail!("no event within {deadline:?}"),
        }
    }

    async fn read(&mut self) -> Result<Option<ServerEvent>> {
        loop {
            while let Some(block) = take_block(&mut self.buffer) {
                self.comments += block.lines().filter(|l| l.starts_with(':')).count();
                if let Some(event) = parse(&block) {
                    return Ok(Some(event));
                }
            }
            ensure!(self.buffer.len() <= LARGEST_EVENT, "an event larger than {LARGEST_EVENT} bytes");
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

fn take_block(buffer: &mut BytesMut) -> Option<String> {
    let end = buffer.windows(2).position(|w| w == b"\n\n")?;
    let block = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.advance(end + 2);
    Some(block)
}

fn parse(block: &str) -> Option<ServerEvent> {
    let mut event = ServerEvent::default();
    let mut data = Vec::new();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut event.id),
            "event" => value.clone_into(&mut event.name),
            "data" => data.push(value),
            _ => {}
        }
    }
    event.data = data.join("\n");
    (!data.is_empty()).then_some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_events_and_comments_are_not() {
        let mut buffer = BytesMut::from(": hi\n\nid: c1\ndata: {\"a\":\ndata: 1}\n\nid: c2\nda");
        let comment = take_block(&mut buffer).unwrap();
        assert_eq!(parse(&comment), None);
        let event = parse(&take_block(&mut buffer).unwrap()).unwrap();
        assert_eq!((event.id.as_str(), event.data.as_str()), ("c1", "{\"a\":\n1}"));
        assert_eq!(take_block(&mut buffer), None);
    }
}
