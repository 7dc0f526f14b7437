//! An event: CloudEvents 1.0 attributes and data bytes, held so that nothing is parsed or copied twice.
//!
//! Attributes stand in one block, `head`, in the very form that the log stores. Data is a reference-counted slice of what
//! the publisher sent and is never re-serialised (I6). Rules on names and values are the decoders' business
//! (CloudEvents 1.0.2 §Context Attributes); this type holds what passed them.
//!
//! ```text
//! head  = entry…            id, source and type come first, in this order
//! entry = kind u8 · name length u8 · value length u32 (little-endian) · name · value
//! ```

use bytes::Bytes;

/// Bytes of an entry before its name.
const ENTRY: usize = 6;

/// The type that an attribute's value had on the way in (CloudEvents 1.0.2 §Type System). URI, URI-reference, Timestamp
/// and Binary travel as strings in every format that Posthorn speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AttrKind {
    /// A string, or a type that is written as one.
    String = 0,
    /// `true` or `false`.
    Boolean = 1,
    /// A 32-bit integer.
    Integer = 2,
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr<'a> {
    /// Lower-case letters and digits.
    pub name: &'a str,
    /// Its type.
    pub kind: AttrKind,
    /// Its canonical string.
    pub value: &'a str,
}

/// How the data was given, which decides how the JSON format writes it (CloudEvents JSON format §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DataKind {
    /// There is no data.
    None = 0,
    /// A JSON value; written as the member `data`, unchanged.
    Json = 1,
    /// Text that is not JSON; written as `data` in a JSON string.
    Text = 2,
    /// Anything else; written as `data_base64`.
    Binary = 3,
}

/// A CloudEvent. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    head: Bytes,
    data: Bytes,
    data_kind: DataKind,
}

/// A head that is not one, as a damaged store might give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored attributes are not well-formed")]
pub struct InvalidHead;

/// Collects attributes; the required ones are arguments so that they cannot be left out.
#[derive(Debug)]
pub struct EventBuilder {
    head: Vec<u8>,
}

impl EventBuilder {
    /// Starts with the required attributes.
    pub fn new(id: &str, source: &str, ty: &str) -> Self {
        let mut builder = Self { head: Vec::with_capacity(256) };
        builder.push("id", AttrKind::String, id);
        builder.push("source", AttrKind::String, source);
        builder.push("type", AttrKind::String, ty);
        builder
    }

    /// Adds an attribute. The caller has checked name and value and that it is not there yet.
    pub fn push(&mut self, name: &str, kind: AttrKind, value: &str) {
        let name_len = u8::try_from(name.len()).expect("attribute names are at most 255 bytes");
        let value_len = u32::try_from(value.len()).expect("attribute values are far below 4 GiB");
        self.head.push(kind as u8);
        self.head.push(name_len);
        self.head.extend_from_slice(&value_len.to_le_bytes());
        self.head.extend_from_slice(name.as_bytes());
        self.head.extend_from_slice(value.as_bytes());
    }

    /// The event without data.
    pub fn build(self) -> Event {
        self.with_data(DataKind::None, Bytes::new())
    }

    /// The event with data.
    pub fn with_data(self, data_kind: DataKind, data: Bytes) -> Event {
        Event { head: self.head.into(), data, data_kind }
    }
}

impl Event {
    /// From stored parts; every entry is checked once here so that reading needs no checks.
    pub fn from_parts(head: Bytes, data_kind: DataKind, data: Bytes) -> Result<Self, InvalidHead> {
        let mut rest = &head[..];
        let mut count = 0;
        while !rest.is_empty() {
            let (attr, tail) = split_entry(rest).ok_or(InvalidHead)?;
            let wanted = ["id", "source", "type"].get(count);
            if wanted.is_some_and(|name| *name != attr.name) {
                return Err(InvalidHead);
            }
            count += 1;
            rest = tail;
        }
        if count < 3 { Err(InvalidHead) } else { Ok(Self { head, data, data_kind }) }
    }

    /// `id`, never empty.
    pub fn id(&self) -> &str {
        self.nth(0)
    }

    /// `source`, never empty.
    pub fn source(&self) -> &str {
        self.nth(1)
    }

    /// `type`, never empty.
    pub fn ty(&self) -> &str {
        self.nth(2)
    }

    fn nth(&self, n: usize) -> &str {
        let wanted = (0..n).try_fold(&self.head[..], |rest, _| behind(rest));
        wanted.and_then(split_entry).map_or("", |(attr, _)| attr.value)
    }

