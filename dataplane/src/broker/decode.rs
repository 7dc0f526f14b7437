//! The CloudEvents protobuf format, held to the same rules on attributes as every other format.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use posthorn_domain::cloudevents::{Attributes, Door, data_kind};
use posthorn_domain::event::{AttrKind, DataKind, Event, is_json_type};
use posthorn_domain::problem::{Code, Problem};
use posthorn_proto::cloudevents::CloudEvent;
use posthorn_proto::cloudevents::cloud_event::Data;
use posthorn_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr;
use prost_types::Timestamp;

/// Seconds of the years 1 to 9999, which are what RFC 3339 can write.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The event in the message.
///
/// # Errors
/// `invalid-event` where an attribute breaks a rule.
pub(super) fn decode(message: CloudEvent) -> Result<Event, Problem> {
    let CloudEvent { id, source, spec_version, r#type, attributes, data } = message;
    let mut given = Attributes::new(Door::Json);
    for (name, value) in [("specversion", spec_version), ("id", id), ("source", source), ("type", r#type)] {
        if !value.is_empty() {
            given.add(Cow::Borrowed(name), AttrKind::String, Cow::Owned(value))?;
        }
    }
    // A map comes in no order; the same event is to be stored the same way.
    let mut attributes: Vec<_> = attributes.into_iter().collect();
    attributes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in attributes {
        match value.attr {
            None => given.add_unset(Cow::Owned(name))?,
            Some(value) => {
                let (kind, text) = attribute(&name, value)?;
                given.add(Cow::Owned(name), kind, Cow::Owned(text))?;
            }
        }
    }
    let (kind, data) = payload(&mut given, data)?;
    Ok(given.finish()?.with_data(kind, data))
}

fn attribute(name: &str, value: Attr) -> Result<(AttrKind, String), Problem> {
    Ok(match value {
        Attr::CeBoolean(value) => (AttrKind::Boolean, value.to_string()),
        Attr::CeInteger(value) => (AttrKind::Integer, value.to_string()),
        Attr::CeString(text) | Attr::CeUri(text) | Attr::CeUriRef(text) => (AttrKind::String, text),
        Attr::CeBytes(bytes) => (AttrKind::String, STANDARD.encode(bytes)),
        Attr::CeTimestamp(time) => (AttrKind::String, rfc3339(name, time)?),
    })
}

fn rfc3339(name: &str, time: Timestamp) -> Result<String, Problem> {
    if TIMES.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos) {
        return Ok(time.to_string());
    }
    let shown: String = name.chars().take(64).collect();
    Err(Problem::new(Code::InvalidEvent, format!("`{shown}` is not a time in the years 1 to 9999")))
}

/// Text stays text and bytes stay bytes unless the content type says that they are JSON (protobuf format §2.3).
fn payload(given: &mut Attributes<'_>, data: Option<Data>) -> Result<(DataKind, Bytes), Problem> {
    let content_type = given.get("datacontenttype");
    Ok(match data {
        None => (DataKind::None, Bytes::new()),
        Some(Data::BinaryData(data)) => {
            let kind = match data_kind(content_type, &data) {
                DataKind::Text => DataKind::Binary,
                kind => kind,
            };
            (kind, data)
        }
        Some(Data::TextData(text)) if text.is_empty() => (DataKind::None, Bytes::new()),
        Some(Data::TextData(text)) => {
            let kind = if content_type.is_some_and(is_json_type) { DataKind::Json } else { DataKind::Text };
            (kind, text.into())
        }
        Some(Data::ProtoData(any)) => {
            if content_type.is_none() {
                given.add("datacontenttype".into(), AttrKind::String, "application/protobuf".into())?;
            }
            if given.get("dataschema").is_none() && !any.type_url.is_empty() {
                given.add("dataschema".into(), AttrKind::String, schema_of(any.type_url).into())?;
            }
            let kind = if any.value.is_empty() { DataKind::None } else { DataKind::Binary };
            (kind, any.value.into())
        }
    })
}

/// A type's URL without a scheme is an `https` one (google/protobuf/any.proto); `dataschema` must be absolute.
fn schema_of(type_url: String) -> String {
    if type_url.contains("://") { type_url } else { format!("https://{}", type_url.trim_start_matches('/')) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthorn_proto::cloudevents::cloud_event::CloudEventAttributeValue;

    fn event(attributes: &[(&str, Attr)], data: Option<Data>) -> Result<Event, Problem> {
        let value = |attr: &Attr| CloudEventAttributeValue { attr: Some(attr.clone()) };
        decode(CloudEvent {
            id: "1".into(),
            source: "/s".into(),
            spec_version: "1.0".into(),
            r#type: "t".into(),
            attributes: attributes.iter().map(|(name, attr)| ((*name).to_owned(), value(attr))).collect(),
            data,
        })
    }

    #[test]
    fn values_keep_their_types() {
        let time = Timestamp { seconds: 0, nanos: 0 };
        let attributes = [
            ("flag", Attr::CeBoolean(true)),
            ("count", Attr::CeInteger(-7)),
            ("raw", Attr::CeBytes(Bytes::from_static(b"\xff\x00"))),
            ("time", Attr::CeTimestamp(time)),
        ];
        let event = event(&attributes, None).expect("an event");
        let read = |name| event.attr(name).map(|attr| (attr.kind, attr.value)).expect("it is there");
        assert_eq!(read("flag"), (AttrKind::Boolean, "true"));
        assert_eq!(read("count"), (AttrKind::Integer, "-7"));
        assert_eq!(read("raw"), (AttrKind::String, "/wA="));
        assert_eq!(read("time"), (AttrKind::String, "1970-01-01T00:00:00Z"));
    }

    #[test]
    fn data_is_what_its_content_type_says() {
        let json = [("datacontenttype", Attr::CeString("application/json".into()))];
        let text = || Some(Data::TextData("{}".into()));
        assert_eq!(event(&json, text()).expect("an event").data_kind(), DataKind::Json);
        assert_eq!(event(&[], text()).expect("an event").data_kind(), DataKind::Text);
        let any = prost_types::Any { type_url: "type.googleapis.com/a.B".into(), value: vec![8, 1] };
        let event = event(&[], Some(Data::ProtoData(any))).expect("an event");
        assert_eq!(event.data_kind(), DataKind::Binary);
        assert_eq!(event.get("datacontenttype"), Some("application/protobuf"));
        assert_eq!(event.get("dataschema"), Some("https://type.googleapis.com/a.B"));
    }

    #[test]
    fn bad_attributes_are_refused() {
        let late = Attr::CeTimestamp(Timestamp { seconds: i64::MAX, nanos: 0 });
        for attribute in [("time", late), ("Upper", Attr::CeBoolean(true)), ("id", Attr::CeString("2".into()))] {
            assert!(event(&[attribute], None).is_err());
        }
    }
}
