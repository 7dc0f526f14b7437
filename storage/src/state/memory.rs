//! The delivery state in memory, with the ways in which a disk forgets: for simulation. The rows are those of the embedded store,
//! byte for byte; what was committed without `sync` may be lost with the power, always the newest of it.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::Mutex;
use posthorn_domain::ids::{DeadLetterId, ReplayId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::time::Time;

use super::tables::{Removes, Row, Table, rows_of};
use super::{
    Batch, DeadLetter, DeadLetterFilter, Loaded, PAGE_BYTES, PAGE_SCAN, Page, ReaderRow, Readers, Retry, RetryId, RetrySource, State,
    StateError, keys, values,
};

/// The store.
#[derive(Default)]
pub struct Memory(Mutex<Inner>);

type Key = (Table, Vec<u8>);
type Rows = BTreeMap<Key, Vec<u8>>;
type Change = Vec<Row>;

#[derive(Default)]
struct Inner {
    rows: Rows,
    /// What is on the disk whatever happens.
    synced: Rows,
    /// Commits since, oldest first.
    unsynced: Vec<Change>,
    refusal: Option<String>,
    /// A write was refused, and the store says so until one succeeds.
    stopped: bool,
}

impl Memory {
    /// From now on every write is refused for this reason; with none, writes are taken again.
    pub fn refuse(&self, why: Option<&str>) {
        self.0.lock().refusal = why.map(str::to_owned);
    }

    /// What a new process finds after this one was killed: everything.
    pub fn after_kill(&self) -> Self {
        let rows = self.0.lock().rows.clone();
        Self(Mutex::new(Inner { synced: rows.clone(), rows, ..Inner::default() }))
    }

    /// What a new process finds after the power was lost, when of the commits that were not synced, of whose number `keep` is told,
    /// only so many of the oldest had reached the disk.
    pub fn after_power_loss(&self, keep: impl FnOnce(usize) -> usize) -> Self {
        let inner = self.0.lock();
        let mut rows = inner.synced.clone();
        inner.unsynced.iter().take(keep(inner.unsynced.len())).for_each(|change| apply(&mut rows, change));
        Self(Mutex::new(Inner { synced: rows.clone(), rows, ..Inner::default() }))
    }

    fn write(&self, change: Change, sync: bool) -> Result<(), StateError> {
        let mut inner = self.0.lock();
        if let Some(why) = inner.refusal.clone() {
            inner.stopped = true;
            return Err(StateError::Stopped(why));
        }
        inner.stopped = false;
        apply(&mut inner.rows, &change);
        if sync {
            inner.synced = inner.rows.clone();
            inner.unsynced.clear();
        } else if !change.is_empty() {
            inner.unsynced.push(change);
        }
        Ok(())
    }

    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().rows.get(&(table, key.to_vec())).cloned()
    }

    /// All rows whose keys start with `prefix`, in order.
    fn scan(&self, table: Table, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let inner = self.0.lock();
        let from = (Bound::Included((table, prefix.to_vec())), Bound::Unbounded);
        let rows = inner.rows.range(from).take_while(|((of, key), _)| *of == table && key.starts_with(prefix));
        rows.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }

    fn letter(&self, id: DeadLetterId) -> Option<DeadLetter> {
        values::read_letter(&Bytes::from(self.get(Table::Letters, &keys::letter(id))?), id)
    }

    fn change_of(&self, batch: Batch) -> Result<Change, StateError> {
        let mut change = Change::new();
        let owner = |id| Ok(self.letter(id).and_then(|letter| letter.subscription));
        for op in batch.into_ops() {
            let (row, index) = rows_of(op, owner)?;
            change.extend(index.into_iter().chain([row]));
        }
        Ok(change)
    }
}

fn apply(rows: &mut Rows, change: &Change) {
    for (key, value) in change {
        match value {
            Some(value) => drop(rows.insert(key.clone(), value.clone())),
            None => drop(rows.remove(key)),
        }
    }
}

