//! Builds the request of an attempt (interfaces §5). What is the same for all requests of a subscription is made once.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use posthorn_domain::cloudevents::{BATCH_TYPE, encode_header_value, structured_parts};
use posthorn_domain::event::Event;
use posthorn_domain::hops::{DELIVERY_HEADER, HOPS, HOPS_HEADER};
use posthorn_domain::ids::{DeliveryId, MessageId};
use posthorn_domain::position::Position;
use posthorn_domain::record::Stored;
use posthorn_domain::resource::{Auth, Format};
use posthorn_domain::signing::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use posthorn_domain::time::Time;
use smallvec::SmallVec;

use super::shard::Context;
use super::signatures::{Marks, Signatures, Signed};
use crate::egress::{Head, Pieces, Target};
use crate::route::SubscriptionRoute;

const AGENT: &str = concat!("posthorn/", env!("CARGO_PKG_VERSION"));

/// The part of a subscription's requests that never changes.
pub(super) struct Template {
    format: Format,
    base: Head,
    /// Of the route's keys, in their order.
    marks: Marks,
}

/// What one request says beside its events.
pub(super) struct Envelope<'a> {
    /// The event's id, or the batch's.
    pub message: MessageId,
    /// The delivery; of a batch, the first.
    pub delivery: DeliveryId,
    /// 1, 2, 3…
    pub attempt: u32,
    /// Whether it is a replay.
    pub replay: bool,
    /// The one event, where others may send it too.
    pub stored: Option<&'a Arc<Stored>>,
    /// Where it stands, if it is in a log.
    pub position: Option<Position>,
}

impl Template {
    /// Prepares what the requests of `route` to `target` share.
    pub(super) fn new(route: &SubscriptionRoute, target: &Target, signatures: &Signatures) -> Self {
        let endpoint = &route.subscription().spec.endpoint;
        let mut base = Head::new(target);
        base.push("user-agent", AGENT);
        let is_credential = |name: &str| !endpoint.auth.is_empty() && name.eq_ignore_ascii_case("authorization");
        for (name, value) in endpoint.headers.iter().filter(|(name, _)| !is_credential(name)) {
            base.push(name, value);
        }
        if let Some(Auth::Basic { username, password }) = endpoint.auth.last() {
            let credentials = BASE64_STANDARD.encode(format!("{username}:{}", password.expose()));
            base.push("authorization", &format!("Basic {credentials}"));
        }
        match endpoint.format {
            Format::Structured => base.push("content-type", "application/cloudevents+json; charset=utf-8"),
            Format::Batch => base.push("content-type", BATCH_TYPE),
            Format::Binary | Format::Data => {}
        }
        Self { format: endpoint.format, base, marks: signatures.marks(route.keys().iter().map(|(key, _)| key)) }
    }

    /// The request that carries `events`: its head, in memory of the pool, and its body, signed at `now`. `route` is the one that the
    /// template was made of.
    pub(super) fn build(
        &self,
        context: &Context,
        route: &SubscriptionRoute,
        envelope: &Envelope<'_>,
        events: &[&Event],
        now: Time,
    ) -> (Head, Pieces) {
        let mut head = context.pool.head(&self.base);
        let body = self.body(events);
        if let ([event], Format::Binary | Format::Data) = (events, self.format) {
            match envelope.stored {
                Some(stored) if self.format == Format::Binary => head.push_lines(stored.lines(|| binary_lines(event))),
                _ => event_headers(event, self.format, &mut head),
            }
        }
        let mut room = [0; 40];
        let message = envelope.message.write_to(&mut room);
        let seconds = now.unix_seconds();
        let keys = route.keys().iter().zip(&self.marks).filter(|((_, until), _)| until.is_none_or(|until| until > now));
        let keys = keys.map(|((key, _), mark)| (key, mark));
        let place = envelope
            .stored
            .filter(|_| self.format != Format::Batch)
            .and_then(|stored| Some((envelope.position?, stored.record.accepted_at)));
        let signed = Signed { id: envelope.message, message, seconds, body: &body, place, structured: self.format == Format::Structured };
        head.push_with(ID_HEADER, |text| text.push_str(message));
        head.push_with(TIMESTAMP_HEADER, |text| number(text, seconds));
        head.push_with(SIGNATURE_HEADER, |text| context.signatures.sign_into(keys, &signed, text));
        head.push_with(DELIVERY_HEADER, |text| text.push_str(envelope.delivery.write_to(&mut [0; 40])));
        head.push_with("posthorn-attempt", |text| number(text, u64::from(envelope.attempt)));
        if envelope.replay {
            head.push_with("posthorn-replay", |text| text.push_str("true"));
        }
        (head, body)
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

fn binary_lines(event: &Event) -> String {
    let mut lines = Head::empty();
    event_headers(event, Format::Binary, &mut lines);
    lines.into_text()
}

/// Content type, and in binary mode every other attribute (CloudEvents HTTP binding §3.1).
fn event_headers(event: &Event, format: Format, head: &mut Head) {
    if let Some(content_type) = event.get("datacontenttype") {
        head.push("content-type", content_type);
    }
    if format == Format::Data {
        if let Some(hops) = event.get(HOPS) {
            head.push(HOPS_HEADER, hops);
        }
        return;
    }
    head.push_with("ce-specversion", |text| text.push_str("1.0"));
    for attr in event.attrs().filter(|attr| attr.name != "datacontenttype") {
        head.push_prefixed("ce-", attr.name, &encode_header_value(attr.value));
    }
}

fn number(text: &mut String, number: u64) {
    write!(text, "{number}").expect("memory takes all that is written to it");
}
