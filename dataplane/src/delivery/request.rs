//! Builds the request of an attempt (interfaces §5). What is the same for all requests of a subscription is made once.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use posthorn_domain::cloudevents::{BATCH_TYPE, encode_header_value, structured_parts};
use posthorn_domain::event::Event;
use posthorn_domain::hops::{DELIVERY_HEADER, HOPS, HOPS_HEADER};
use posthorn_domain::ids::{DeliveryId, MessageId};
use posthorn_domain::resource::{Auth, Endpoint, Format};
use posthorn_domain::signing::signature_header;
use posthorn_domain::time::Time;
use smallvec::SmallVec;

use crate::egress::Pieces;
use crate::route::SubscriptionRoute;

static AGENT: HeaderValue = HeaderValue::from_static(concat!("posthorn/", env!("CARGO_PKG_VERSION")));
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const DELIVERY: HeaderName = HeaderName::from_static(DELIVERY_HEADER);
const ATTEMPT: HeaderName = HeaderName::from_static("posthorn-attempt");
const REPLAY: HeaderName = HeaderName::from_static("posthorn-replay");
const SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");

/// The part of a subscription's requests that never changes.
pub(super) struct Template {
    format: Format,
    headers: HeaderMap,
}

/// What one request says beside its events.
pub(super) struct Envelope {
    /// The event's id, or the batch's.
    pub message: MessageId,
    /// The delivery; of a batch, the first.
    pub delivery: DeliveryId,
    /// 1, 2, 3…
    pub attempt: u32,
    /// Whether it is a replay.
    pub replay: bool,
}

impl Template {
    /// Prepares what the endpoint's requests share.
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        let mut headers = HeaderMap::with_capacity(24);
        headers.insert(USER_AGENT, AGENT.clone());
        for (name, value) in &endpoint.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.append(name, value);
            }
        }
        for auth in &endpoint.auth {
            let Auth::Basic { username, password } = auth;
            let credentials = BASE64_STANDARD.encode(format!("{username}:{}", password.expose()));
            if let Ok(mut value) = HeaderValue::try_from(format!("Basic {credentials}")) {
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
        }
        match endpoint.format {
            Format::Structured => headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json; charset=utf-8")),
            Format::Batch => headers.insert(CONTENT_TYPE, HeaderValue::from_static(BATCH_TYPE)),
            Format::Binary | Format::Data => None,
        };
        Self { format: endpoint.format, headers }
    }

    /// The request that carries `events`: its headers and its body, signed at `now`.
    pub(super) fn build(&self, route: &SubscriptionRoute, envelope: &Envelope, events: &[&Event], now: Time) -> (HeaderMap, Pieces) {
        let mut headers = self.headers.clone();
        let body = self.body(events);
        if let ([event], Format::Binary | Format::Data) = (events, self.format) {
            event_headers(event, self.format, &mut headers);
        }
        let message = envelope.message.to_string();
        let seconds = now.unix_seconds();
        let keys = route.keys.iter().filter(|(_, until)| until.is_none_or(|until| until > now)).map(|(key, _)| key);
        let signature = signature_header(keys, &message, seconds, &body);
        headers.insert(WEBHOOK_ID, ascii(message));
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(seconds));
        headers.insert(WEBHOOK_SIGNATURE, ascii(signature));
        headers.insert(DELIVERY, ascii(envelope.delivery.to_string()));
        headers.insert(ATTEMPT, HeaderValue::from(envelope.attempt));
        if envelope.replay {
            headers.insert(REPLAY, HeaderValue::from_static("true"));
        }
        (headers, body)
    }

    fn body(&self, events: &[&Event]) -> Pieces {
        match self.format {
            Format::Binary | Format::Data => events.iter().map(|event| event.data().clone()).collect(),
            Format::Structured => events.iter().flat_map(|event| structured(event)).collect(),
            Format::Batch => {
                let mut pieces = Pieces::new();
                for (n, event) in events.iter().enumerate() {
                    pieces.push(Bytes::from_static(if n == 0 { b"[" } else { b"," }));
                    pieces.extend(structured(event));
                }
                pieces.push(Bytes::from_static(b"]"));
                pieces
            }
        }
    }
}

fn structured(event: &Event) -> SmallVec<[Bytes; 3]> {
    let parts = structured_parts(event, None);
    SmallVec::from_buf([parts.head, parts.data, parts.tail])
}

/// Content type, and in binary mode every other attribute (CloudEvents HTTP binding §3.1).
fn event_headers(event: &Event, format: Format, headers: &mut HeaderMap) {
    if let Some(Ok(value)) = event.get("datacontenttype").map(HeaderValue::try_from) {
        headers.insert(CONTENT_TYPE, value);
    }
    if format == Format::Data {
        if let Some(Ok(hops)) = event.get(HOPS).map(HeaderValue::try_from) {
            headers.insert(HeaderName::from_static(HOPS_HEADER), hops);
        }
        return;
    }
    headers.insert(SPECVERSION, HeaderValue::from_static("1.0"));
    for attr in event.attrs().filter(|attr| attr.name != "datacontenttype") {
        let mut name = [0u8; 260];
        name[..3].copy_from_slice(b"ce-");
        let Some(place) = name.get_mut(3..3 + attr.name.len()) else { continue };
        place.copy_from_slice(attr.name.as_bytes());
        let name = HeaderName::from_bytes(&name[..3 + attr.name.len()]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(encode_header_value(attr.value).as_ref())) {
            headers.insert(name, value);
        }
    }
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("ids and signatures are visible ASCII")
}
