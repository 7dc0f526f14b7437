//! A subscription in little room: as text without what is the default, its commonest words a byte each. Most of those that a control
//! plane or a node holds are seldom looked at, and there may be a hundred thousand. Both keep it in this form on the disk too (sealed), so
//! that they start without reading it.
//!
//! ```text
//! packed = form u8 (2) · usual u8 · revision, revision - incarnation, made at, changed at - made at: numbers
//!        · length of filters: number · filters · the rest
//! ```
//! `usual` is 1 when the subscription is active and pushed, else 0. Filters and rest are JSON as [`super::words`] shortens it; numbers have
//! seven bits a byte, lowest first. The defaults that the JSON leaves out, and the words, are those of the form. When one changes, what was
//! packed before must not change with it: then there has to be another form. Form 1, in which all was plain JSON, is still read
//! ([`super::plain`]).

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use zeroize::{Zeroize as _, Zeroizing};

use super::quick::Text;
use super::short::Short;
use super::{Mention, Meta, Mode, Status, Subscription, WrittenFilters, plain, words};
use crate::ids::SubscriptionId;
use crate::time::Time;

/// The subscription, secrets included; wiped with its last clone. Cloning shares it.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed(Arc<[u8]>);

/// Told apart from JSON, which begins with a brace.
const FORM: u8 = 2;

/// What a node has to know of a subscription that rests.
#[derive(Clone, Debug, PartialEq)]
pub struct Glance {
    /// What it wants.
    pub filters: WrittenFilters,
    /// Whether it delivers.
    pub status: Status,
    /// How.
    pub mode: Mode,
}

#[derive(Default, Deserialize)]
struct State {
    status: Option<Status>,
    mode: Option<Mode>,
}

/// What it is made of.
struct Parts<'a> {
    usual: bool,
    meta: Meta,
    filters: &'a [u8],
    rest: &'a [u8],
}

impl Packed {
    /// Packs it.
    pub fn of(subscription: &Subscription) -> Self {
        let Subscription { spec, meta, .. } = subscription;
        let rest =
            Zeroizing::new(serde_json::to_vec(&Short::of(subscription)).expect("resources have string keys and finite numbers only"));
        let filters = if spec.filters == WrittenFilters::default() { "" } else { spec.filters.as_str() };
        Self::assemble(is_usual(spec.status, spec.mode), *meta, filters, &rest)
    }

    /// Of the JSON of its filters, if it has any, and of the rest.
    pub(super) fn assemble(usual: bool, meta: Meta, filters: &str, rest: &[u8]) -> Self {
        let [mut short, mut short_rest] =
            [Zeroizing::new(Vec::with_capacity(filters.len())), Zeroizing::new(Vec::with_capacity(rest.len()))];
        words::shorten(filters.as_bytes(), &mut short);
        words::shorten(rest, &mut short_rest);
        Self::written(&Parts { usual, meta, filters: &short, rest: &short_rest })
    }

    fn written(&Parts { usual, meta, filters, rest }: &Parts<'_>) -> Self {
        let Meta { revision, incarnation, created_at, updated_at } = meta;
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 + filters.len() + rest.len()));
        bytes.extend([FORM, u8::from(usual)]);
        let since = updated_at.millis().wrapping_sub(created_at.millis());
        let numbers = [revision, revision.wrapping_sub(incarnation), created_at.millis(), since, filters.len() as u64];
        numbers.into_iter().for_each(|number| put_number(&mut bytes, number));
        bytes.extend_from_slice(filters);
        bytes.extend_from_slice(rest);
        Self(bytes.as_slice().into())
    }

    /// From [`Packed::as_bytes`], wherever they were kept; none when they are something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if let Some(packed) = plain::read(bytes) {
            return Some(packed);
        }
        Parts::of(bytes).map(|_| Self(bytes.into()))
    }

    /// To be kept where secrets may be.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The subscription `id` that was packed.
    ///
    /// # Panics
    /// Never: what [`Packed::of`] wrote can be read.
    pub fn read(&self, id: SubscriptionId) -> Subscription {
        let Parts { meta, filters, rest, .. } = self.parts();
        let rest = words::expand(rest);
        let text: Text<'_> = serde_json::from_slice(&rest).expect("it is as it was packed");
        let status_reason = text.status_reason();
        let mut spec = text.spec().expect("it is as it was packed");
        spec.filters = read_filters(filters);
        Subscription { id, spec, status_reason, meta }
    }

    /// What there is to see without reading all; and the same without filters, for those who know what they mean.
    ///
    /// # Panics
    /// As [`Packed::read`].
    pub fn parted(&self) -> (Glance, Self) {
        let Parts { usual, meta, filters, rest } = self.parts();
        let State { status, mode } =
            if usual { State::default() } else { serde_json::from_slice(&words::expand(rest)).expect("it is as it was packed") };
        let glance = Glance { filters: read_filters(filters), status: status.unwrap_or(Status::Active), mode: mode.unwrap_or_default() };
        (glance, Self::written(&Parts { usual, meta, filters: &[], rest }))
    }

    /// Its revision and times.
    pub fn meta(&self) -> Meta {
        self.parts().meta
    }

    /// Whether the text stands anywhere in it: a cheap way to pass over most, when only those that say it are looked for.
    pub fn mentions(&self, wanted: &Mention) -> bool {
        let Parts { filters, rest, .. } = self.parts();
        [filters, rest].iter().any(|part| wanted.is_in(part))
    }

    fn parts(&self) -> Parts<'_> {
        Parts::of(&self.0).expect("it is as it was packed")
    }
}

impl<'a> Parts<'a> {
    fn of(packed: &'a [u8]) -> Option<Self> {
        let (&[FORM, usual], mut rest) = packed.split_first_chunk::<2>()? else { return None };
        let mut number = || take_number(&mut rest);
        let (revision, before, created, since, length) = (number()?, number()?, number()?, number()?, number()?);
        let (filters, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let meta = Meta {
            revision,
            incarnation: revision.wrapping_sub(before),
            created_at: Time::from_millis(created),
            updated_at: Time::from_millis(created.wrapping_add(since)),
        };
        Some(Self { usual: usual != 0, meta, filters, rest })
    }
}

/// Whether it is active and pushed, as most are.
pub(super) fn is_usual(status: Status, mode: Mode) -> bool {
    (status, mode) == (Status::Active, Mode::default())
}

fn read_filters(short: &[u8]) -> WrittenFilters {
    if short.is_empty() {
        return WrittenFilters::default();
    }
    WrittenFilters::kept(std::str::from_utf8(&words::expand(short)).expect("it is as it was packed"))
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

impl Drop for Packed {
    fn drop(&mut self) {
        if let Some(bytes) = Arc::get_mut(&mut self.0) {
            bytes.zeroize();
        }
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a subscription of revision {}", self.meta().revision)
    }
}
