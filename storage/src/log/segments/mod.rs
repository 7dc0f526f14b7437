//! The topic log in segment files of this node: `{dir}/{topic}/meta.json` and `{dir}/{topic}/{partition}/{base:020}.seg` with `.idx`
//! ([`frame`] has the format). Appends gather for each partition; a few threads write what has gathered as one batch, sync it
//! once if any record asks for it, and gather the next meanwhile.

pub mod disk;
mod flush;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod index;
mod meta;
mod partition;
mod read;
mod recover;
mod scan;
mod segment;
mod shared;
mod summary;
mod topic;

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};
use posthorn_domain::names::TopicName;
use posthorn_domain::time::Time;

use self::disk::{Disk, RealDisk};
use self::meta::Meta;
use self::partition::{Partition, TopicInfo};
use self::shared::{Shared, io_error};
use self::topic::SegmentTopic;
use super::{Expired, Health, Log, LogError, TailSink, TopicLog, TopicSettings};

pub use self::recover::{Cut, Recovery};
pub use self::shared::{Config, METRIC_DAMAGE, OnDamage};

/// All topics in one folder. Dropping it writes what waits.
pub struct SegmentLog {
    dir: PathBuf,
    shared: Arc<Shared>,
    topics: RwLock<HashMap<TopicName, Arc<SegmentTopic>>>,
    opening: Mutex<()>,
    flushers: Vec<JoinHandle<()>>,
    _lock: Box<dyn Any + Send + Sync>,
}

impl SegmentLog {
    /// Opens the folder and recovers every topic in it. Blocks.
    pub fn open(dir: &Path, config: Config, sink: Arc<dyn TailSink>) -> Result<(Self, Recovery), LogError> {
        Self::open_on(Arc::new(RealDisk), dir, config, sink)
    }

    /// The same on another [`Disk`], for tests.
    #[doc(hidden)]
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, config: Config, sink: Arc<dyn TailSink>) -> Result<(Self, Recovery), LogError> {
        // Its name must not go away with the power, nor all that is in it.
        disk.make_dir(dir).and_then(|()| disk.sync_dir(parent(dir))).map_err(|error| io_error(dir, &error))?;
        let lock = lock(&*disk, dir)?;
        let shared = Arc::new(Shared::new(config, disk, sink));
        let mut report = Recovery::default();
        let mut topics = HashMap::new();
        for name in shared.disk.names(dir).map_err(|error| io_error(dir, &error))? {
            let path = dir.join(&name);
            if name.starts_with(REMOVED) {
                shared.disk.remove_dir(&path).map_err(|error| io_error(&path, &error))?;
            } else if let (true, Ok(name)) = (shared.disk.read(&path.join("meta.json")).is_ok(), name.parse::<TopicName>()) {
                topics.insert(name.clone(), load(&shared, &path, name, &mut report)?);
            }
        }
        // As the names of segments in recovery.
        shared.disk.sync_dir(dir).map_err(|error| io_error(dir, &error))?;
        let mut flushers = Vec::new();
        for number in 0..shared.config.flushers {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name(format!("log-{number}")).spawn(move || flush::run(&shared));
            flushers.push(thread.map_err(|error| io_error(dir, &error))?);
        }
        Ok((Self { dir: dir.into(), shared, topics: RwLock::new(topics), opening: Mutex::new(()), flushers, _lock: lock }, report))
    }

    /// Does on this thread what a flusher would do next; `false` when nothing waits to be written. For logs without flushers.
    #[doc(hidden)]
    pub fn step(&self) -> bool {
        flush::step(&self.shared)
    }

    /// Where every partition ends, by topic, incarnation and number.
    pub fn ends(&self) -> HashMap<(TopicName, u64, u32), u64> {
        let mut ends = HashMap::new();
        for topic in self.topics.read().values() {
            for partition in topic.partitions.read().iter() {
                ends.insert((topic.info.name.clone(), topic.info.incarnation, partition.number), partition.bounds().end);
            }
        }
        ends
    }

    /// What retention allows to delete, in the order in which it is to be deleted; to be asked from time to time. Blocks.
    pub fn expired(&self, now: Time) -> Vec<Expired> {
        let topics: Vec<_> = self.topics.read().values().cloned().collect();
        topics.iter().flat_map(|topic| topic.expired(now)).collect()
    }

    /// Deletes what [`SegmentLog::expired`] named; what stood before it in its partition must be gone. Whether it is gone now. Blocks.
    pub fn delete(&self, expired: &Expired) -> bool {
        let topic = self.topics.read().get(&expired.topic).cloned();
        topic.filter(|topic| topic.info.incarnation == expired.incarnation).is_some_and(|topic| topic.delete(expired))
    }

    /// Deletes all that retention allows, whoever still needs it. Blocks.
    pub fn enforce_retention(&self, now: Time) {
        for expired in self.expired(now) {
            self.delete(&expired);
        }
    }

    fn make(&self, name: &TopicName, settings: TopicSettings) -> Result<Arc<SegmentTopic>, LogError> {
        let dir = self.dir.join(name.as_str());
        let disk = &*self.shared.disk;
        let meta = Meta::new(settings.incarnation, settings.partitions, disk.random());
        let made = disk.make_dir(&dir).and_then(|()| meta.store(disk, &dir)).and_then(|()| disk.sync_dir(&self.dir));
        made.map_err(|error| io_error(&dir, &error))?;
        load(&self.shared, &dir, name.clone(), &mut Recovery::default())
    }

    fn grow(&self, topic: &SegmentTopic, wanted: u32) -> Result<(), LogError> {
        let have = u32::try_from(topic.partitions.read().len()).unwrap_or(u32::MAX);
        if wanted < have {
            return Err(LogError::FewerPartitions { have, wanted });
        }
        if wanted > have {
            let disk = &*self.shared.disk;
            let mut meta = Meta::load(disk, &topic.info.dir).map_err(|error| io_error(&topic.info.dir, &error))?;
            meta.partitions = wanted;
            meta.store(disk, &topic.info.dir).map_err(|error| io_error(&topic.info.dir, &error))?;
            let mut added = Vec::new();
            for number in have..wanted {
                added.push(load_partition(&self.shared, &topic.info, number, &mut Recovery::default())?);
            }
            topic.info.settings.lock().partitions = wanted;
            topic.partitions.write().extend(added);
        }
        Ok(())
    }

    /// Takes the name away first, so that a crash leaves nothing that looks like a topic.
    fn wipe(&self, name: &TopicName) -> Result<(), LogError> {
        let Some(topic) = self.topics.write().remove(name) else { return Ok(()) };
        topic.retire();
        let dir = &topic.info.dir;
        let away = self.dir.join(format!("{REMOVED}{}-{name}", topic.info.incarnation));
        let disk = &*self.shared.disk;
        let gone = disk.rename(dir, &away).and_then(|()| disk.sync_dir(&self.dir)).and_then(|()| disk.remove_dir(&away));
        gone.map_err(|error| io_error(dir, &error))
    }
}

