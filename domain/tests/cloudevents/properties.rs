//! What holds for every event: written and read again it is the same, in both modes.

use bytes::Bytes;
use posthorn_domain::cloudevents::{
    decode_binary, decode_header_value, decode_structured, encode_header_value, structured_len, structured_parts,
};
use posthorn_domain::event::{AttrKind, DataKind, Event, EventBuilder};
use proptest::collection::btree_map;
use proptest::prelude::*;

/// Text that an attribute may hold.
fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| {
        let allowed =
            |char: &char| !char.is_control() && !(0xfdd0..=0xfdef).contains(&u32::from(*char)) && u32::from(*char) & 0xfffe != 0xfffe;
        text.chars().filter(allowed).collect()
    })
}

fn extension() -> impl Strategy<Value = (AttrKind, String)> {
    prop_oneof![
        text().prop_map(|text| (AttrKind::String, text)),
        any::<bool>().prop_map(|value| (AttrKind::Boolean, value.to_string())),
        any::<i32>().prop_map(|value| (AttrKind::Integer, value.to_string())),
    ]
}

fn data() -> impl Strategy<Value = (DataKind, Option<&'static str>, Bytes)> {
    let json = prop_oneof![Just("null"), Just("{ \"a\" : [1, {\"b\":\"}\\\"\"}] }"), Just("\"\\ud83d\\ude00\""), Just("-1.5E+3")];
    prop_oneof![
        Just((DataKind::None, None, Bytes::new())),
        json.prop_map(|text| (DataKind::Json, Some("application/vnd.x+json"), Bytes::from_static(text.as_bytes()))),
        any::<String>().prop_map(|text| (DataKind::Text, Some("text/plain"), text.into())),
        any::<Vec<u8>>().prop_map(|bytes| (DataKind::Binary, None, bytes.into())),
    ]
}

prop_compose! {
    fn event()(id in text(), ty in text(), extensions in btree_map("x[a-z0-9]{0,24}", extension(), 0..8), data in data()) -> Event {
        let mut builder = EventBuilder::new(&format!("i{id}"), "/s", &format!("t{ty}"));
        for (name, (kind, value)) in &extensions {
            builder.push(name, *kind, value);
        }
        let (kind, content_type, bytes) = data;
        if let Some(content_type) = content_type {
            builder.push("datacontenttype", AttrKind::String, content_type);
        }
        builder.with_data(kind, bytes)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn structured_events_come_back(event in event()) {
        let parts = structured_parts(&event, None);
        prop_assert_eq!(parts.size(), structured_len(&event, None));
        let whole = parts.to_bytes();
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&whole).is_ok());
        prop_assert_eq!(decode_structured(&whole), Ok(event));
    }

    #[test]
    fn binary_events_come_back(event in event()) {
        let mut headers = vec![("ce-specversion".to_owned(), "1.0".to_owned())];
        for attr in event.attrs() {
            match attr.name {
                "datacontenttype" => headers.push(("content-type".to_owned(), attr.value.to_owned())),
                name => headers.push((format!("ce-{name}"), encode_header_value(attr.value).into_owned())),
            }
        }
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let again = decode_binary(headers, event.data().clone()).expect("valid");
        let pairs = |event: &Event| event.attrs().map(|attr| (attr.name.to_owned(), attr.value.to_owned())).collect::<Vec<_>>();
        prop_assert_eq!(pairs(&again), pairs(&event));
        prop_assert_eq!(again.data(), event.data());
        prop_assert_eq!(again.data_kind(), if event.data().is_empty() { DataKind::None } else { event.data_kind() });
    }

    #[test]
    fn header_values_come_back(value in any::<String>()) {
        let header = encode_header_value(&value);
        prop_assert!(header.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
        let decoded = decode_header_value(header.as_bytes()).expect("valid");
        prop_assert_eq!(&*decoded, value.as_str());
    }

    #[test]
    fn times_are_judged_like_jiff(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-9]):[0-5][0-9])") {
        let year: u32 = text[..4].parse().expect("digits");
        prop_assume!((1..9999).contains(&year));
        prop_assert_eq!(posthorn_domain::cloudevents::is_rfc3339(&text), text.parse::<jiff::Timestamp>().is_ok() && &text[11..13] != "24");
    }
}
