//! A disk that forgets and fails. What a process writes is seen at once by whoever reads; after a power loss only what was synced is
//! sure, and of the rest any sectors and any names, in no order. A handle of a process that has ended does nothing any more.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use posthorn_storage::log::segments::disk::{Disk, DiskFile};

use crate::random::Random;

/// What a power loss keeps or loses as a whole.
const SECTOR: usize = 512;
/// What a disk says that cannot read.
const EIO: i32 = 5;

/// The disk of the machine, through all lives of the process on it.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Inner>>);

/// The disk as one process sees it.
pub struct Attached {
    disk: SimDisk,
    life: u64,
}

struct Handle {
    disk: SimDisk,
    life: u64,
    file: u64,
}

struct Inner {
    files: BTreeMap<u64, File>,
    next: u64,
    names: BTreeMap<PathBuf, Entry>,
    durable: BTreeMap<PathBuf, Entry>,
    /// Changes of names that no sync has made durable yet.
    changes: Vec<Change>,
    life: u64,
    dead: bool,
    fuse: Option<u64>,
    full: bool,
    fail_write: bool,
    fail_sync: bool,
    fail_reads: Option<Reads>,
    /// Reads that have failed.
    failed: u64,
    random: Random,
}

/// Which reads fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The next one.
    Next,
    /// All.
    All,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Folder,
    File(u64),
}

#[derive(Clone)]
enum Change {
    Put(PathBuf, Entry),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Default)]
struct File {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Write>,
}

enum Write {
    At(usize, Vec<u8>),
    Len(usize),
}

impl SimDisk {
    /// An empty one.
    pub fn new(random: Random) -> Self {
        let (names, durable) = Default::default();
        let inner = Inner {
            files: BTreeMap::new(),
            next: 0,
            names,
            durable,
            changes: Vec::new(),
            life: 0,
            dead: false,
            fuse: None,
            full: false,
            fail_write: false,
            fail_sync: false,
            fail_reads: None,
            failed: 0,
            random,
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// For the next process. Handles of earlier ones are dead.
    pub fn attach(&self) -> Attached {
        let mut inner = self.0.lock();
        inner.life += 1;
        inner.dead = false;
        inner.fuse = None;
        inner.fail_write = false;
        inner.fail_sync = false;
        inner.fail_reads = None;
        Attached { disk: self.clone(), life: inner.life }
    }

    /// The process ends here: nothing that it still does reaches the disk.
    pub fn detach(&self) {
        self.0.lock().dead = true;
    }

    /// The process ends in the middle of the operation that comes after so many.
    pub fn die_after(&self, operations: u64) {
        self.0.lock().fuse = Some(operations);
    }

    /// Whether it has.
    pub fn is_dead(&self) -> bool {
        self.0.lock().dead
    }

    /// Whether there is no room.
    pub fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }

    /// The next write, or the next sync, fails.
    pub fn fail_next(&self, sync: bool) {
        let mut inner = self.0.lock();
        if sync { inner.fail_sync = true } else { inner.fail_write = true }
    }

    /// These reads of what stands in files fail from now on.
    pub fn fail_reads(&self, which: Option<Reads>) {
        self.0.lock().fail_reads = which;
    }

    /// How many reads have failed.
    pub fn failed_reads(&self) -> u64 {
        self.0.lock().failed
    }

    /// Spoils one byte of a segment that is closed; tells the folder.
    pub fn corrupt(&self) -> Option<PathBuf> {
        let mut guard = self.0.lock();
        let inner = &mut *guard;
        let segments: Vec<(PathBuf, u64)> = inner
            .names
            .iter()
            .filter_map(|(path, entry)| match entry {
                Entry::File(file) if path.extension().is_some_and(|kind| kind == "seg") => Some((path.clone(), *file)),
                _ => None,
            })
            .collect();
        // Names sort by offset, so the last one of each folder is the open one.
        let closed: Vec<_> =
            segments.windows(2).filter(|pair| pair[0].0.parent() == pair[1].0.parent()).map(|pair| pair[0].clone()).collect();
        let (path, file) = closed.get(inner.random.index(closed.len()))?.clone();
        let content = inner.files.get_mut(&file)?;
        let at = inner.random.index(content.now.len());
        content.now[at] ^= 0x10;
        if let Some(byte) = content.synced.get_mut(at) {
            *byte = content.now[at];
        }
        path.parent().map(Path::to_path_buf)
    }

    /// What was not synced is kept or lost by chance.
    pub fn lose_power(&self) {
        let mut guard = self.0.lock();
        let inner = &mut *guard;
        let keep = inner.random.pick(&[0, 30, 70, 95]);
        for change in std::mem::take(&mut inner.changes) {
            if inner.random.percent(keep) {
                change.apply(&mut inner.durable);
            }
        }
        let there = |path: &Path, names: &BTreeMap<PathBuf, Entry>| {
            path.ancestors().skip(1).filter(|above| above.components().count() > 1).all(|above| names.get(above) == Some(&Entry::Folder))
        };
        let durable = inner.durable.clone();
        inner.durable.retain(|path, _| there(path, &durable));
        inner.names = inner.durable.clone();
        let random = &mut inner.random;
        inner.files.values_mut().for_each(|file| file.lose_power(random, keep));
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Entry>) {
        match self {
            Self::Put(path, entry) => drop(names.insert(path.clone(), *entry)),
            Self::Remove(path) => names.retain(|name, _| !name.starts_with(path)),
            Self::Rename(from, to) => {
                let moved: Vec<_> =
                    names.iter().filter(|(name, _)| name.starts_with(from)).map(|(name, entry)| (name.clone(), *entry)).collect();
                for (name, entry) in moved {
                    names.remove(&name);
                    let rest = name.strip_prefix(from).unwrap_or(Path::new(""));
                    let target = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                    names.insert(target, entry);
                }
            }
        }
    }

    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Put(path, _) | Self::Remove(path) | Self::Rename(_, path) => path.parent(),
        }
    }
}

