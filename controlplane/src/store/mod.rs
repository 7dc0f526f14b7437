//! The configuration on disk: every resource under its key, written with the revision in one synced batch (I1 for
//! configuration: what was answered is on the disk). Secrets are sealed; documents hold the placeholder only.
//!
//! Blocking: `crate::api` calls it off the async threads. One writer at a time, which the caller sees to.

mod record;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use posthorn_domain::sealing::SealingKey;
use posthorn_domain::snapshot::ResourceKey;
use posthorn_storage::database::{self, Stop};

use crate::registry::{Change, Published, Registry, forget_oldest};
pub use record::RecordError;
pub(crate) use record::resource;

/// Blocks kept in memory. The registry is in memory already, so the store is read once, at the start.
const CACHE_BYTES: u64 = 1 << 20;
/// Writes gathered before they become a file. Configuration is small and changes seldom.
const MEMTABLE_BYTES: u64 = 4 << 20;

const RESOURCES: &str = "r/";
/// Topics that were deleted, with the revision at which.
const DELETED: &str = "deleted/";
/// Of the last change that no row tells of by its own revision. Every row that is written is read again by a start, so a change writes it
/// only then.
const REVISION: &str = "meta/revision";
const IDENTITY: &str = "meta/id";
const FORMAT: &str = "meta/format";
/// 1 had JSON in all rows, 2 subscriptions packed in form 1, 3 a row with the revision of every change. All are read.
const FORMAT_VERSION: &[u8] = b"4";

/// Why the store did not open or write.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the configuration store failed: {0}")]
    Database(#[from] fjall::Error),
    /// An earlier write failed. A full disk is recovered from when there is room; anything else needs a restart.
    #[error("the configuration store takes no more changes, since an earlier one failed: {0}")]
    Stopped(String),
    /// A stored resource cannot be read.
    #[error("the stored resource `{key}` cannot be read: {source}")]
    Record {
        /// Which.
        key: String,
        /// Why.
        source: RecordError,
    },
    /// A newer version wrote it.
    #[error("the configuration store was written by a newer version of Posthorn")]
    Format,
}

/// The store.
pub(crate) struct Store {
    folder: PathBuf,
    /// Empty when it could not be opened again.
    open: Option<Open>,
    stopped: Option<Stop>,
    /// Of what was read or written last.
    revision: u64,
    sealing: Arc<SealingKey>,
    identity: String,
}

struct Open {
    database: Database,
    config: Keyspace,
}

impl Store {
    /// Opens the store under the data folder and reads all of it. Makes it when there is none.
    pub(crate) fn open(data_dir: &Path, sealing: Arc<SealingKey>) -> Result<(Self, Registry), StoreError> {
        let folder = data_dir.join("control");
        let open = Open::at(&folder)?;
        open.check_format()?;
        let identity = open.identity()?;
        let registry = open.load(&sealing)?;
        let store = Self { folder, open: Some(open), stopped: None, revision: registry.revision(), sealing, identity };
        Ok((store, registry))
    }

    /// The control plane's id: made once, kept with the data.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Writes a change; once this returns, it is on the disk.
    pub(crate) fn write(&mut self, change: &Change) -> Result<(), StoreError> {
        self.go_on()?;
        let open = self.in_use()?;
        let mut batch = open.database.batch().durability(Some(PersistMode::SyncData));
        for entry in &change.put {
            let key = entry.key();
            let bytes =
                record::encode(entry, &key, &self.sealing).map_err(|source| StoreError::Record { key: key.as_str().into(), source })?;
            batch.insert(&open.config, format!("{RESOURCES}{}", key.as_str()), bytes);
        }
        for key in &change.removed {
            batch.remove(&open.config, format!("{RESOURCES}{}", key.resource().as_str()));
        }
        for key in change.topics_made() {
            batch.remove(&open.config, format!("{DELETED}{}", key.as_str()));
        }
        for key in change.topics_deleted() {
            batch.insert(&open.config, format!("{DELETED}{}", key.as_str()), change.revision.to_be_bytes().to_vec());
        }
        if !change.removed.is_empty() || change.put.iter().all(|entry| entry.revision() < change.revision) {
            batch.insert(&open.config, REVISION, change.revision.to_be_bytes().to_vec());
        }
        if let Err(error) = batch.commit() {
            self.stopped = Some(Stop::after(&error, &self.folder));
            return Err(error.into());
        }
        self.revision = change.revision;
        Ok(())
    }

