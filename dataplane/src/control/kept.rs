//! What the snapshot's file says, resource by resource. Pure.
//!
//! ```text
//! page = flags u8 · revision u64 LE · text(control plane's id) · rows
//! row  = text(key) · what u8 · what there is of text(good), text(bad), text(reason)
//! text = length u32 LE · bytes
//! ```
//! Resources are written as the JSON that they travel as, or packed ([`Packed`]). Later rows of a key go on from earlier ones: a good
//! version ends what was bad, a bad one leaves the good one as it is (I8).

use std::collections::HashMap;
use std::sync::Arc;

use posthorn_domain::resource::{Packed, Subscription};
use posthorn_domain::snapshot::{Delta, Kind, Resource, ResourceKey};
use zeroize::Zeroizing;

use super::held::{Change, Step};

/// A page is begun anew after about so many bytes; it holds at least one row.
const PAGE_BYTES: usize = 1 << 20;

/// The page belongs to the whole that the file begins with.
pub(super) const WHOLE: u8 = 1;
/// The last page of a step, or of the whole. Pages that have no last one are left out.
pub(super) const LAST: u8 = 2;

const GONE: u8 = 1;
const GOOD: u8 = 2;
const BAD: u8 = 4;
const REASON: u8 = 8;

/// What a node kept of its last snapshot: in force are the good versions of all resources.
#[derive(Debug, Default)]
pub struct Kept {
    /// The revision.
    pub revision: u64,
    /// Whose revisions these are.
    pub control_plane_id: String,
    pages: Vec<Zeroizing<Vec<u8>>>,
    places: Vec<Place>,
}

/// One resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its key.
    pub key: &'a str,
    /// The version in force.
    pub good: Option<&'a [u8]>,
    /// A later one that could not be used.
    pub bad: Option<&'a [u8]>,
    /// Why.
    pub reason: Option<&'a str>,
    /// What earlier rows say counts no more.
    pub(super) gone: bool,
}

/// Where a text stands.
#[derive(Clone, Copy, Debug)]
struct Span {
    page: u32,
    from: u32,
    to: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    key: Span,
    good: Option<Span>,
    bad: Option<Span>,
    reason: Option<Span>,
}

impl Kept {
    /// What these pages say; none when they are not what [`Pages`] makes.
    pub(super) fn of(pages: Vec<Zeroizing<Vec<u8>>>) -> Option<Self> {
        let (mut revision, mut identity) = (0, String::new());
        let mut found: HashMap<&[u8], Place, foldhash::fast::RandomState> = HashMap::default();
        for (number, page) in pages.iter().enumerate() {
            let mut reader = Reader { page, number: u32::try_from(number).ok()?, at: 1 };
            revision = reader.number()?;
            identity = reader.text().and_then(|span| reader.str(span))?.to_owned();
            while reader.at < page.len() {
                let key = reader.text()?;
                let what = reader.byte()?;
                let mut part = |bit| if what & bit == 0 { Some(None) } else { reader.text().map(Some) };
                let (good, bad, reason) = (part(GOOD)?, part(BAD)?, part(REASON)?);
                // Text that is shown must be text.
                reader.str(key)?;
                reason.map_or(Some(""), |reason| reader.str(reason))?;
                let name = &page[key.from as usize..key.to as usize];
                if what & GONE != 0 {
                    found.remove(name);
                }
                if good.is_none() && reason.is_none() {
                    continue;
                }
                let place = found.entry(name).or_insert(Place { key, good: None, bad: None, reason: None });
                match good {
                    Some(_) => *place = Place { key, good, bad, reason },
                    None => (place.bad, place.reason) = (bad.or(place.bad), reason),
                }
            }
        }
        let mut rows: Vec<(&[u8], Place)> = found.into_iter().collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        let places = rows.into_iter().map(|(_, place)| place).collect();
        Some(Self { revision, control_plane_id: identity, pages, places })
    }

    /// The resources by key.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let bytes = |span: Span| &self.pages[span.page as usize][span.from as usize..span.to as usize];
        let text = move |span| std::str::from_utf8(bytes(span)).unwrap_or_default();
        self.places.iter().map(move |place| Row {
            key: text(place.key),
            good: place.good.map(bytes),
            bad: place.bad.map(bytes),
            reason: place.reason.map(text),
            gone: false,
        })
    }

    /// The good versions, as a change from nothing. What cannot be read is left out.
    pub fn delta(&self) -> Delta {
        self.delta_of(|row| row.good)
    }

    /// What could not be used, to be tried again.
    pub(super) fn bad(&self) -> Delta {
        self.delta_of(|row| row.bad)
    }

    fn delta_of(&self, version: impl for<'a> Fn(&Row<'a>) -> Option<&'a [u8]>) -> Delta {
        let read = |row: Row<'_>| Some((ResourceKey::from_text(row.key), read(row.key, version(&row)?)?));
        Delta { revision: self.revision, changed: self.rows().filter_map(read).collect(), removed: Vec::new() }
    }
}

