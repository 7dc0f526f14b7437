//! By which of its necessary conditions a list of filters can be found.

use std::hash::BuildHasher as _;
use std::ops::Bound;
use std::sync::{Arc, LazyLock};

use foldhash::HashMap;
use posthorn_domain::filter::{Literal, Number, Place, Test};
use smallvec::{SmallVec, smallvec};

use super::filters::Filters;

/// More conditions of one list are not looked at.
const MAX_HOOKS: usize = 16;
/// A list that one of more values satisfies is found otherwise.
const MAX_VALUES: usize = 16;

/// A place that events are asked for, and its hash.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) place: Place,
    pub(super) hash: u64,
}

/// How a value is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// By the whole text.
    Text,
    /// By the number.
    Number,
    /// `null`, `true`, `false`.
    Word,
    /// By its first bytes, so many.
    Prefix(u16),
    /// By its last bytes, so many.
    Suffix(u16),
    /// By being there.
    Exists,
    /// On the line of numbers, from below.
    Low,
    /// On the line of numbers, from above.
    High,
}

/// A condition under which a list of filters can be filed.
pub(super) struct Hook {
    pub(super) spot: Arc<Spot>,
    /// What the event may have there; one is enough.
    pub(super) ends: SmallVec<[End; 1]>,
    /// Whether nothing is known of how many events fit.
    pub(super) vague: bool,
}

/// Where one possibility is filed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// Under the hash of a value.
    Key(Kind, u64),
    /// On the line of numbers.
    Line(Kind, Number),
}

impl End {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Key(kind, _) | Self::Line(kind, _) => kind,
        }
    }
}

/// Places, each once.
#[derive(Default)]
pub(super) struct Spots {
    known: HashMap<Place, Arc<Spot>>,
    /// When to look for places that nobody uses any more.
    sweep_at: usize,
}

static HASHER: LazyLock<foldhash::fast::RandomState> = LazyLock::new(Default::default);

/// The hash of a value of this kind at a place.
pub(super) fn hash(spot: &Spot, kind: Kind, value: impl std::hash::Hash) -> u64 {
    HASHER.hash_one((spot.hash, kind, value))
}

/// The key of a value in one node of the tree.
pub(super) fn key(hash: u64, node: u32) -> u32 {
    let mixed = (hash ^ u64::from(node).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed >> 32) as u32
}

impl Spots {
    /// The hooks of a list; always the same ones in the same order.
    pub(super) fn hooks(&mut self, filters: &Filters) -> Vec<Hook> {
        let mut hooks = Vec::new();
        for atom in filters.iter().flat_map(|filter| filter.atoms()) {
            let spot = self.spot(atom.place);
            hook(&spot, atom.test, &mut hooks);
            if hooks.len() >= MAX_HOOKS {
                hooks.truncate(MAX_HOOKS);
                break;
            }
        }
        hooks
    }

    fn spot(&mut self, place: Place) -> Arc<Spot> {
        if let Some(spot) = self.known.get(&place) {
            return Arc::clone(spot);
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, spot| Arc::strong_count(spot) > 1);
            self.sweep_at = (self.known.len() * 2).max(64);
        }
        let hash = HASHER.hash_one(&place);
        let spot = Arc::new(Spot { place: place.clone(), hash });
        self.known.insert(place, Arc::clone(&spot));
        spot
    }
}

fn hook(spot: &Arc<Spot>, test: Test, hooks: &mut Vec<Hook>) {
    let mut add = |ends, vague| hooks.push(Hook { spot: Arc::clone(spot), ends, vague });
    match test {
        Test::Equals(literal) => add(smallvec![equals(spot, &literal)], false),
        Test::OneOf(literals) => {
            let mut ends: SmallVec<[End; 1]> = literals.iter().map(|literal| equals(spot, literal)).collect();
            ends.sort_unstable();
            ends.dedup();
            if ends.len() <= MAX_VALUES {
                add(ends, false);
            }
        }
        Test::Prefix(text) => {
            let Ok(length) = u16::try_from(text.len()) else { return };
            let kind = Kind::Prefix(length);
            add(smallvec![End::Key(kind, hash(spot, kind, text.as_bytes()))], false);
        }
        Test::Suffix(text) => {
            let Ok(length) = u16::try_from(text.len()) else { return };
            let kind = Kind::Suffix(length);
            add(smallvec![End::Key(kind, hash(spot, kind, text.as_bytes()))], false);
        }
        Test::Range(low, high) => {
            let number = |bound| match bound {
                Bound::Included(number) | Bound::Excluded(number) => Some(number),
                Bound::Unbounded => None,
            };
            if let Some(low) = number(low) {
                add(smallvec![End::Line(Kind::Low, low)], true);
            }
            if let Some(high) = number(high) {
                add(smallvec![End::Line(Kind::High, high)], true);
            }
        }
        Test::Exists => add(smallvec![End::Key(Kind::Exists, hash(spot, Kind::Exists, ()))], true),
    }
}

fn equals(spot: &Spot, literal: &Literal) -> End {
    let (kind, hash) = match literal {
        Literal::Text(text) => (Kind::Text, hash(spot, Kind::Text, text.as_bytes())),
        Literal::Number(number) => (Kind::Number, hash(spot, Kind::Number, number)),
        Literal::Null => (Kind::Word, hash(spot, Kind::Word, None::<bool>)),
        Literal::Bool(value) => (Kind::Word, hash(spot, Kind::Word, Some(*value))),
    };
    End::Key(kind, hash)
}
