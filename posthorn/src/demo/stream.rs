//! The reader on the stream: server-sent events of one topic, counted and compared with what was recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::ensure;
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::Door;
use crate::verbs::sse::Decoder;

/// What the reader has read.
#[derive(Clone, Debug, Default)]
pub(super) struct Read {
    pub(super) events: usize,
    pub(super) other_bytes: usize,
    pub(super) seen: BTreeSet<(String, String)>,
}

/// A reader of one topic.
#[derive(Debug)]
pub(super) struct Reader(Arc<Mutex<Read>>);

#[derive(Deserialize)]
struct Entry {
    event: Event,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    source: String,
    data: Box<RawValue>,
}

impl Reader {
    /// Opens the stream from the topic's beginning; it is read in the background until the server ends it.
    pub(super) async fn start(data: &str, topic: &str, recorded: BTreeMap<String, Bytes>) -> anyhow::Result<Self> {
        let door = Door::new(data)?;
        let path = door.path(&["v1", "topics", topic, "events"], &[("cursor", "earliest")]);
        let response = door.open(Method::GET, &path, &[("accept", "text/event-stream")], Bytes::new()).await?;
        ensure!(response.status() == 200, "the stream was answered with {}", response.status());
        let read = Arc::new(Mutex::new(Read::default()));
        let shared = Arc::clone(&read);
        tokio::spawn(async move {
            follow(response.into_body(), &recorded, &shared).await;
            drop(door);
        });
        Ok(Self(read))
    }

    pub(super) fn read(&self) -> Read {
        lock(&self.0).clone()
    }
}

async fn follow(mut body: Incoming, recorded: &BTreeMap<String, Bytes>, shared: &Mutex<Read>) {
    let mut decoder = Decoder::default();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(bytes) = frame.into_data() else { continue };
        let Some(messages) = decoder.push(&bytes) else { return };
        let mut read = lock(shared);
        for message in messages {
            let Ok(Entry { event }) = serde_json::from_str::<Entry>(&message.data) else {
                read.other_bytes += 1;
                continue;
            };
            read.events += 1;
            let same = recorded.get(&event.id).is_some_and(|data| data == event.data.get().as_bytes());
            read.other_bytes += usize::from(!same);
            read.seen.insert((event.source, event.id));
        }
    }
}

fn lock(read: &Mutex<Read>) -> MutexGuard<'_, Read> {
    read.lock().unwrap_or_else(PoisonError::into_inner)
}
