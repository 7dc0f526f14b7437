//! Signatures that are made once for several subscriptions: those of one shard that have a key and a body in common (I5). A key that
//! one subscription has for itself passes by here without a trace.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::{Arc, Weak as ArcWeak};

use bytes::Bytes;
use foldhash::HashMap;
use posthorn_domain::record::Stored;
use posthorn_domain::signing::SigningKey;
use smallvec::SmallVec;

/// Signatures that are kept, at most twice as many for a moment.
const KEPT: usize = 1024;

/// The signatures of a shard.
#[derive(Default)]
pub(super) struct Signatures {
    keys: RefCell<HashMap<[u8; 32], Weak<u64>>>,
    next: Cell<u64>,
    recent: RefCell<Recent>,
}

/// A key, as subscriptions that have it in common see it: alone while nobody else holds it.
pub(super) type Mark = Rc<u64>;
/// The marks of a subscription's keys.
pub(super) type Marks = SmallVec<[Mark; 1]>;

/// What is signed.
pub(super) struct Signed<'a> {
    pub(super) message: &'a str,
    pub(super) seconds: u64,
    pub(super) body: &'a [Bytes],
    /// The record that the body is made of; `None` when others will not have it.
    pub(super) stored: Option<&'a Arc<Stored>>,
    /// How the body is made of the record: as JSON with its attributes, or as its data.
    pub(super) structured: bool,
}

/// Two generations: when the young one is full it becomes the old one.
#[derive(Default)]
struct Recent {
    young: HashMap<Place, Made>,
    old: HashMap<Place, Made>,
}

/// The number of the key, the address of the record, and how the body is made of it.
type Place = (u64, usize, bool);

struct Made {
    /// Keeps the record's address from being given to another one, though not the record's data in memory.
    _record: ArcWeak<Stored>,
    message: Box<str>,
    seconds: u64,
    entry: Box<str>,
}

impl Signatures {
    /// The marks of these keys.
    pub(super) fn marks<'a>(&self, keys: impl Iterator<Item = &'a SigningKey>) -> Marks {
        keys.map(|key| self.mark(key.fingerprint())).collect()
    }

    /// Appends an entry for each key, with one space between.
    pub(super) fn sign_into<'a>(&self, keys: impl Iterator<Item = (&'a SigningKey, &'a Mark)>, signed: &Signed<'_>, out: &mut String) {
        for (index, (key, mark)) in keys.enumerate() {
            if index > 0 {
                out.push(' ');
            }
            match signed.stored.filter(|_| Rc::strong_count(mark) > 1) {
                Some(stored) => self.share(key, mark, signed, stored, out),
                None => key.sign_into(signed.message, signed.seconds, signed.body, out),
            }
        }
    }

    fn mark(&self, fingerprint: [u8; 32]) -> Mark {
        let mut keys = self.keys.borrow_mut();
        if let Some(mark) = keys.get(&fingerprint).and_then(Weak::upgrade) {
            return mark;
        }
        if keys.len() == keys.capacity() {
            keys.retain(|_, mark| mark.strong_count() > 0);
        }
        let mark = Rc::new(self.next.replace(self.next.get() + 1));
        keys.insert(fingerprint, Rc::downgrade(&mark));
        mark
    }

    fn share(&self, key: &SigningKey, mark: &Mark, signed: &Signed<'_>, stored: &Arc<Stored>, out: &mut String) {
        let place = (**mark, Arc::as_ptr(stored) as usize, signed.structured);
        let mut recent = self.recent.borrow_mut();
        if let Some(made) = recent.find(&place).filter(|made| made.seconds == signed.seconds && *made.message == *signed.message) {
            return out.push_str(&made.entry);
        }
        let start = out.len();
        key.sign_into(signed.message, signed.seconds, signed.body, out);
        recent.put(
            place,
            Made { _record: Arc::downgrade(stored), message: signed.message.into(), seconds: signed.seconds, entry: out[start..].into() },
        );
    }
}

