//! What must hold for any bytes at all. Called by the fuzz target and by the tests with seeded mutations.

use bytes::Bytes;

use super::scan::Scanner;
use super::{
    MAX_DEPTH, decode_batch, decode_binary, decode_header_value, decode_structured, encode_header_value, structured_len, structured_parts,
};
use crate::event::{DataKind, Event};

/// Decodes the bytes through every door. Panics when a door does, or when one of these does not hold:
///
/// - what serde_json calls a syntax error, the doors refuse, apart from what stands in JSON data;
/// - JSON data is a slice of the input;
/// - an accepted event is the same after it was written and read again.
pub fn fuzz_decode(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    if let Ok(event) = decode_structured(&body) {
        check_accepted(&body, std::slice::from_ref(&event));
        round_trip(&event);
    }
    if let Ok(events) = decode_batch(&body, 1000) {
        let all = events.len();
        let events: Vec<Event> = events.into_iter().flatten().collect();
        if events.len() == all {
            check_accepted(&body, &events);
        }
        events.iter().for_each(round_trip);
    }
    fuzz_headers(&body);
}

/// The bytes as lines of `name: value`, an empty line, and a body.
fn fuzz_headers(bytes: &Bytes) {
    if let Ok(value) = decode_header_value(bytes) {
        assert_eq!(decode_header_value(encode_header_value(&value).as_bytes()).as_deref(), Ok(&*value));
    }
    let end = memchr::memmem::find(bytes, b"\n\n").unwrap_or(bytes.len());
    let body = bytes.slice((end + 2).min(bytes.len())..);
    let headers = bytes[..end].split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((std::str::from_utf8(&line[..colon]).ok()?, &line[colon + 1..]))
    });
    if let Ok(event) = decode_binary(headers, body) {
        round_trip(&event);
    }
}

/// `events` is all that the body holds.
fn check_accepted(body: &Bytes, events: &[Event]) {
    let mut opaque = false;
    for event in events.iter().filter(|event| event.data_kind() == DataKind::Json) {
        let inside = body.as_ptr_range().contains(&event.data().as_ptr());
        // Data that came as base64 is a copy, and nothing that serde_json looks into.
        opaque |= inside && !is_json(event.data());
    }
    assert!(opaque || is_json(body), "accepted although it is not JSON");
}

fn round_trip(event: &Event) {
    let parts = structured_parts(event, None);
    assert_eq!(parts.size(), structured_len(event, None));
    let json = event.data_kind() == DataKind::Json;
    if json && !(is_json(event.data()) && is_shallow(event.data())) {
        return; // Ingest refuses such data later, so that it is never written.
    }
    let again = decode_structured(&parts.to_bytes()).expect("what was written can be read");
    let original = event.data().as_ref();
    assert_eq!(again.data().as_ref(), if json { trim(original) } else { original });
    assert_eq!(again.data_kind(), event.data_kind());
    assert!(again.attrs().eq(event.attrs()), "{again:?} is not {event:?}");
}

fn trim(json: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let start = json.iter().position(|byte| !is_blank(byte)).unwrap_or(json.len());
    let end = json.iter().rposition(|byte| !is_blank(byte)).map_or(start, |at| at + 1);
    &json[start..end]
}

fn is_shallow(json: &[u8]) -> bool {
    std::str::from_utf8(json).is_ok_and(|text| Scanner::new(text, 0).value(MAX_DEPTH).is_ok())
}

/// Whether serde_json takes it as syntax, at any depth.
fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok()
}
