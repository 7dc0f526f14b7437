//! The CloudEvents 1.0.2 codec: bytes and headers to [`Event`] and back, in the HTTP binding's three modes.
//!
//! Pure: headers are pairs of name and value, bodies are [`Bytes`], and data is never copied where it stands in the
//! body unescaped (I6). The doors of the data plane decode with it; delivery and topic reads encode with it. Data that
//! claims to be JSON is only found here; whether it *is* JSON is checked by the one parser that also builds its tape.

mod attributes;
mod batch;
mod binary;
mod encode;
#[doc(hidden)]
pub mod fuzz;
mod headers;
mod media;
mod refusal;
mod scan;
mod strings;
mod structured;
mod values;

use bytes::Bytes;

pub use attributes::{Attributes, Door, MAX_ATTRIBUTES};
pub use batch::decode_batch;
pub use binary::{decode_binary, has_ce_headers};
pub use encode::{Structured, structured_len, structured_parts, write_json_string};
pub use headers::{InvalidHeaderValue, decode_header_value, encode_header_value};
pub use media::{data_kind, is_media_type};
pub use structured::decode_structured;
pub use values::is_rfc3339;

use crate::event::{DataKind, Event, EventBuilder};
use crate::problem::{Code, Problem};

/// The media type of one event in the JSON format.
pub const STRUCTURED_TYPE: &str = "application/cloudevents+json";
/// The media type of an array of events in the JSON format.
pub const BATCH_TYPE: &str = "application/cloudevents-batch+json";
/// How deep the containers in JSON data may nest.
pub const MAX_DEPTH: usize = 128;

/// How a message carries events (CloudEvents HTTP §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The body is one event in the JSON format.
    Structured,
    /// The body is an array of events in the JSON format.
    Batch,
    /// Attributes are headers and the body is the data.
    Binary,
}

/// The mode that a `Content-Type` chooses (CloudEvents HTTP §3: by prefix, in any case). No content type is binary.
///
/// # Errors
/// 415 for a CloudEvents media type in a format other than JSON, or with a charset other than UTF-8.
pub fn mode(content_type: Option<&str>) -> Result<Mode, Problem> {
    const PREFIX: &str = "application/cloudevents";
    let Some(content_type) = content_type else { return Ok(Mode::Binary) };
    let essence = media::essence(content_type);
    if !media::starts_with_ignore_case(essence, PREFIX) {
        return Ok(Mode::Binary);
    }
    let mode = if essence.eq_ignore_ascii_case(BATCH_TYPE) {
        Mode::Batch
    } else if essence.eq_ignore_ascii_case(STRUCTURED_TYPE) {
        Mode::Structured
    } else {
        let shown = refusal::shown(essence);
        let detail = format!("`{shown}` is not an event format that is spoken here: send {STRUCTURED_TYPE} or {BATCH_TYPE}");
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    };
    match media::charset(content_type) {
        Some(charset) if !charset.eq_ignore_ascii_case("utf-8") => {
            let shown = refusal::shown(charset);
            Err(Problem::new(
                Code::UnsupportedMediaType,
                format!("events in JSON are UTF-8, not `{shown}`: send UTF-8 and leave charset out"),
            ))
        }
        _ => Ok(mode),
    }
}

/// Plain JSON that was sent to a topic's path without `ce-` headers: the body is the data of an event that is made here.
///
/// `id`, `source` and `ty` come from the server and hold to the rules of [`Attributes`].
pub fn plain_json(body: Bytes, id: &str, source: &str, ty: &str) -> Event {
    let mut builder = EventBuilder::new(id, source, ty);
    if body.is_empty() {
        return builder.build();
    }
    builder.push("datacontenttype", crate::event::AttrKind::String, "application/json");
    builder.with_data(DataKind::Json, body)
}

#[cfg(test)]
mod tests;