impl Log for SegmentLog {
    fn open(&self, topic: &TopicName, settings: TopicSettings) -> Result<Arc<dyn TopicLog>, LogError> {
        let _opening = self.opening.lock();
        let old = self.topics.read().get(topic).cloned();
        if let Some(old) = old {
            if old.info.incarnation == settings.incarnation {
                self.grow(&old, settings.partitions)?;
                old.set_retention(settings);
                return Ok(old);
            }
            self.wipe(topic)?;
        }
        let made = self.make(topic, settings)?;
        made.set_retention(settings);
        self.topics.write().insert(topic.clone(), made.clone());
        Ok(made)
    }

    fn remove(&self, topic: &TopicName) -> Result<(), LogError> {
        let _opening = self.opening.lock();
        self.wipe(topic)
    }

    fn topics(&self) -> Vec<(TopicName, u64)> {
        self.topics.read().iter().map(|(name, topic)| (name.clone(), topic.info.incarnation)).collect()
    }

    fn health(&self) -> Health {
        self.shared.health.read().clone()
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.shared.close();
        for flusher in self.flushers.drain(..) {
            // It catches its panics itself.
            drop(flusher.join());
        }
        for topic in self.topics.read().values() {
            for partition in topic.partitions.read().iter() {
                // Whoever was just enqueueing is done once this lock is ours; whoever comes later sees that we are closed.
                drop(partition.pending.lock());
            }
        }
        flush::run(&self.shared);
    }
}

const REMOVED: &str = ".removed-";

fn parent(dir: &Path) -> &Path {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Any + Send + Sync>, LogError> {
    let path = dir.join("LOCK");
    disk.lock(&path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => LogError::InUse(dir.display().to_string()),
        _ => io_error(&path, &error),
    })
}

fn load(shared: &Arc<Shared>, dir: &Path, name: TopicName, report: &mut Recovery) -> Result<Arc<SegmentTopic>, LogError> {
    let meta = Meta::load(&*shared.disk, dir).map_err(|error| io_error(&dir.join("meta.json"), &error))?;
    let settings = TopicSettings { incarnation: meta.incarnation, partitions: meta.partitions, retention_age: None, retention_bytes: None };
    let info = TopicInfo { name, dir: dir.into(), incarnation: meta.incarnation, salt: meta.salt, settings: Mutex::new(settings) };
    let info = Arc::new(info);
    let numbers = 0..meta.partitions;
    let partitions = numbers.map(|number| load_partition(shared, &info, number, report)).collect::<Result<_, _>>()?;
    shared.disk.sync_dir(dir).map_err(|error| io_error(dir, &error))?;
    Ok(Arc::new(SegmentTopic { shared: shared.clone(), info, partitions: RwLock::new(partitions) }))
}

fn load_partition(shared: &Arc<Shared>, info: &Arc<TopicInfo>, number: u32, report: &mut Recovery) -> Result<Arc<Partition>, LogError> {
    let (segments, known) = recover::partition(shared, info, number, report)?;
    Ok(Arc::new(Partition::new(shared.clone(), info.clone(), number, segments, known)))
}
