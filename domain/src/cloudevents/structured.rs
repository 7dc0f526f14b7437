//! Structured mode (CloudEvents JSON §2–3): one JSON object that holds attributes and data.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::attributes::{Attributes, Door};
use super::refusal::{member, shown, syntax};
use super::scan::Scanner;
use super::strings::unescape;
use super::{MAX_DEPTH, values};
use crate::event::{AttrKind, DataKind, Event, is_json_type};
use crate::problem::Problem;

/// The event that this body is.
///
/// JSON data stays the very slice of `body` that it was, whitespace inside included; it is not checked here beyond its
/// brackets and strings.
///
/// # Errors
/// `invalid-json` with the byte offset when the body is no JSON object in UTF-8; `invalid-event` with the member's name
/// and pointer when a member breaks a rule.
pub fn decode_structured(body: &Bytes) -> Result<Event, Problem> {
    let text = utf8(body)?;
    decode_within(body, text, 0..text.len())
}

/// The body as text.
pub(super) fn utf8(body: &Bytes) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| syntax(error.valid_up_to(), "not UTF-8"))
}

/// The event in one part of the body; `text` is the body.
pub(super) fn decode_within(body: &Bytes, text: &str, part: Range<usize>) -> Result<Event, Problem> {
    let mut envelope = Envelope { attributes: Attributes::new(Door::Json), data: None, data_base64: None };
    envelope.read(&mut Scanner::new(&text[..part.end], part.start))?;
    envelope.into_event(body, text)
}

/// The members of the object as they were found.
struct Envelope<'a> {
    attributes: Attributes<'a>,
    data: Option<Range<usize>>,
    /// `Some(None)` when it was null.
    data_base64: Option<Option<Cow<'a, str>>>,
}

impl<'a> Envelope<'a> {
    fn read(&mut self, scan: &mut Scanner<'a>) -> Result<(), Problem> {
        scan.need(b'{', "an event, which is a JSON object")?;
        if !scan.take(b'}') {
            loop {
                self.read_member(scan)?;
                if scan.take(b'}') {
                    break;
                }
                scan.need(b',', "`,` or `}` after a member")?;
            }
        }
        scan.end()
    }

    fn read_member(&mut self, scan: &mut Scanner<'a>) -> Result<(), Problem> {
        scan.next_token();
        let name = scan.string()?;
        scan.need(b':', "`:` after the name of a member")?;
        match &*name {
            "data" if self.data.is_some() => Err(member("data", TWICE)),
            "data" => {
                self.data = Some(scan.value(MAX_DEPTH)?);
                Ok(())
            }
            "data_base64" if self.data_base64.is_some() => Err(member("data_base64", TWICE)),
            "data_base64" => self.read_base64(scan),
            _ => self.read_attribute(name, scan),
        }
    }

    fn read_base64(&mut self, scan: &mut Scanner<'a>) -> Result<(), Problem> {
        self.data_base64 = match scan.next_token() {
            Some(b'"') => Some(Some(scan.string()?)),
            Some(b'n') => scan.word("null").map(|_| Some(None))?,
            _ => return Err(member("data_base64", "must be a string of base64")),
        };
        Ok(())
    }

    fn read_attribute(&mut self, name: Cow<'a, str>, scan: &mut Scanner<'a>) -> Result<(), Problem> {
        match scan.next_token() {
            Some(b'"') => {
                let value = scan.string()?;
                self.attributes.add(name, AttrKind::String, value)
            }
            Some(b'n') => {
                scan.word("null")?;
                self.attributes.add_unset(name)
            }
            Some(b't') => self.attributes.add(name, AttrKind::Boolean, scan.word("true")?.into()),
            Some(b'f') => self.attributes.add(name, AttrKind::Boolean, scan.word("false")?.into()),
            Some(b'-' | b'0'..=b'9') => self.add_number(name, scan.number()?),
            Some(b'{' | b'[') => Err(member(&name, "must be a string, a boolean or an integer; nested values belong into `data`")),
            _ => Err(scan.unexpected("a JSON value")),
        }
    }

    fn add_number(&mut self, name: Cow<'a, str>, number: &'a str) -> Result<(), Problem> {
        if values::is_stringly(&name) {
            return Err(member(&name, "must be a string"));
        }
        if number.contains(['.', 'e', 'E']) {
            return Err(member(&name, "must be an integer without fraction or exponent; give other numbers as strings"));
        }
        if number.parse::<i32>().is_err() {
            return Err(member(&name, "must be an integer from -2147483648 to 2147483647; give larger ones as strings"));
        }
        // A JSON integer has one spelling, which is the canonical string; only zero has a second one.
        let canonical = if number == "-0" { "0" } else { number };
        self.attributes.add(name, AttrKind::Integer, canonical.into())
    }

    fn into_event(self, body: &Bytes, text: &'a str) -> Result<Event, Problem> {
        let content_type = self.attributes.get("datacontenttype");
        let untyped = content_type.is_none();
        let json = content_type.is_none_or(is_json_type);
        let (kind, data) = match (self.data, self.data_base64) {
            (Some(_), Some(Some(_))) => return Err(member("data_base64", "cannot stand beside `data`; send one of them")),
            (Some(range), _) if json => (DataKind::Json, body.slice(range)),
            (Some(range), _) => (DataKind::Text, text_data(body, text, range, content_type.unwrap_or_default())?),
            (None, Some(Some(encoded))) => binary_data(&encoded, json && !untyped)?,
            (None, _) => (DataKind::None, Bytes::new()),
        };
        let mut builder = self.attributes.finish()?;
        if untyped && kind == DataKind::Json {
            // JSON §3.1.2: said out loud, so that other bindings can carry it.
            builder.push("datacontenttype", AttrKind::String, "application/json");
        }
        Ok(builder.with_data(kind, data))
    }
}

const TWICE: &str = "is given twice; give each member once";

/// Data of a type that is not JSON: the text in a JSON string.
fn text_data(body: &Bytes, text: &str, range: Range<usize>, content_type: &str) -> Result<Bytes, Problem> {
    if text.as_bytes().get(range.start) != Some(&b'"') {
        let ty = shown(content_type);
        return Err(member("data", format!("must be a JSON string because datacontenttype is `{ty}`; or send `data_base64`")));
    }
    let inner = range.start + 1..range.end - 1;
    Ok(match unescape(&text[inner.clone()], inner.start)? {
        Cow::Borrowed(_) => body.slice(inner),
        Cow::Owned(text) => text.into(),
    })
}

fn binary_data(encoded: &str, json: bool) -> Result<(DataKind, Bytes), Problem> {
    let data = STANDARD
        .decode(encoded)
        .map_err(|_| member("data_base64", "must be base64 with padding in the standard alphabet (RFC 4648 §4)"))?;
    let kind = match json {
        true if data.is_empty() => DataKind::None,
        true => DataKind::Json,
        false => DataKind::Binary,
    };
    Ok((kind, data.into()))
}