impl File {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        write_into(&mut self.now, at, bytes);
        self.unsynced.push(Write::At(at, bytes.to_vec()));
    }

    fn lose_power(&mut self, random: &mut Random, keep: u64) {
        for write in std::mem::take(&mut self.unsynced) {
            match write {
                Write::Len(len) if random.percent(keep) => self.synced.resize(len, 0),
                Write::Len(_) => {}
                Write::At(at, bytes) => {
                    let (mut from, end) = (at, at + bytes.len());
                    while from < end {
                        let to = ((from / SECTOR + 1) * SECTOR).min(end);
                        if random.percent(keep) {
                            write_into(&mut self.synced, from, &bytes[from - at..to - at]);
                        }
                        from = to;
                    }
                }
            }
        }
        self.now = self.synced.clone();
    }
}

fn write_into(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Inner {
    fn alive(&self, life: u64) -> io::Result<()> {
        if self.dead || self.life != life { Err(io::Error::other("the process has ended")) } else { Ok(()) }
    }

    /// Before something changes. `false` when the process ends in the middle of it.
    fn change(&mut self, life: u64) -> io::Result<bool> {
        self.alive(life)?;
        match &mut self.fuse {
            Some(0) => {
                self.dead = true;
                Ok(false)
            }
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    fn whole(&mut self, life: u64) -> io::Result<()> {
        if self.change(life)? { Ok(()) } else { self.alive(life) }
    }

    fn rename_or(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }
}

impl Disk for Attached {
    fn open(&self, path: &Path, make: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.disk.0.lock();
        inner.alive(self.life)?;
        let file = match inner.names.get(path) {
            Some(Entry::File(file)) => *file,
            Some(Entry::Folder) => return Err(io::ErrorKind::IsADirectory.into()),
            None if make => {
                inner.whole(self.life)?;
                if inner.full {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                let file = inner.next;
                inner.next += 1;
                inner.files.insert(file, File::default());
                inner.rename_or(Change::Put(path.to_path_buf(), Entry::File(file)));
                file
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(Handle { disk: self.disk.clone(), life: self.life, file }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.disk.0.lock();
        inner.whole(self.life)?;
        if !inner.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.rename_or(Change::Remove(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut guard = self.disk.0.lock();
        let inner = &mut *guard;
        inner.whole(self.life)?;
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut inner.changes).into_iter().partition(|change| change.folder() == Some(path));
        now.iter().for_each(|change| change.apply(&mut inner.durable));
        inner.changes = later;
        Ok(())
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.disk.0.lock();
        inner.alive(self.life)?;
        let mut missing: Vec<_> =
            path.ancestors().filter(|above| above.components().count() > 1 && !inner.names.contains_key(*above)).collect();
        missing.reverse();
        for folder in missing {
            inner.whole(self.life)?;
            inner.rename_or(Change::Put(folder.to_path_buf(), Entry::Folder));
        }
        Ok(())
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let inner = self.disk.0.lock();
        inner.alive(self.life)?;
        let below = inner.names.keys().filter(|name| name.parent() == Some(path));
        Ok(below.filter_map(|name| Some(name.file_name()?.to_str()?.to_owned())).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inner = self.disk.0.lock();
        inner.alive(self.life)?;
        match inner.names.get(path) {
            Some(Entry::File(file)) => Ok(inner.files[file].now.clone()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.disk.0.lock();
        inner.whole(self.life)?;
        inner.rename_or(Change::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.disk.0.lock();
        inner.whole(self.life)?;
        inner.rename_or(Change::Remove(path.to_path_buf()));
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        Ok(Box::new(()))
    }

    fn random(&self) -> u64 {
        self.disk.0.lock().random.draw()
    }
}

impl DiskFile for Handle {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut inner = self.disk.0.lock();
        inner.alive(self.life)?;
        if let Some(which) = inner.fail_reads {
            inner.fail_reads = (which == Reads::All).then_some(which);
            inner.failed += 1;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let content = &inner.files[&self.file].now;
        let from = place(at).min(content.len());
        let count = buffer.len().min(content.len() - from);
        buffer[..count].copy_from_slice(&content[from..from + count]);
        Ok(count)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut guard = self.disk.0.lock();
        let inner = &mut *guard;
        let survives = inner.change(self.life)?;
        let fails = std::mem::take(&mut inner.fail_write);
        let count = if survives && !fails && !inner.full { bytes.len() } else { inner.random.index(bytes.len() + 1) };
        let file = inner.files.get_mut(&self.file).expect("files of a process that lives are there");
        file.put(place(at), &bytes[..count]);
        inner.alive(self.life)?;
        match (fails, inner.full) {
            (true, _) => Err(io::Error::other("a write failed, as the simulation wants it")),
            (_, true) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut guard = self.disk.0.lock();
        let inner = &mut *guard;
        inner.whole(self.life)?;
        if std::mem::take(&mut inner.fail_sync) {
            return Err(io::Error::other("a sync failed, as the simulation wants it"));
        }
        let file = inner.files.get_mut(&self.file).expect("files of a process that lives are there");
        file.synced.clone_from(&file.now);
        file.unsynced.clear();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut guard = self.disk.0.lock();
        let inner = &mut *guard;
        inner.whole(self.life)?;
        let file = inner.files.get_mut(&self.file).expect("files of a process that lives are there");
        file.now.resize(place(len), 0);
        file.unsynced.push(Write::Len(place(len)));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let inner = self.disk.0.lock();
        inner.alive(self.life)?;
        Ok(inner.files[&self.file].now.len() as u64)
    }
}

fn place(at: u64) -> usize {
    usize::try_from(at).expect("simulated files are small")
}
