//! The JSON format, written (CloudEvents JSON §3): attributes by their types, JSON data spliced in byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};

use super::strings::json_string_len;
pub use super::strings::write_json_string;
use crate::event::{Attr, AttrKind, DataKind, Event};

/// One structured event in three pieces that follow each other, so that JSON data needs no copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structured {
    /// Everything up to the data. Data that has to be re-written (text, binary) is in here.
    pub head: Bytes,
    /// JSON data: a slice of the event's own bytes. Empty when there is none.
    pub data: Bytes,
    /// What closes the event.
    pub tail: Bytes,
}

impl Structured {
    /// Bytes of the whole.
    pub fn size(&self) -> usize {
        self.head.len() + self.data.len() + self.tail.len()
    }

    /// The pieces as one; copies.
    pub fn to_bytes(&self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.size());
        for part in [&self.head, &self.data, &self.tail] {
            whole.put_slice(part);
        }
        whole.freeze()
    }
}

const START: &[u8] = b"{\"specversion\":\"1.0\"";
const DATA: &[u8] = b",\"data\":";
const DATA_BASE64: &[u8] = b",\"data_base64\":";

/// The event in the JSON format. With a `topic`, that is what the attribute `topic` says, whatever the event says.
///
/// JSON data must be JSON (ingest has checked it): it is spliced in unchanged.
pub fn structured_parts(event: &Event, topic: Option<&str>) -> Structured {
    let spliced = if event.data_kind() == DataKind::Json { event.data().len() } else { 0 };
    let mut head = Vec::with_capacity(structured_len(event, topic) - spliced - 1);
    head.extend_from_slice(START);
    each_attr(event, topic, |attr| write_attr(attr, &mut head));
    let mut data = Bytes::new();
    match event.data_kind() {
        DataKind::Json if !event.data().is_empty() => {
            head.extend_from_slice(DATA);
            data = event.data().clone();
        }
        DataKind::None | DataKind::Json => {}
        DataKind::Text | DataKind::Binary => write_copied(event, &mut head),
    }
    Structured { head: head.into(), data, tail: Bytes::from_static(b"}") }
}

/// How many bytes [`structured_parts`] makes in all, without making them.
pub fn structured_len(event: &Event, topic: Option<&str>) -> usize {
    let mut len = START.len() + 1;
    each_attr(event, topic, |attr| {
        len += attr.name.len() + 4 + if attr.kind == AttrKind::String { json_string_len(attr.value) } else { attr.value.len() };
    });
    let data = event.data();
    len + match event.data_kind() {
        DataKind::Json if !data.is_empty() => DATA.len() + data.len(),
        DataKind::None | DataKind::Json => 0,
        DataKind::Text => match std::str::from_utf8(data) {
            Ok(text) => DATA.len() + json_string_len(text),
            Err(_) => base64_member_len(data),
        },
        DataKind::Binary => base64_member_len(data),
    }
}

fn base64_member_len(data: &[u8]) -> usize {
    DATA_BASE64.len() + 2 + data.len().div_ceil(3) * 4
}

fn each_attr(event: &Event, topic: Option<&str>, mut visit: impl FnMut(Attr<'_>)) {
    let ours = topic.map(|value| Attr { name: "topic", kind: AttrKind::String, value });
    for attr in event.attrs() {
        if ours.is_none() || attr.name != "topic" {
            visit(attr);
        }
    }
    if let Some(attr) = ours {
        visit(attr);
    }
}

/// Names need no escaping: they are letters and digits.
fn write_attr(attr: Attr<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(attr.name.as_bytes());
    out.extend_from_slice(b"\":");
    match attr.kind {
        AttrKind::String => write_json_string(attr.value, out),
        AttrKind::Boolean | AttrKind::Integer => out.extend_from_slice(attr.value.as_bytes()),
    }
}

fn write_copied(event: &Event, out: &mut Vec<u8>) {
    if let (DataKind::Text, Ok(text)) = (event.data_kind(), std::str::from_utf8(event.data())) {
        out.extend_from_slice(DATA);
        write_json_string(text, out);
        return;
    }
    out.extend_from_slice(DATA_BASE64);
    out.push(b'"');
    let start = out.len();
    out.resize(start + event.data().len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(event.data(), &mut out[start..]).expect("the room is what base64 with padding takes");
    out.push(b'"');
}
