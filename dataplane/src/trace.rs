//! Which events are traced, and under which trace: pure, so that accepting and delivering agree without telling each other anything,
//! after a restart and on another node too. The spans are made where the work is (`ingest::traced`, `delivery::traced`).

use posthorn_domain::event::Event;
use posthorn_domain::ids::MessageId;

/// The target of all spans; a filter of the log names it.
pub const TARGET: &str = "posthorn::trace";
/// Characters of what a publisher chose that a span shows.
const SHOWN: usize = 200;

/// Decides by an event's message id. Off by default, which costs one look at a `bool`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampler {
    on: bool,
    /// Message ids of which the first 32 bits are less are sampled.
    below: f64,
    follow: bool,
}

/// The trace of one sampled event.
pub struct Trace {
    /// 32 hexadecimal digits: the publisher's trace, else the message id's.
    pub id: String,
    /// 16 hexadecimal digits: the publisher's span, or empty.
    pub parent: String,
}

/// A valid `traceparent`, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
struct Parent<'a> {
    trace: &'a str,
    span: &'a str,
    sampled: bool,
}

impl Sampler {
    /// Samples this share of all events, 0 to 1; with `follow` also those that the publisher's trace context says are sampled.
    pub fn new(share: f64, follow: bool) -> Self {
        Self { on: share > 0.0 || follow, below: share * 4_294_967_296.0, follow }
    }

    /// Whether any event may be sampled.
    #[inline]
    pub fn is_on(self) -> bool {
        self.on
    }

    /// The event's trace when it is sampled. Without the event, which may be lost, its id alone decides.
    #[cold]
    pub fn trace(self, message: MessageId, event: Option<&Event>) -> Option<Trace> {
        let parent = event.and_then(|event| event.get("traceparent")).and_then(parent);
        let [a, b, c, d, ..] = *message.as_bytes();
        let drawn = f64::from(u32::from_be_bytes([a, b, c, d])) < self.below;
        let asked = self.follow && parent.as_ref().is_some_and(|parent| parent.sampled);
        (drawn || asked).then(|| match parent {
            Some(parent) => Trace { id: parent.trace.to_owned(), parent: parent.span.to_owned() },
            None => Trace { id: message.to_string().split_off(MessageId::PREFIX.len()), parent: String::new() },
        })
    }
}

/// The beginning of a text, as a span shows it.
pub fn shown(text: &str) -> &str {
    text.char_indices().nth(SHOWN).map_or(text, |(end, _)| &text[..end])
}

/// W3C Trace Context: lower-case hexadecimal, no ids of zeros, version `ff` never, more than 55 characters only in later versions.
fn parent(text: &str) -> Option<Parent<'_>> {
    let head = text.get(..55)?;
    let mut parts = head.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let longer = text.len() > 55 && (version == "00" || text.as_bytes()[55] != b'-');
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let zeros = |part: &str| part.bytes().all(|byte| byte == b'0');
    let fits = parts.next().is_none() && hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    if longer || !fits || version == "ff" || zeros(trace) || zeros(span) {
        return None;
    }
    Some(Parent { trace, span, sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1 })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use posthorn_domain::event::{AttrKind, DataKind, EventBuilder};

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn id(n: u32) -> MessageId {
        MessageId::of_event("t", "p", "/s", &n.to_string())
    }

    fn event(traceparent: &str) -> Event {
        let mut builder = EventBuilder::new("1", "/s", "t");
        builder.push("traceparent", AttrKind::String, traceparent);
        builder.with_data(DataKind::Json, Bytes::from_static(b"{}"))
    }

    #[test]
    fn about_the_share_is_sampled_and_always_the_same() {
        let sampled = |share| (0..10_000).filter(|n| Sampler::new(share, false).trace(id(*n), None).is_some()).collect::<Vec<_>>();
        assert!(sampled(0.0).is_empty() && !Sampler::new(0.0, false).is_on());
        assert_eq!(sampled(1.0).len(), 10_000);
        let tenth = sampled(0.1);
        assert!((850..1150).contains(&tenth.len()), "{}", tenth.len());
        assert_eq!(tenth, sampled(0.1));
        // Who samples more samples those too.
        let half = sampled(0.5);
        assert!(tenth.iter().all(|n| half.contains(n)));
    }

    #[test]
    fn the_publishers_trace_is_joined_and_its_flag_followed_where_allowed() {
        let (yes, no) = (event(&format!("00-{TRACE}-00f067aa0ba902b7-01")), event(&format!("00-{TRACE}-00f067aa0ba902b7-00")));
        let trace = Sampler::new(1.0, false).trace(id(1), Some(&no)).unwrap();
        assert_eq!((trace.id.as_str(), trace.parent.as_str()), (TRACE, "00f067aa0ba902b7"));
        assert!(Sampler::new(0.0, true).trace(id(1), Some(&yes)).is_some());
        assert!(Sampler::new(0.0, true).trace(id(1), Some(&no)).is_none());
        assert!(Sampler::new(0.0, false).trace(id(1), Some(&yes)).is_none());
        let own = Sampler::new(1.0, false).trace(id(1), None).unwrap();
        assert_eq!((format!("msg_{}", own.id), own.parent.as_str()), (id(1).to_string(), ""));
    }

    #[test]
    fn what_is_no_traceparent_is_passed_over() {
        let good = format!("00-{TRACE}-00f067aa0ba902b7-03");
        assert_eq!(parent(&good), Some(Parent { trace: TRACE, span: "00f067aa0ba902b7", sampled: true }));
        assert!(parent(&format!("01-{TRACE}-00f067aa0ba902b7-00-more")).is_some_and(|parent| !parent.sampled));
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            good.to_uppercase(),
            format!("{good}-more"),
            format!("01-{TRACE}-00f067aa0ba902b7-00.more"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{zeros}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}-00f067aa0ba902b-101"),
            good[..54].to_owned(),
            format!("{}é", &good[..54]),
        ] {
            assert_eq!(parent(&bad), None, "{bad}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shown("short"), "short");
        assert_eq!(shown(&"é".repeat(300)), "é".repeat(200));
    }
}
