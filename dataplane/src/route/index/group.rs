//! Subscriptions that have equal filters.

use std::sync::Arc;

use imbl::OrdSet;

use super::filters::Filters;

/// So many slots are one array, which a change copies.
const FEW: usize = 32;

/// A group.
#[derive(Clone, Default)]
pub(super) struct Group {
    /// What they demand; none while the number is not in use.
    pub(super) filters: Option<Arc<Filters>>,
    pub(super) slots: Slots,
}

/// Who they are, in rising order.
#[derive(Clone, Default)]
pub(super) enum Slots {
    #[default]
    None,
    One(u32),
    Few(Arc<[u32]>),
    Many(OrdSet<u32>),
}

impl Slots {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(super) fn append_to(&self, out: &mut Vec<u32>) {
        match self {
            Self::None => {}
            Self::One(slot) => out.push(*slot),
            Self::Few(slots) => out.extend_from_slice(slots),
            Self::Many(slots) => out.extend(slots),
        }
    }

    pub(super) fn insert(&mut self, slot: u32) {
        if let Self::Many(slots) = self {
            slots.insert(slot);
            return;
        }
        let mut all = self.to_vec();
        if let Err(at) = all.binary_search(&slot) {
            all.insert(at, slot);
        }
        *self = Self::of(all);
    }

    pub(super) fn remove(&mut self, slot: u32) {
        if let Self::Many(slots) = self {
            slots.remove(&slot);
            // A little room between the forms, so that one subscription that comes and goes does not change it each time.
            if slots.len() > FEW / 2 {
                return;
            }
        }
        let mut all = self.to_vec();
        all.retain(|known| *known != slot);
        *self = Self::of(all);
    }

    fn to_vec(&self) -> Vec<u32> {
        let mut all = Vec::new();
        self.append_to(&mut all);
        all
    }

    fn of(all: Vec<u32>) -> Self {
        match all[..] {
            [] => Self::None,
            [slot] => Self::One(slot),
            _ if all.len() <= FEW => Self::Few(all.into()),
            _ => Self::Many(all.into_iter().collect()),
        }
    }
}
