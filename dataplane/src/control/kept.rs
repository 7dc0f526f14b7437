//! What the snapshot's file says, resource by resource. Pure.
//!
//! ```text
//! page = flags u8 · revision u64 LE · text(control plane's id) · rows
//! row  = text(key) · what u8 · what there is of text(good), text(bad), text(reason)
//! text = length u32 LE · bytes
//! ```
//! Resources are written as the JSON that they travel as, or packed ([`Packed`]). Later rows of a key go on from earlier ones: a good
//! version ends what was bad, a bad one leaves the good one as it is (I8).

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;

use posthorn_domain::resource::{Packed, Subscription};
use posthorn_domain::snapshot::{Delta, Kind, Resource, ResourceKey};
use zeroize::Zeroizing;

use super::held::{Change, Step};
use crate::route;

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
    pages: Vec<Page>,
    places: Vec<Place>,
}

type Page = Arc<Zeroizing<Vec<u8>>>;

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

/// A version in force, out of a page that is let go of with the last of these.
pub struct Good {
    page: Page,
    key: Range<usize>,
    version: Range<usize>,
}

/// Where a row begins; never with the page.
#[derive(Clone, Copy, Debug)]
struct At {
    page: u32,
    byte: NonZeroU32,
}

/// In which row each part of a resource is.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    good: Option<At>,
    bad: Option<At>,
    reason: Option<At>,
}

impl Kept {
    /// What these pages say; none when they are not what [`Pages`] makes.
    pub(super) fn of(pages: Vec<Zeroizing<Vec<u8>>>) -> Option<Self> {
        let (mut revision, mut identity) = (0, String::new());
        let mut rows = Vec::new();
        for (number, page) in (0..).zip(&pages) {
            let mut reader = Reader { page, at: 1 };
            revision = reader.number()?;
            identity = std::str::from_utf8(&page[reader.text()?]).ok()?.to_owned();
            while reader.at < page.len() {
                rows.push(At { page: number, byte: u32::try_from(reader.at).ok().and_then(NonZeroU32::new)? });
                reader.row()?;
            }
        }
        let read = |at: &At| read_row(&pages[at.page as usize], *at);
        // What was written later stays later.
        rows.sort_by(|a, b| read(a).key.cmp(read(b).key));
        let of_one_key = || rows.chunk_by(|a, b| read(a).key == read(b).key);
        let mut places = Vec::with_capacity(of_one_key().count());
        places.extend(of_one_key().filter_map(|rows| Place::of(rows, read)));
        Some(Self { revision, control_plane_id: identity, pages: pages.into_iter().map(Arc::new).collect(), places })
    }

    /// The resources by key.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let read = |at: At| read_row(&self.pages[at.page as usize], at);
        self.places.iter().map(move |place| {
            let [good, bad, reason] = [place.good, place.bad, place.reason].map(|at| at.map(read));
            let key = good.or(reason).unwrap_or_default().key;
            Row {
                key,
                good: good.and_then(|row| row.good),
                bad: bad.and_then(|row| row.bad),
                reason: reason.and_then(|row| row.reason),
                gone: false,
            }
        })
    }

    /// The versions in force, by key. Pages are let go of on the way, when none of those to come is in them.
    pub fn into_good(self) -> impl Iterator<Item = Good> + Send {
        let Self { mut pages, places, .. } = self;
        let mut left = vec![0_u32; pages.len()];
        places.iter().filter_map(|place| place.good).for_each(|at| left[at.page as usize] += 1);
        places.into_iter().filter_map(move |place| {
            let At { page: number, byte } = place.good?;
            let number = number as usize;
            left[number] -= 1;
            let page = if left[number] == 0 { std::mem::take(&mut pages[number]) } else { Arc::clone(&pages[number]) };
            let (key, _, [version, ..]) = Reader { page: &page, at: byte.get() as usize }.parts()?;
            Some(Good { key, version: version?, page })
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

impl route::Kept for Good {
    fn key(&self) -> &str {
        std::str::from_utf8(&self.page[self.key.clone()]).unwrap_or_default()
    }

    fn version(&self) -> &[u8] {
        &self.page[self.version.clone()]
    }
}

impl Place {
    /// What these rows of one resource come to, one after the other; none when it is gone.
    fn of<'a>(rows: &[At], read: impl Fn(&At) -> Row<'a>) -> Option<Self> {
        let mut place = Self::default();
        for at in rows {
            let Row { good, bad, reason, gone, .. } = read(at);
            if gone {
                place = Self::default();
            }
            let at = |there: bool| there.then_some(*at);
            match (good, reason) {
                (None, None) => {}
                (None, Some(_)) => place = Self { bad: at(bad.is_some()).or(place.bad), reason: at(true), ..place },
                (Some(_), _) => place = Self { good: at(true), bad: at(bad.is_some()), reason: at(reason.is_some()) },
            }
        }
        (place.good.is_some() || place.reason.is_some()).then_some(place)
    }
}

/// A row of a page whose rows have all been read before.
fn read_row(page: &[u8], at: At) -> Row<'_> {
    Reader { page, at: at.byte.get() as usize }.row().unwrap_or_default()
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

/// Where a row's key is, what there is of it, and where: the good version, the bad one, and why.
type Parts = (Range<usize>, u8, [Option<Range<usize>>; 3]);

struct Reader<'a> {
    page: &'a [u8],
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

    fn text(&mut self) -> Option<Range<usize>> {
        let from = self.at + 4;
        let length = u32::from_le_bytes(self.page.get(self.at..from)?.try_into().ok()?);
        self.at = from.checked_add(usize::try_from(length).ok()?).filter(|to| *to <= self.page.len())?;
        Some(from..self.at)
    }

    fn parts(&mut self) -> Option<Parts> {
        let key = self.text()?;
        let what = self.byte()?;
        let mut part = |bit| if what & bit == 0 { Some(None) } else { self.text().map(Some) };
        Some((key, what, [part(GOOD)?, part(BAD)?, part(REASON)?]))
    }

    fn row(&mut self) -> Option<Row<'a>> {
        let (key, what, [good, bad, reason]) = self.parts()?;
        let bytes = |range: Range<usize>| &self.page[range];
        // Text that is shown must be text.
        let reason = reason.map_or(Some(None), |reason| std::str::from_utf8(bytes(reason)).ok().map(Some))?;
        let key = std::str::from_utf8(bytes(key)).ok()?;
        Some(Row { key, good: good.map(bytes), bad: bad.map(bytes), reason, gone: what & GONE != 0 })
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