impl Removes for Memory {
    fn remove_where(&self, table: Table, prefix: &[u8], picks: impl Fn(&[u8], &[u8]) -> bool) -> Result<u64, StateError> {
        let picked: Change =
            self.scan(table, prefix).into_iter().filter(|(key, value)| picks(key, value)).map(|(key, _)| ((table, key), None)).collect();
        let count = picked.len() as u64;
        self.write(picked, true)?;
        Ok(count)
    }
}

impl State for Memory {
    fn commit(&self, batch: Batch, sync: bool) -> Result<(), StateError> {
        let change = self.change_of(batch)?;
        self.write(change, sync)
    }

    fn load(&self) -> Result<Loaded, StateError> {
        let mut loaded = Loaded::default();
        for (key, value) in self.scan(Table::Positions, &[]) {
            let integers = || values::read_integers(&value);
            match key.first() {
                Some(&keys::BASE) => loaded.bases.extend(integers().and_then(|list| keys::read_base(&key, *list.first()?))),
                Some(&keys::LANE) => loaded.lanes.extend(keys::read_lane(&key).and_then(|lane| values::read_lane(&value, lane))),
                Some(&keys::START) => loaded.starts.extend(integers().and_then(|offsets| keys::read_start(&key, offsets))),
                Some(&keys::HEALTH) => loaded.health.extend(keys::read_health(&key).and_then(|id| values::read_health(&value, id))),
                Some(&keys::REPLAY) => loaded.replays.extend(keys::read_replay(&key).and_then(|ids| values::read_replay(&value, ids))),
                Some(&keys::GONE) => loaded.gone.extend(keys::read_gone(&key)),
                _ => loaded.clean |= key == keys::CLEAN,
            }
        }
        Ok(loaded)
    }

    fn retries(&self, subscription: SubscriptionId, after: Option<RetryId>, limit: usize) -> Result<Vec<Retry>, StateError> {
        let after = after.map(|after| keys::retry(&after));
        let rows = self.scan(Table::Retries, subscription.as_bytes()).into_iter();
        let rows = rows.filter(|(key, _)| after.as_ref().is_none_or(|after| key > after)).take(limit);
        Ok(rows.filter_map(|(key, value)| values::read_retry(&value, keys::read_retry(&key)?)).collect())
    }

    fn remove_subscription(&self, subscription: SubscriptionId) -> Result<u64, StateError> {
        self.remove_rows_of_subscription(subscription)
    }

    fn remove_replay(&self, subscription: SubscriptionId, replay: ReplayId) -> Result<u64, StateError> {
        self.remove_rows_of_replay(subscription, replay)
    }

    fn remove_waiting(&self, subscription: SubscriptionId, from: &[(TopicName, u32, u64)]) -> Result<u64, StateError> {
        self.remove_rows_of_waiting(subscription, from)
    }

    fn remove_topic(&self, topic: &TopicName) -> Result<u64, StateError> {
        self.remove_rows_of_topic(topic)
    }

    fn first_due_per_subscription(&self) -> Result<Vec<(SubscriptionId, Time)>, StateError> {
        let ids = self.scan(Table::Retries, &[]).into_iter().filter_map(|(key, _)| keys::read_retry(&key));
        let mut firsts: Vec<(SubscriptionId, Time)> = ids.map(|id| (id.subscription, id.due)).collect();
        firsts.dedup_by_key(|(subscription, _)| *subscription);
        Ok(firsts)
    }

    fn least_waiting(&self, subscription: SubscriptionId, topic: &TopicName, partition: u32) -> Result<Option<u64>, StateError> {
        let waiting = self.retries(subscription, None, usize::MAX)?.into_iter().filter_map(|retry| match retry.source {
            RetrySource::Log { topic: of, partition: at, offset, .. } if of == *topic && at == partition => Some(offset),
            _ => None,
        });
        Ok(waiting.min())
    }

