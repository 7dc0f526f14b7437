//! The delivery state on the local disk, in fjall. Leveled compaction, no key-value separation, no `clear`: see its open bugs.

mod letters;
mod open;
mod readers;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::PersistMode;
use parking_lot::Mutex;
use posthorn_domain::ids::{DeadLetterId, ReplayId, SubscriptionId};
use posthorn_domain::names::TopicName;
use posthorn_domain::time::Time;

use self::open::Slot;
use super::tables::{Removes, Table, rows_of};
use super::{Batch, DeadLetter, DeadLetterFilter, Loaded, Page, Readers, Retry, RetryId, RetrySource, State, StateError, keys, values};
use crate::database::Stop;

const FORMAT: u64 = 1;
/// Rows in one batch of a removal: a bound on memory and on how long other writers wait.
const REMOVAL: usize = 1024;

/// The embedded store. The folder is locked while it is open.
pub struct Embedded {
    slot: Slot,
    stopped: Mutex<Option<Stop>>,
    unreadable: AtomicU64,
}

/// One row to write (`Some`) or delete, by keyspace and key. fjall gives all rows of a batch one sequence number, so a key may stand in it once only.
type Rows = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

impl Embedded {
    /// Opens the store in `folder`, or makes it.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let store = Self { slot: Slot::open(folder)?, stopped: Mutex::new(None), unreadable: AtomicU64::new(0) };
        store.check_format()?;
        Ok(store)
    }

    fn check_format(&self) -> Result<(), StateError> {
        match self.slot.get()?.positions.get(keys::FORMAT).map_err(read_error)? {
            None => self.write(BTreeMap::from([((Table::Positions, keys::FORMAT.to_vec()), Some(FORMAT.to_be_bytes().to_vec()))]), true),
            Some(value) => match <[u8; 8]>::try_from(&value[..]).map(u64::from_be_bytes) {
                Ok(found) if found <= FORMAT => Ok(()),
                Ok(found) => Err(StateError::NewerFormat { found, known: FORMAT }),
                Err(_) => Err(StateError::Store("its format version cannot be read".into())),
            },
        }
    }

    fn write(&self, rows: Rows, sync: bool) -> Result<(), StateError> {
        self.go_on()?;
        let open = self.slot.get()?;
        let mode = if sync { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut batch = open.db.batch().durability(Some(mode));
        for ((table, key), value) in rows {
            match value {
                Some(value) => batch.insert(open.table(table), key, value),
                None => batch.remove(open.table(table), key),
            }
        }
        // fjall's commit of an empty batch does nothing, not even what its durability asks for.
        let written = if batch.is_empty() { open.db.persist(mode) } else { batch.commit() };
        written.map_err(|error| {
            tracing::error!(%error, "the state store failed to write and stops");
            metrics::counter!("posthorn_state_write_failures_total").increment(1);
            *self.stopped.lock() = Some(Stop::after(&error, self.slot.folder()));
            match error {
                fjall::Error::Io(error) => StateError::Io(error),
                other => StateError::Stopped(other.to_string()),
            }
        })
    }

    /// Opens the store anew when a full disk had stopped it and there is room again: what a failed write left is cut off by that.
    fn go_on(&self) -> Result<(), StateError> {
        let mut stopped = self.stopped.lock();
        let Some(stop) = &*stopped else { return Ok(()) };
        if stop.is_over(self.slot.folder()) && self.slot.reopen()? {
            tracing::info!("there is room on the disk again; the state store goes on");
            *stopped = None;
            return Ok(());
        }
        Err(StateError::Stopped(stop.why.clone()))
    }

    /// The row, or a report that it cannot be read.
    fn readable<T>(&self, row: Option<T>, what: &'static str, key: &[u8]) -> Option<T> {
        if row.is_none() {
            self.unreadable.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("posthorn_state_unreadable_rows_total", "kind" => what).increment(1);
            tracing::error!(kind = what, ?key, "a row of the state store cannot be read and is left out");
        }
        row
    }

    fn rows_of(&self, batch: Batch) -> Result<Rows, StateError> {
        let mut rows = Rows::new();
        let owner = |id| Ok(self.letter_by_id(id)?.and_then(|letter| letter.subscription));
        for op in batch.into_ops() {
            let (row, index) = rows_of(op, owner)?;
            rows.extend(index.into_iter().chain([row]));
        }
        Ok(rows)
    }
}

impl Removes for Embedded {
    /// In bounded batches.
    fn remove_where(&self, table: Table, prefix: &[u8], picks: impl Fn(&[u8], &[u8]) -> bool) -> Result<u64, StateError> {
        let (mut removed, mut rows) = (0, Rows::new());
        let open = self.slot.get()?;
        for guard in open.table(table).prefix(prefix) {
            let (key, value) = guard.into_inner().map_err(read_error)?;
            if picks(&key, &value) {
                rows.insert((table, key.to_vec()), None);
                removed += 1;
            }
            if rows.len() >= REMOVAL {
                self.write(std::mem::take(&mut rows), false)?;
            }
        }
        self.write(rows, true)?;
        Ok(removed)
    }
}