    /// All attributes but `specversion`, which is always `1.0`; `id`, `source`, `type` first.
    pub fn attrs(&self) -> Attrs<'_> {
        Attrs(&self.head)
    }

    /// The attribute of this name. `specversion` is answered too.
    pub fn attr(&self, name: &str) -> Option<Attr<'_>> {
        if name == "specversion" {
            return Some(Attr { name: "specversion", kind: AttrKind::String, value: "1.0" });
        }
        self.find(name.as_bytes())
    }

    /// Goes from entry to entry by their lengths and reads only the one that is wanted.
    fn find(&self, name: &[u8]) -> Option<Attr<'_>> {
        let mut rest = &self.head[..];
        while let Some((fixed, tail)) = rest.split_first_chunk::<ENTRY>() {
            if tail.get(..usize::from(fixed[1]))? == name {
                return split_entry(rest).map(|(attr, _)| attr);
            }
            rest = behind(rest)?;
        }
        None
    }

    /// The attribute's canonical string.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attr(name).map(|attr| attr.value)
    }

    /// The same event with the attribute set (as a String), replaced if it was there.
    #[must_use]
    pub fn with_attr(&self, name: &str, value: &str) -> Self {
        self.with_typed(name, AttrKind::String, value)
    }

    /// The same event with the attribute set (as an Integer), replaced if it was there.
    #[must_use]
    pub fn with_integer(&self, name: &str, value: u32) -> Self {
        self.with_typed(name, AttrKind::Integer, &value.to_string())
    }

    /// The same event without the attribute, which must not be a required one.
    #[must_use]
    pub fn without_attr(&self, name: &str) -> Self {
        let mut builder = EventBuilder { head: Vec::with_capacity(self.head.len()) };
        self.attrs().filter(|attr| attr.name != name).for_each(|attr| builder.push(attr.name, attr.kind, attr.value));
        builder.with_data(self.data_kind, self.data.clone())
    }

    fn with_typed(&self, name: &str, kind: AttrKind, value: &str) -> Self {
        if self.get(name) == Some(value) {
            return self.clone();
        }
        let mut builder = EventBuilder { head: Vec::with_capacity(self.head.len() + ENTRY + name.len() + value.len()) };
        if self.find(name.as_bytes()).is_none() {
            builder.head.extend_from_slice(&self.head);
            builder.push(name, kind, value);
        } else {
            let set = |attr: Attr<'_>| {
                if attr.name == name { builder.push(name, kind, value) } else { builder.push(attr.name, attr.kind, attr.value) }
            };
            self.attrs().for_each(set);
        }
        builder.with_data(self.data_kind, self.data.clone())
    }

    /// The data bytes as they came; empty when there are none.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// How the data was given.
    pub fn data_kind(&self) -> DataKind {
        self.data_kind
    }

    /// The attribute block, as the log stores it.
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// Bytes that the event takes, attributes and data.
    pub fn size(&self) -> usize {
        self.head.len() + self.data.len()
    }
}

impl std::fmt::Debug for Event {
    /// Attributes only: payloads never reach a log line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        for attr in self.attrs() {
            map.entry(&attr.name, &attr.value);
        }
        map.entry(&"data_bytes", &self.data.len()).finish()
    }
}

/// Iterates over attributes.
#[derive(Clone, Debug)]
pub struct Attrs<'a>(&'a [u8]);

impl<'a> Iterator for Attrs<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let (attr, rest) = split_entry(self.0)?;
        self.0 = rest;
        Some(attr)
    }
}

/// What stands behind the first entry.
fn behind(bytes: &[u8]) -> Option<&[u8]> {
    let (fixed, rest) = bytes.split_first_chunk::<ENTRY>()?;
    let value_len = u32::from_le_bytes([fixed[2], fixed[3], fixed[4], fixed[5]]) as usize;
    rest.get(usize::from(fixed[1]) + value_len..)
}

fn split_entry(bytes: &[u8]) -> Option<(Attr<'_>, &[u8])> {
    let (fixed, rest) = bytes.split_at_checked(ENTRY)?;
    let kind = match fixed[0] {
        0 => AttrKind::String,
        1 => AttrKind::Boolean,
        2 => AttrKind::Integer,
        _ => return None,
    };
    let value_len = u32::from_le_bytes([fixed[2], fixed[3], fixed[4], fixed[5]]) as usize;
    let (name, rest) = rest.split_at_checked(usize::from(fixed[1]))?;
    let (value, rest) = rest.split_at_checked(value_len)?;
    let attr = Attr { name: std::str::from_utf8(name).ok()?, kind, value: std::str::from_utf8(value).ok()? };
    Some((attr, rest))
}

impl DataKind {
    /// Back from the stored byte.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Json),
            2 => Some(Self::Text),
            3 => Some(Self::Binary),
            _ => None,
        }
    }
}

/// Whether a media type is JSON: subtype `json` or ending in `+json`, parameters aside, in any case (CloudEvents JSON format §3.1.1).
pub fn is_json_type(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let Some((_, subtype)) = essence.split_once('/') else { return false };
    let ends = |suffix: &str| {
        subtype.len() >= suffix.len()
            && subtype.is_char_boundary(subtype.len() - suffix.len())
            && subtype[subtype.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
    };
    subtype.eq_ignore_ascii_case("json") || ends("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_and_replaced() {
        let mut builder = EventBuilder::new("1", "/s", "t");
        builder.push("n", AttrKind::Integer, "7");
        let event = builder.with_data(DataKind::Json, Bytes::from_static(b"{}"));
        assert_eq!((event.id(), event.source(), event.ty(), event.get("n")), ("1", "/s", "t", Some("7")));
        let changed = event.with_attr("topic", "orders").with_attr("n", "8");
        assert_eq!(changed.get("topic"), Some("orders"));
        assert_eq!(changed.get("n"), Some("8"));
        assert_eq!(changed.with_integer("hops", 2).attr("hops").map(|attr| (attr.kind, attr.value)), Some((AttrKind::Integer, "2")));
        assert_eq!(changed.without_attr("n"), event.without_attr("n").with_attr("topic", "orders"));
        let again = Event::from_parts(changed.head().clone(), changed.data_kind(), changed.data().clone());
        assert_eq!(again, Ok(changed));
    }

    #[test]
    fn damaged_heads_are_refused() {
        let head = EventBuilder::new("1", "/s", "t").build().head().clone();
        for cut in 1..head.len() {
            assert!(Event::from_parts(head.slice(..cut), DataKind::None, Bytes::new()).is_err(), "{cut}");
        }
    }

    #[test]
    fn json_types_are_told() {
        for (text, json) in [
            ("application/json; charset=utf-8", true),
            ("Application/VND.x+JSON", true),
            ("text/xml", false),
            ("json", false),
            ("a/jsonx", false),
        ] {
            assert_eq!(is_json_type(text), json, "{text}");
        }
    }
}
