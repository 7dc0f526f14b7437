//! What must hold for any bytes at all. Called by the fuzz target, by the tests with seeded mutations, and by benchmarks, which have
//! no other way to a frame by itself.

use bytes::Bytes;
use posthorn_domain::record::Record;

use super::frame::{self, FRAME_HEAD, Head, SEGMENT_HEAD, SegmentHead};

/// Reads the bytes as a segment, as one frame, as a frame's body and as a frame whose checksums are not looked at. Panics when a
/// reader does, or when records that were read are others after they were written and read again.
pub fn frame(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    match SegmentHead::decode(&bytes) {
        Some(head) => frames(bytes.slice(SEGMENT_HEAD..), head.salt),
        None => frames(bytes.clone(), 0),
    }
    body(&bytes);
    if bytes.len() > FRAME_HEAD {
        body(&bytes.slice(FRAME_HEAD..));
    }
}

/// Appends one frame of the first of these records (of all, unless they are larger than a frame) to `out`; gives how many it holds.
pub fn encode(out: &mut Vec<u8>, records: &[Record]) -> u32 {
    frame::encode(out, records.iter(), 1, 7).count
}

/// The records of one frame that [`encode`] made, checksums looked at, as slices of `bytes`; `None` when it is none.
pub fn decode(bytes: &Bytes) -> Option<Vec<Record>> {
    let head = Head::decode(bytes, 7)?;
    let body = bytes.slice(FRAME_HEAD..head.len());
    head.holds(&body).then(|| frame::records(&body, head.count))?
}

fn frames(mut rest: Bytes, salt: u64) {
    while let Some(head) = Head::decode(&rest, salt) {
        assert!(head.end() > head.base && head.len() > head.body);
        if rest.len() < head.len() || !head.holds(&rest[FRAME_HEAD..head.len()]) {
            return;
        }
        round_trip(&rest.slice(FRAME_HEAD..head.len()), head.count);
        rest = rest.slice(head.len()..);
    }
}

/// The bytes as a body of as many records as its lengths say.
fn body(bytes: &Bytes) {
    let (mut at, mut count) = (0usize, 0);
    while let Some(len) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        at = at.saturating_add(4).saturating_add(u32::from_le_bytes(*len) as usize);
        count += 1;
    }
    round_trip(bytes, count);
    round_trip(bytes, count + 1);
}

fn round_trip(body: &Bytes, count: u32) {
    let Some(records) = frame::records(body, count) else { return };
    assert_eq!(records.len(), count as usize);
    let (mut written, mut at) = (Vec::new(), 0);
    while at < records.len() {
        let start = written.len();
        let head = frame::encode(&mut written, records[at..].iter(), at as u64, 7);
        assert_eq!(Head::decode(&written[start..], 7), Some(head));
        let body = Bytes::copy_from_slice(&written[start + FRAME_HEAD..]);
        assert!(head.holds(&body) && head.len() == written.len() - start);
        let end = at + head.count as usize;
        assert_eq!(frame::records(&body, head.count).as_deref(), Some(&records[at..end]));
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use posthorn_domain::direction::Direction;
    use posthorn_domain::event::{AttrKind, DataKind, EventBuilder};
    use posthorn_domain::qos::{DeadLetter, Durability};
    use posthorn_domain::record::Record;
    use posthorn_domain::time::Time;
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn records()(some in prop::collection::vec(record(), 1..20)) -> Vec<Record> { some }
    }

    prop_compose! {
        fn record()(
            id in ".{1,20}", subject in ".{1,20}", data in prop::collection::vec(any::<u8>(), 0..400), accepted in 0..=Time::MAX.millis(),
            expires in prop::option::of(1..=Time::MAX.millis()), key in prop::option::of("[a-z]{0,9}"), publisher in "[a-z]{0,9}", pick in 0..6usize,
        ) -> Record {
            let mut event = EventBuilder::new(&id, "/source", "a.type");
            event.push("subject", AttrKind::String, &subject);
            Record {
                event: event.with_data([DataKind::Json, DataKind::Binary][pick % 2], data.into()),
                publisher: publisher.into(),
                idempotency_key: key.map(Into::into),
                accepted_at: Time::from_millis(accepted),
                expires_at: expires.map(Time::from_millis),
                durability: [Durability::None, Durability::Log, Durability::Sync][pick % 3],
                dead_letter: [DeadLetter::Allow, DeadLetter::Never][pick % 2],
                direction: [Direction::Incoming, Direction::Outgoing][pick / 3],
            }
        }
    }

    proptest! {
        #[test]
        fn frames_read_back(records in records(), base in 0..u64::MAX / 2, salt in any::<u64>()) {
            let mut out = b"before".to_vec();
            let head = frame::encode(&mut out, records.iter(), base, salt);
            let bytes = Bytes::from(out).slice(6..);
            prop_assert_eq!(Head::decode(&bytes, salt), Some(head));
            prop_assert_eq!((head.len(), head.base, head.count as usize), (bytes.len(), base, records.len()));
            let times = records.iter().map(|record| record.accepted_at);
            prop_assert_eq!((Some(head.first), Some(head.last)), (times.clone().min(), times.max()));
            let body = bytes.slice(FRAME_HEAD..);
            prop_assert!(head.holds(&body));
            prop_assert_eq!(frame::records(&body, head.count), Some(records));
        }

        #[test]
        fn one_changed_byte_breaks_the_frame(records in records(), salt in any::<u64>(), place in any::<prop::sample::Index>(), bits in 1..=u8::MAX) {
            let mut out = Vec::new();
            frame::encode(&mut out, records.iter(), 3, salt);
            let place = place.index(out.len());
            out[place] ^= bits;
            let whole = Head::decode(&out, salt).is_some_and(|head| head.holds(&out[FRAME_HEAD..]));
            prop_assert!(!whole, "byte {place}");
        }

        #[test]
        fn another_salt_is_another_log(records in records(), salt in any::<u64>(), bit in 0..64) {
            let mut out = Vec::new();
            frame::encode(&mut out, records.iter(), 3, salt);
            prop_assert_eq!(Head::decode(&out, salt ^ (1u64 << bit)), None);
        }
    }
}
