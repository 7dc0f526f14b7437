//! Binary mode (CloudEvents HTTP §3.1): attributes in `ce-` headers, data in the body as it is.

use std::borrow::Cow;

use bytes::Bytes;

use super::attributes::{Attributes, Door};
use super::media::{data_kind, starts_with_ignore_case};
use super::{decode_header_value, refusal};
use crate::event::{AttrKind, Event};
use crate::problem::Problem;

/// Whether any header is a CloudEvents attribute, so that the request means to be an event in binary mode.
pub fn has_ce_headers<'a>(mut headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> bool {
    headers.any(|(name, _)| starts_with_ignore_case(name, "ce-"))
}

/// The event in these headers and this body. The body becomes the data without a copy; an empty one is no data.
///
/// # Errors
/// `invalid-event`, naming the header: a missing, doubled or malformed attribute.
pub fn decode_binary<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>, body: Bytes) -> Result<Event, Problem> {
    let mut attributes = Attributes::new(Door::Headers);
    for (name, value) in headers {
        if starts_with_ignore_case(name, "ce-") {
            add_attribute(&mut attributes, name, value)?;
        } else if name.eq_ignore_ascii_case("content-type") {
            add_content_type(&mut attributes, value)?;
        }
    }
    let kind = data_kind(attributes.get("datacontenttype"), &body);
    Ok(attributes.finish()?.with_data(kind, body))
}

fn add_attribute<'a>(attributes: &mut Attributes<'a>, header: &'a str, value: &'a [u8]) -> Result<(), Problem> {
    let name = lower(&header[3..]);
    if name == "datacontenttype" {
        return Err(refusal::header(header, "is not allowed; say the data's type in content-type (attribute `datacontenttype`)"));
    }
    let value = decode_header_value(value).map_err(|error| refusal::header(header, error.to_string()))?;
    attributes.add(name, AttrKind::String, value)
}

fn add_content_type<'a>(attributes: &mut Attributes<'a>, value: &'a [u8]) -> Result<(), Problem> {
    let text = std::str::from_utf8(value.trim_ascii()).map_err(|_| refusal::header("content-type", "must be a media type in ASCII"))?;
    attributes.add(Cow::Borrowed("datacontenttype"), AttrKind::String, Cow::Borrowed(text))
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) }
}