    fn readers(&self) -> Result<Readers, StateError> {
        let mut found = Readers::default();
        for (key, value) in self.scan(Table::Readers, &[]) {
            if key.first() == Some(&keys::CURSOR) {
                let next = values::read_integers(&value).and_then(|list| list.first().copied());
                found.cursors.extend(next.and_then(|next| keys::read_cursor(&key, next)));
            } else {
                let row = keys::read_reader(&key).zip(values::read_text(&value));
                found.readers.extend(row.map(|(name, document)| ReaderRow { name, document }));
            }
        }
        Ok(found)
    }

    fn dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StateError> {
        Ok(self.letter(id))
    }

    fn dead_letters(&self, filter: &DeadLetterFilter, after: Option<DeadLetterId>, limit: usize) -> Result<Page, StateError> {
        let prefix = filter.subscription.map_or(vec![keys::LETTER], |id| keys::of_subscription(keys::LETTER_OF, id));
        let ids = self.scan(Table::Letters, &prefix).into_iter().rev().filter_map(|(key, _)| keys::read_letter(&key));
        let (mut page, mut bytes) = (Page::default(), 0);
        for (scanned, id) in ids.filter(|id| after.is_none_or(|after| *id < after)).enumerate() {
            if page.items.len() >= limit.max(1) || scanned >= PAGE_SCAN || bytes >= PAGE_BYTES {
                return Ok(page);
            }
            page.next = Some(id);
            if let Some(letter) = self.letter(id).filter(|letter| filter.matches(letter)) {
                bytes += letter.record.len() + letter.detail.len();
                page.items.push(letter);
            }
        }
        page.next = None;
        Ok(page)
    }

    fn delete_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StateError> {
        let letters = self.scan(Table::Letters, &[keys::LETTER]).into_iter().filter_map(|(key, _)| self.letter(keys::read_letter(&key)?));
        self.delete_all(letters.filter(|letter| filter.matches(letter)).map(|letter| letter.id).collect())
    }

    fn sweep_dead_letters(&self, before: Time, limit: usize) -> Result<usize, StateError> {
        // An id starts with 48 bits of milliseconds.
        let end = before.millis().min((1 << 48) - 1).to_be_bytes();
        let ids = self.scan(Table::Letters, &[keys::LETTER]).into_iter().filter_map(|(key, _)| keys::read_letter(&key));
        let old: Vec<_> = ids.take_while(|id| id.as_bytes()[..6] < end[2..]).take(limit).collect();
        self.delete_all(old).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn health(&self) -> Result<(), StateError> {
        if self.0.lock().stopped { Err(StateError::Stopped("a write was refused".into())) } else { Ok(()) }
    }

    fn unreadable(&self) -> u64 {
        0
    }
}

impl Memory {
    fn delete_all(&self, ids: Vec<DeadLetterId>) -> Result<u64, StateError> {
        let mut batch = Batch::new();
        ids.iter().for_each(|id| {
            batch.delete_dead_letter(*id);
        });
        self.commit(batch, false)?;
        Ok(ids.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::behaviour::{self, base};

    #[test]
    fn it_behaves() {
        behaviour::all(|| (Memory::default(), ()));
    }

    #[test]
    fn a_kill_loses_nothing_and_a_power_loss_the_newest_that_was_not_synced() {
        let store = Memory::default();
        for (offset, sync) in [(1, false), (2, true), (3, false), (4, false)] {
            let mut batch = Batch::new();
            batch.put_base(base("orders", offset));
            store.commit(batch, sync).expect("taken");
        }
        let found = |store: Memory| store.load().expect("readable").bases;
        assert_eq!(found(store.after_kill()), [base("orders", 4)]);
        assert_eq!(found(store.after_power_loss(|unsynced| unsynced - 1)), [base("orders", 3)]);
        assert_eq!(found(store.after_power_loss(|_| 0)), [base("orders", 2)]);
    }

    #[test]
    fn refusals_end() {
        let store = Memory::default();
        store.refuse(Some("full"));
        assert!(store.commit(Batch::new(), true).is_err() && store.health().is_err());
        store.refuse(None);
        assert!(store.commit(Batch::new(), true).is_ok() && store.health().is_ok());
    }
}
