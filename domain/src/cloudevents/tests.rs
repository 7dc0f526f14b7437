use super::*;

#[test]
fn content_types_choose_the_mode() {
    for (content_type, wanted) in [
        (None, Mode::Binary),
        (Some("application/json"), Mode::Binary),
        (Some("application/cloudevents+json"), Mode::Structured),
        (Some("Application/CloudEvents+JSON; charset=\"UTF-8\""), Mode::Structured),
        (Some("application/cloudevents-batch+json;charset=utf-8"), Mode::Batch),
    ] {
        assert_eq!(mode(content_type), Ok(wanted), "{content_type:?}");
    }
    for content_type in [
        "application/cloudevents+avro",
        "application/cloudevents",
        "application/cloudevents-batch",
        "application/cloudevents+json; charset=utf-16",
    ] {
        assert_eq!(mode(Some(content_type)).expect_err(content_type).status(), 415);
    }
}

#[test]
fn plain_json_becomes_an_event() {
    let event = plain_json(Bytes::from_static(b"{\"a\": 1}"), "1", "/publishers/p", "orders");
    assert_eq!((event.id(), event.ty(), event.get("datacontenttype")), ("1", "orders", Some("application/json")));
    assert_eq!((event.data_kind(), &event.data()[..]), (DataKind::Json, &b"{\"a\": 1}"[..]));
    assert_eq!(plain_json(Bytes::new(), "1", "/p", "t").data_kind(), DataKind::None);
}

#[test]
fn media_types_are_told() {
    for text in ["application/json", "text/plain; charset=utf-8", "a/b;", "a/b ; c=\"d;\\\"e\" ; f=g"] {
        assert!(is_media_type(text), "{text}");
    }
    for text in ["", "json", "a/", "/b", "a b/c", "a/b; c", "a/b; c=", "a/b; c=\"d", "a/b c"] {
        assert!(!is_media_type(text), "{text}");
    }
}

#[test]
fn times_are_rfc_3339() {
    for text in [
        "2018-04-26T14:48:09Z",
        "1969-07-20t20:17:40.5z",
        "0000-01-01T00:00:00-23:59",
        "2016-12-31T23:59:60Z",
        "2024-02-29T00:00:00.123456789012+02:00",
    ] {
        assert!(is_rfc3339(text), "{text}");
    }
    for text in [
        "",
        "2018-04-26",
        "2018-04-26 14:48:09Z",
        "2018-04-26T14:48:09",
        "2018-04-26T14:48Z",
        "2018-04-26T24:00:00Z",
        "2018-04-26T14:60:09Z",
        "2018-04-26T14:48:61Z",
        "2018-13-26T14:48:09Z",
        "2018-00-26T14:48:09Z",
        "2018-04-31T14:48:09Z",
        "2023-02-29T14:48:09Z",
        "1900-02-29T14:48:09Z",
        "2018-04-26T14:48:09.Z",
        "2018-04-26T14:48:09+0200",
        "2018-04-26T14:48:09+24:00",
        "2018-04-26T14:48:09ZZ",
        "2018-04-26T14:48:09é",
    ] {
        assert!(!is_rfc3339(text), "{text}");
    }
}