    /// Opens the store anew when a full disk had stopped it and there is room again. The change that met the full disk was refused, so it
    /// must not be found there: a store that has it takes no more until a restart reads it.
    fn go_on(&mut self) -> Result<(), StoreError> {
        let Some(stop) = &self.stopped else { return Ok(()) };
        let stopped = StoreError::Stopped(stop.why.clone());
        if !stop.is_over(&self.folder) {
            return Err(stopped);
        }
        // Its lock goes with it.
        self.open = None;
        let open = Open::at(&self.folder)?;
        let found = open.load(&self.sealing)?.revision();
        self.open = Some(open);
        if found != self.revision {
            return Err(stopped);
        }
        tracing::info!("there is room on the disk again; the configuration store goes on");
        self.stopped = None;
        Ok(())
    }

    fn in_use(&self) -> Result<&Open, StoreError> {
        self.open.as_ref().ok_or_else(|| StoreError::Stopped("it could not be opened again".into()))
    }

    /// The last call: see [`database::close`].
    pub(crate) fn close(&mut self) {
        let Some(Open { database, config }) = self.open.take().filter(|_| self.stopped.is_none()) else { return };
        if let Err(error) = database::close(database, vec![config], &self.folder) {
            tracing::warn!(%error, "the configuration store did not write its last file; the next start reads its journal");
        }
    }

    /// Topics that were deleted and not made again, as many as are remembered.
    pub(crate) fn deleted_topics(&self) -> Result<BTreeMap<ResourceKey, u64>, StoreError> {
        let open = self.in_use()?;
        let mut deleted = BTreeMap::new();
        for row in open.config.prefix(DELETED) {
            let (key, value) = row.into_inner()?;
            let key = ResourceKey::from_text(String::from_utf8_lossy(&key[DELETED.len()..]).into_owned());
            deleted.insert(key, value.as_ref().try_into().map_or(0, u64::from_be_bytes));
        }
        for old in forget_oldest(&mut deleted) {
            open.config.remove(format!("{DELETED}{}", old.as_str()))?;
        }
        Ok(deleted)
    }
}

impl Open {
    fn at(folder: &Path) -> Result<Self, fjall::Error> {
        let database = Database::builder(folder).cache_size(CACHE_BYTES).worker_threads(1).max_cached_files(Some(32)).open()?;
        let config = database.keyspace("config", || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES))?;
        Ok(Self { database, config })
    }

    fn check_format(&self) -> Result<(), StoreError> {
        match self.config.get(FORMAT)? {
            Some(found) if found.as_ref() == FORMAT_VERSION => Ok(()),
            Some(found) if !matches!(found.as_ref(), b"1" | b"2" | b"3") => Err(StoreError::Format),
            _ => Ok(self.put_synced(FORMAT, FORMAT_VERSION)?),
        }
    }

    fn identity(&self) -> Result<String, StoreError> {
        if let Some(found) = self.config.get(IDENTITY)? {
            return Ok(String::from_utf8_lossy(&found).into_owned());
        }
        let made = format!("cp_{}", uuid::Uuid::now_v7().simple());
        self.put_synced(IDENTITY, made.as_bytes())?;
        Ok(made)
    }

    fn put_synced(&self, key: &str, value: &[u8]) -> Result<(), fjall::Error> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.config, key, value);
        batch.commit()
    }

    fn load(&self, sealing: &SealingKey) -> Result<Registry, StoreError> {
        let revision = self.config.get(REVISION)?.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
        let mut failed = None;
        let rows = self.config.prefix(RESOURCES).map(|row| {
            let (key, value) = row.into_inner()?;
            let key = String::from_utf8_lossy(&key[RESOURCES.len()..]).into_owned();
            record::decode(&key, &value, sealing).map_err(|source| StoreError::Record { key, source })
        });
        let entries = rows.map_while(|entry: Result<Published, StoreError>| entry.map_err(|error| failed = Some(error)).ok());
        let registry = Registry::restore(revision, entries);
        failed.map_or(Ok(registry), Err)
    }
}