impl State for Embedded {
    fn commit(&self, batch: Batch, sync: bool) -> Result<(), StateError> {
        if batch.is_empty() && !sync {
            return self.go_on();
        }
        self.write(self.rows_of(batch)?, sync)
    }

    fn load(&self) -> Result<Loaded, StateError> {
        let mut loaded = Loaded::default();
        let open = self.slot.get()?;
        for guard in open.positions.iter() {
            let (key, value) = guard.into_inner().map_err(read_error)?;
            let integers = || values::read_integers(&value);
            match key.first() {
                Some(&keys::BASE) => {
                    let base = integers().and_then(|list| keys::read_base(&key, *list.first()?));
                    loaded.bases.extend(self.readable(base, "base", &key));
                }
                Some(&keys::LANE) => {
                    let lane = keys::read_lane(&key).and_then(|lane| values::read_lane(&value, lane));
                    loaded.lanes.extend(self.readable(lane, "lane", &key));
                }
                Some(&keys::START) => {
                    let start = integers().and_then(|offsets| keys::read_start(&key, offsets));
                    loaded.starts.extend(self.readable(start, "start", &key));
                }
                Some(&keys::HEALTH) => {
                    let health = keys::read_health(&key).and_then(|id| values::read_health(&value, id));
                    loaded.health.extend(self.readable(health, "health", &key));
                }
                Some(&keys::REPLAY) => {
                    let replay = keys::read_replay(&key).and_then(|ids| values::read_replay(&value, ids));
                    loaded.replays.extend(self.readable(replay, "replay", &key));
                }
                Some(&keys::GONE) => loaded.gone.extend(self.readable(keys::read_gone(&key), "gone", &key)),
                _ => loaded.clean |= *key == *keys::CLEAN,
            }
        }
        Ok(loaded)
    }

    fn retries(&self, subscription: SubscriptionId, after: Option<RetryId>, limit: usize) -> Result<Vec<Retry>, StateError> {
        let mut found = Vec::new();
        let open = self.slot.get()?;
        let from = after.map_or_else(|| subscription.as_bytes().to_vec(), |after| [&keys::retry(&after)[..], &[0]].concat());
        for guard in open.retries.range(from..) {
            if found.len() >= limit {
                break;
            }
            let (key, value) = guard.into_inner().map_err(read_error)?;
            if !key.starts_with(subscription.as_bytes()) {
                break;
            }
            let retry = keys::read_retry(&key).and_then(|id| values::read_retry(&value, id));
            found.extend(self.readable(retry, "retry", &key));
        }
        Ok(found)
    }

    fn least_waiting(&self, subscription: SubscriptionId, topic: &TopicName, partition: u32) -> Result<Option<u64>, StateError> {
        let (mut least, open) = (None, self.slot.get()?);
        for guard in open.retries.prefix(subscription.as_bytes()) {
            let (key, value) = guard.into_inner().map_err(read_error)?;
            let retry = keys::read_retry(&key).and_then(|id| values::read_retry(&value, id));
            if let Some(RetrySource::Log { topic: of, partition: at, offset, .. }) = retry.map(|retry| retry.source)
                && of == *topic
                && at == partition
            {
                least = Some(least.map_or(offset, |least: u64| least.min(offset)));
            }
        }
        Ok(least)
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
        let (mut found, mut from, open) = (Vec::new(), Some(Vec::new()), self.slot.get()?);
        while let Some(start) = from {
            let Some(guard) = open.retries.range(start..).next() else { break };
            let key = guard.key().map_err(read_error)?;
            let Some(id) = self.readable(keys::read_retry(&key), "retry", &key) else {
                from = Some([&key[..], &[0]].concat());
                continue;
            };
            found.push((id.subscription, id.due));
            from = keys::behind(id.subscription.as_bytes());
        }
        Ok(found)
    }

    fn readers(&self) -> Result<Readers, StateError> {
        self.all_readers()
    }

    fn dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StateError> {
        self.letter_by_id(id)
    }

    fn dead_letters(&self, filter: &DeadLetterFilter, after: Option<DeadLetterId>, limit: usize) -> Result<Page, StateError> {
        self.letter_page(filter, after, limit)
    }

    fn delete_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StateError> {
        self.purge_letters(filter)
    }

    fn sweep_dead_letters(&self, before: Time, limit: usize) -> Result<usize, StateError> {
        self.sweep_letters(before, limit)
    }

    fn health(&self) -> Result<(), StateError> {
        self.stopped.lock().as_ref().map_or(Ok(()), |stop| Err(StateError::Stopped(stop.why.clone())))
    }

    fn close(&self) {
        if self.stopped.lock().is_some() {
            return;
        }
        if let Err(error) = self.slot.close() {
            tracing::warn!(%error, "the state store did not write all its files; the next start reads its journal");
        }
    }

    fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }
}

fn read_error(error: fjall::Error) -> StateError {
    match error {
        fjall::Error::Io(error) => StateError::Io(error),
        other => StateError::Store(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