impl Recent {
    fn find(&self, place: &Place) -> Option<&Made> {
        self.young.get(place).or_else(|| self.old.get(place))
    }

    fn put(&mut self, place: Place, made: Made) {
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(place, made);
    }
}

#[cfg(test)]
mod tests {
    use posthorn_domain::event::{DataKind, EventBuilder};
    use posthorn_domain::qos::{DeadLetter, Durability};
    use posthorn_domain::record::Record;
    use posthorn_domain::signing::{generate_ed25519, generate_hmac, signature_header};
    use posthorn_domain::time::Time;

    use super::*;

    fn stored(data: &'static str) -> Arc<Stored> {
        let event = EventBuilder::new("1", "/a", "b").with_data(DataKind::Json, data.into());
        let record = Record {
            event,
            publisher: "".into(),
            idempotency_key: None,
            accepted_at: Time::ZERO,
            expires_at: None,
            durability: Durability::Log,
            dead_letter: DeadLetter::Allow,
            direction: posthorn_domain::direction::Direction::Incoming,
        };
        Arc::new(Stored::new(0, record, None))
    }

    fn sign(signatures: &Signatures, keys: &[(&SigningKey, &Mark)], stored: &Arc<Stored>, message: &str, seconds: u64) {
        let body = [stored.record.event.data().clone()];
        for structured in [false, true] {
            let mut out = String::new();
            let signed = Signed { message, seconds, body: &body, stored: Some(stored), structured };
            signatures.sign_into(keys.iter().copied(), &signed, &mut out);
            assert_eq!(out, signature_header(keys.iter().map(|(key, _)| *key), message, seconds, &body));
        }
    }

    #[test]
    fn a_shared_signature_is_the_one_that_would_have_been_made() {
        let signatures = Signatures::default();
        let (one, two): (SigningKey, SigningKey) = (generate_ed25519().0.parse().unwrap(), generate_hmac().parse().unwrap());
        let marks = signatures.marks([&one, &two].into_iter());
        let others = signatures.marks([&one, &two].into_iter());
        assert!(Rc::ptr_eq(&marks[0], &others[0]) && !Rc::ptr_eq(&marks[0], &marks[1]));
        let keys = [(&one, &marks[0]), (&two, &marks[1])];
        let (first, same_id) = (stored("1"), stored("2"));
        for _ in 0..2 {
            for seconds in [10, 10, 11] {
                sign(&signatures, &keys, &first, "msg_1", seconds);
                sign(&signatures, &keys, &same_id, "msg_1", seconds);
                sign(&signatures, &keys, &first, "msg_2", seconds);
            }
        }
        // Each of the two records, in two forms, by each of the two keys.
        assert_eq!(signatures.recent.borrow().young.len(), 8);
    }

    #[test]
    fn a_key_of_its_own_is_not_looked_up() {
        let signatures = Signatures::default();
        let key: SigningKey = generate_hmac().parse().unwrap();
        let marks = signatures.marks([&key].into_iter());
        sign(&signatures, &[(&key, &marks[0])], &stored("1"), "msg_1", 10);
        assert!(signatures.recent.borrow().young.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded_and_an_address_is_not_used_twice() {
        let signatures = Signatures::default();
        let key: SigningKey = generate_hmac().parse().unwrap();
        let [mine, _theirs] = [signatures.marks([&key].into_iter()), signatures.marks([&key].into_iter())];
        for number in 0..5 * KEPT {
            // Dropped at once: without the weak pointer the next one would get the same address.
            sign(&signatures, &[(&key, &mine[0])], &stored(if number % 2 == 0 { "1" } else { "2" }), "msg_1", 10);
        }
        let recent = signatures.recent.borrow();
        assert!(recent.young.len() <= KEPT && recent.old.len() <= KEPT);
    }
}
