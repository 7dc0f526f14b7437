//! Signatures that are made once for several subscriptions: those of one shard that have a key and a body in common (I5). A key that
//! one subscription has for itself passes by here without a trace.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bytes::Bytes;
use foldhash::HashMap;
use posthorn_domain::ids::MessageId;
use posthorn_domain::position::Position;
use posthorn_domain::signing::SigningKey;
use posthorn_domain::time::Time;
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
    pub(super) id: MessageId,
    /// The same as text.
    pub(super) message: &'a str,
    pub(super) seconds: u64,
    pub(super) body: &'a [Bytes],
    /// Where the record stands that the body is made of, and when it was taken in; `None` when others will not have it.
    pub(super) place: Option<(Position, Time)>,
    /// How the body is made of the record: as JSON with its attributes, or as its data.
    pub(super) structured: bool,
}

/// Two generations: when the young one is full it becomes the old one.
#[derive(Default)]
struct Recent {
    young: HashMap<Subject, Made>,
    old: HashMap<Subject, Made>,
}

/// The number of the key, the message, and how the body is made.
type Subject = (u64, MessageId, bool);

struct Made {
    /// An id may come again with other data, at another place or in a later topic of that name.
    place: (Position, Time),
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
            match signed.place.filter(|_| Rc::strong_count(mark) > 1) {
                Some(place) => self.share(key, mark, signed, place, out),
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

    fn share(&self, key: &SigningKey, mark: &Mark, signed: &Signed<'_>, place: (Position, Time), out: &mut String) {
        let subject = (**mark, signed.id, signed.structured);
        let mut recent = self.recent.borrow_mut();
        if let Some(made) = recent.find(&subject).filter(|made| made.seconds == signed.seconds && made.place == place) {
            return out.push_str(&made.entry);
        }
        let start = out.len();
        key.sign_into(signed.message, signed.seconds, signed.body, out);
        recent.put(subject, Made { place, seconds: signed.seconds, entry: out[start..].into() });
    }
}

impl Recent {
    fn find(&self, subject: &Subject) -> Option<&Made> {
        self.young.get(subject).or_else(|| self.old.get(subject))
    }

    fn put(&mut self, subject: Subject, made: Made) {
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(subject, made);
    }
}

#[cfg(test)]
mod tests {
    use posthorn_domain::signing::{generate_ed25519, generate_hmac, signature_header};

    use super::*;

    type Record = (&'static str, (Position, Time));

    const fn record(data: &'static str, partition: u32, at: u64) -> Record {
        (data, (Position { partition, offset: 7 }, Time::from_millis(at)))
    }

    fn sign(signatures: &Signatures, keys: &[(&SigningKey, &Mark)], (data, place): Record, event: &str, seconds: u64) {
        let body = [Bytes::from_static(data.as_bytes())];
        let id = MessageId::of_event("t", "p", "s", event);
        let message = id.to_string();
        for structured in [false, true] {
            let mut out = String::new();
            let signed = Signed { id, message: &message, seconds, body: &body, place: Some(place), structured };
            signatures.sign_into(keys.iter().copied(), &signed, &mut out);
            assert_eq!(out, signature_header(keys.iter().map(|(key, _)| *key), &message, seconds, &body));
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
        let (first, elsewhere, later) = (record("1", 0, 1), record("2", 1, 1), record("3", 0, 2));
        for _ in 0..2 {
            for seconds in [10, 10, 11] {
                for record in [first, elsewhere, later] {
                    sign(&signatures, &keys, record, "1", seconds);
                }
                sign(&signatures, &keys, first, "2", seconds);
            }
        }
        // Each of the two messages, in two forms, by each of the two keys.
        assert_eq!(signatures.recent.borrow().young.len(), 8);
    }

    #[test]
    fn a_key_of_its_own_is_not_looked_up() {
        let signatures = Signatures::default();
        let key: SigningKey = generate_hmac().parse().unwrap();
        let marks = signatures.marks([&key].into_iter());
        sign(&signatures, &[(&key, &marks[0])], record("1", 0, 1), "1", 10);
        assert!(signatures.recent.borrow().young.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let signatures = Signatures::default();
        let key: SigningKey = generate_hmac().parse().unwrap();
        let [mine, _theirs] = [signatures.marks([&key].into_iter()), signatures.marks([&key].into_iter())];
        for number in 0..5 * KEPT {
            sign(&signatures, &[(&key, &mine[0])], record("1", 0, 1), &number.to_string(), 10);
        }
        let recent = signatures.recent.borrow();
        assert!(recent.young.len() <= KEPT && recent.old.len() <= KEPT);
    }
}
