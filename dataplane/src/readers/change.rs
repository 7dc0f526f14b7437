//! Readers are made, changed and deleted: first in the store, then for all to see, so that a refusal leaves everything as it was. One
//! change at a time, each to its end though whoever asked may have gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use posthorn_domain::problem::{Code, Problem};
use posthorn_storage::state::{Batch, ReaderRow};

use super::group::PartKey;
use super::one::{One, unknown};
use super::{Definition, Readers, row};

/// Where a reader stands: by partition, the topic's life and the next offset.
type Places = BTreeMap<PartKey, (u64, u64)>;

impl Readers {
    /// Makes or changes a reader; `true` when it was made. A new one begins with the oldest event that is kept.
    ///
    /// # Errors
    /// `topic-unknown`, `invalid-resource` for a name that is none, `rate-limited` when there are too many, `unavailable` when it cannot be kept.
    pub async fn put(&self, name: &str, definition: Definition) -> Result<bool, Problem> {
        self.put_from(name, definition, &BTreeMap::new()).await
    }

    /// As [`Readers::put`]; a new one begins on these partitions at these offsets.
    ///
    /// # Errors
    /// As [`Readers::put`].
    pub async fn put_from(&self, name: &str, definition: Definition, from: &BTreeMap<PartKey, u64>) -> Result<bool, Problem> {
        let next = self.begin(&definition, from)?;
        let (readers, name) = (self.clone(), name.to_owned());
        to_its_end(async move { readers.put_now(name, definition, next).await }).await
    }

    /// Forgets a reader and its place.
    ///
    /// # Errors
    /// `not-found`, `unavailable`.
    pub async fn delete(&self, name: &str) -> Result<(), Problem> {
        let (readers, name) = (self.clone(), name.to_owned());
        to_its_end(async move { readers.delete_now(&name).await }).await
    }

    /// Where a new reader begins.
    pub(super) fn begin(&self, definition: &Definition, from: &BTreeMap<PartKey, u64>) -> Result<Places, Problem> {
        let (table, mut next) = (self.0.live.load(), BTreeMap::new());
        for topic in &definition.topics {
            let route = table.topics.get(topic).ok_or_else(|| crate::ingest::topic_unknown(topic))?;
            let settings = route.log.settings();
            for partition in 0..settings.partitions {
                let key = (topic.clone(), partition);
                let offset = from.get(&key).copied().unwrap_or(route.log.bounds(partition).start);
                next.insert(key, (settings.incarnation, offset));
            }
        }
        Ok(next)
    }

    async fn put_now(&self, name: String, mut definition: Definition, next: Places) -> Result<bool, Problem> {
        let _one_at_a_time = self.0.changing.lock().await;
        let (known, count) = {
            let own = self.0.own.read();
            (own.get(&name).cloned(), own.len())
        };
        if known.is_none() && count >= self.0.config.max_readers {
            let detail = format!("there are {count} readers already, the most that `readers.max_readers` allows");
            return Err(Problem::new(Code::RateLimited, detail).with_retry_after(60));
        }
        let made = known.is_none();
        let one = known.unwrap_or_else(|| Arc::new(One::own(&name, definition.clone())));
        let mut batch = Batch::new();
        let write = {
            let mut state = one.state.lock();
            if let Some(before) = &state.definition {
                definition.created_at = before.created_at;
            }
            let write = state.write(&name, [], &mut batch);
            for (key, (life, _)) in state.next.iter().filter(|((topic, _), _)| !definition.topics.contains(topic)) {
                batch.delete_cursor(row(&name, key, *life, 0));
            }
            for (key, (life, offset)) in next.iter().filter(|(key, _)| !state.next.contains_key(*key)) {
                batch.put_cursor(row(&name, key, *life, *offset));
            }
            write
        };
        batch.put_reader(ReaderRow { name: name.clone(), document: definition.document() });
        self.0.keeper.keep(batch).await?;
        {
            let mut state = one.state.lock();
            state.kept(&write);
            state.next.retain(|(topic, _), _| definition.topics.contains(topic));
            for (key, place) in next {
                state.next.entry(key).or_insert(place);
            }
            // Other filters may take what those before passed over.
            state.passed.clear();
            state.definition = Some(definition);
        }
        self.0.own.write().insert(name, one);
        Ok(made)
    }

    async fn delete_now(&self, name: &str) -> Result<(), Problem> {
        let _one_at_a_time = self.0.changing.lock().await;
        let one = self.0.own.read().get(name).cloned().ok_or_else(|| unknown(name))?;
        let mut batch = Batch::new();
        batch.delete_reader(name);
        for (key, (life, _)) in &one.state.lock().next {
            batch.delete_cursor(row(name, key, *life, 0));
        }
        self.0.keeper.keep(batch).await?;
        self.0.own.write().remove(name);
        let mut state = one.state.lock();
        state.next.clear();
        state.definition = None;
        state.group.clear();
        Ok(())
    }
}

/// Runs a change, which must not stop between the store and what others see.
async fn to_its_end<T: Send + 'static>(change: impl Future<Output = Result<T, Problem>> + Send + 'static) -> Result<T, Problem> {
    let done = tokio::spawn(change).await;
    done.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "the change was cut off; look whether it was made")))
}
