//! Who gets a record that was read back from the log. Its data is parsed once for all lagging lanes that ask, not once for each.

use std::sync::Arc;

use foldhash::HashMap;
use posthorn_domain::record::{Record, Stored};

use crate::route::{SubscriptionRoute, Table, TopicRoute, look};

/// Records whose answer is remembered; twice this just before the older half is let go.
const MAX_RECORDS: usize = 2048;
/// Slots that are remembered, over all records; likewise.
const MAX_SLOTS: usize = 1 << 18;
/// An event that more subscriptions want is asked about one by one.
const MAX_WANTED: usize = 4096;

/// What the index said of records read lately, for one version of the table.
#[derive(Default)]
pub(super) struct Decided {
    generation: u64,
    newer: HashMap<(u32, u64), Slots>,
    older: HashMap<(u32, u64), Slots>,
    /// Slots in `newer`.
    slots: usize,
}

/// Who wants a record, in rising order; none when they are too many.
type Slots = Option<Arc<[u32]>>;

/// Appends the slots of all that want the record.
pub(super) fn route(table: &Table, topic: &TopicRoute, record: &Record, slots: &mut Vec<u32>) {
    look(&topic.topic.name, record, table.index.reads_data(), |view| table.matches(view, slots));
}

impl Decided {
    /// Whether the subscription wants this record of partition `part`.
    pub(super) fn wants(
        &mut self,
        subscription: &SubscriptionRoute,
        table: &Table,
        topic: &TopicRoute,
        part: u32,
        stored: &Stored,
    ) -> bool {
        let reads_data = subscription.filters.reads_data();
        let shared = subscription.slot().filter(|_| reads_data).and_then(|slot| Some((slot, self.slots(table, topic, part, stored)?)));
        match shared {
            Some((slot, slots)) => slots.binary_search(&slot).is_ok(),
            None => look(&topic.topic.name, &stored.record, reads_data, |view| subscription.matches(view)),
        }
    }

    fn slots(&mut self, table: &Table, topic: &TopicRoute, part: u32, stored: &Stored) -> Slots {
        if self.generation != table.generation {
            *self = Self { generation: table.generation, ..Self::default() };
        }
        let key = (part, stored.offset);
        if let Some(slots) = self.newer.get(&key).or_else(|| self.older.get(&key)) {
            return slots.clone();
        }
        let mut slots = Vec::new();
        route(table, topic, &stored.record, &mut slots);
        let slots: Slots = (slots.len() <= MAX_WANTED).then(|| slots.into());
        if self.newer.len() >= MAX_RECORDS || self.slots >= MAX_SLOTS {
            self.older = std::mem::take(&mut self.newer);
            self.slots = 0;
        }
        self.slots += slots.as_ref().map_or(0, |slots| slots.len());
        self.newer.insert(key, slots.clone());
        slots
    }
}