/// A version of a resource as it is written down.
pub(super) type Written = Arc<[u8]>;

/// Writes a version of a resource down, in as little room as can be.
pub(super) fn written(key: &ResourceKey, resource: &Resource) -> Written {
    let json = Zeroizing::new(serde_json::to_vec(resource).expect("resources have string keys and finite numbers only"));
    let subscription = Some(&json).filter(|_| key.kind() == Some(Kind::Subscription)).and_then(|json| Subscription::quick(json));
    let packed = subscription.filter(|subscription| ResourceKey::subscription(subscription.id) == *key);
    packed.map_or_else(|| json.as_slice().into(), |subscription| Packed::of(&subscription).as_bytes().into())
}

fn read(key: &str, written: &[u8]) -> Option<Resource> {
    match (Packed::from_bytes(written), key.strip_prefix("subscriptions/")) {
        (Some(packed), Some(id)) => Some(Resource::of_subscription(&packed.read(id.parse().ok()?))),
        _ => serde_json::from_slice(written).ok(),
    }
}

struct Reader<'a> {
    page: &'a [u8],
    number: u32,
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.at += 1;
        self.page.get(self.at - 1).copied()
    }

    fn number(&mut self) -> Option<u64> {
        self.at += 8;
        Some(u64::from_le_bytes(self.page.get(self.at - 8..self.at)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<Span> {
        let from = self.at + 4;
        let length = u32::from_le_bytes(self.page.get(self.at..from)?.try_into().ok()?);
        self.at = from.checked_add(usize::try_from(length).ok()?).filter(|to| *to <= self.page.len())?;
        Some(Span { page: self.number, from: u32::try_from(from).ok()?, to: u32::try_from(self.at).ok()? })
    }

    fn str(&self, span: Span) -> Option<&'a str> {
        std::str::from_utf8(&self.page[span.from as usize..span.to as usize]).ok()
    }
}

/// Makes pages of rows and gives each away as soon as it is full.
pub(super) struct Pages<'a, E, F: FnMut(&[u8]) -> Result<(), E>> {
    flags: u8,
    revision: u64,
    control_plane_id: &'a str,
    page: Zeroizing<Vec<u8>>,
    give: F,
}

impl<'a, E, F: FnMut(&[u8]) -> Result<(), E>> Pages<'a, E, F> {
    /// Pages of a step, or of the `whole`.
    pub(super) fn new(whole: bool, revision: u64, control_plane_id: &'a str, give: F) -> Self {
        let flags = if whole { WHOLE } else { 0 };
        Self { flags, revision, control_plane_id, page: Zeroizing::default(), give }
    }

    /// Adds a row.
    pub(super) fn add(&mut self, row: &Row<'_>) -> Result<(), E> {
        if self.page.len() > PAGE_BYTES {
            self.turn(self.flags)?;
        }
        self.begin();
        let bit = |there: bool, bit| if there { bit } else { 0 };
        text(&mut self.page, row.key.as_bytes());
        let parts = bit(row.good.is_some(), GOOD) | bit(row.bad.is_some(), BAD) | bit(row.reason.is_some(), REASON);
        self.page.push(parts | bit(row.gone, GONE));
        [row.good, row.bad, row.reason.map(str::as_bytes)].into_iter().flatten().for_each(|part| text(&mut self.page, part));
        Ok(())
    }

    /// Adds what a step says of a resource.
    pub(super) fn add_change(&mut self, key: &ResourceKey, change: &Change) -> Result<(), E> {
        let Change { gone, good, bad, reason } = change;
        self.add(&Row { key: key.as_str(), good: good.as_deref(), bad: bad.as_deref(), reason: reason.as_deref(), gone: *gone })
    }

    /// Gives the last page away, though it be empty.
    pub(super) fn end(mut self) -> Result<(), E> {
        self.begin();
        self.turn(self.flags | LAST)
    }

    fn begin(&mut self) {
        if self.page.is_empty() {
            self.page.push(0);
            self.page.extend_from_slice(&self.revision.to_le_bytes());
            text(&mut self.page, self.control_plane_id.as_bytes());
        }
    }

    fn turn(&mut self, flags: u8) -> Result<(), E> {
        self.page[0] = flags;
        (self.give)(&self.page)?;
        self.page.clear();
        Ok(())
    }
}

fn text(page: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).expect("a resource came in one message");
    page.extend_from_slice(&length.to_le_bytes());
    page.extend_from_slice(text);
}

/// Pages that say what a step says, for what is not in a file of this form.
pub(super) fn pages_of(step: &Step) -> Vec<Zeroizing<Vec<u8>>> {
    let mut all = Vec::new();
    let mut pages = Pages::new(true, step.revision, &step.control_plane_id, |page: &[u8]| {
        all.push(Zeroizing::new(page.to_vec()));
        Ok::<(), std::convert::Infallible>(())
    });
    let done = step.rows.iter().try_for_each(|(key, change)| pages.add_change(key, change)).and_then(|()| pages.end());
    match done {
        Ok(()) => all,
    }
}
