//! What the two embedded stores, of the delivery state and of the configuration, have in common: how fjall's database ends, why it
//! takes no more writes, and when it may go on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use fjall::{Database, Keyspace};

/// Less than this is read back quickly, and takes little room.
const WORTH_A_FILE: u64 = 256 << 10;
/// A journal that is shorter is read quickly.
const WORTH_EMPTYING: u64 = 1 << 20;
/// What `st_blocks` counts in (stat(2)).
const BLOCK: u64 = 512;
/// How long the end may wait for files. What is not one by then is in the journal.
const LOOKS: u32 = 1000;
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Less room than this is a full disk.
const ROOM: usize = 1 << 20;

/// Why a database takes no more writes. fjall refuses all of them after one has failed, until it is opened again.
#[derive(Debug)]
pub struct Stop {
    /// The first error.
    pub why: String,
    /// Nothing but room was missing, so what the disk has of earlier writes is known.
    full: bool,
}

impl Stop {
    /// After a write into the database in `folder` has failed.
    #[must_use]
    pub fn after(error: &fjall::Error, folder: &Path) -> Self {
        let full = matches!(error, fjall::Error::Io(error) if is_full(error)) || has_room(folder).is_err_and(|error| is_full(&error));
        Self { why: error.to_string(), full }
    }

    /// Whether the database may be opened anew and go on: room was missing, and there is some again.
    #[must_use]
    pub fn is_over(&self, folder: &Path) -> bool {
        self.full && has_room(folder).is_ok()
    }
}

/// Closes the database in `folder`, of which nobody else may have a part. What is only in the journal and in memory becomes files, and the
/// journal, which a start would read through to find that it knows all of it, becomes empty. Nothing depends on it.
///
/// # Errors
///
/// Memory could not be handed to fjall's writer, or the journal not be emptied. A start reads the journal then.
pub fn close(database: Database, keyspaces: Vec<Keyspace>, folder: &Path) -> Result<(), fjall::Error> {
    if database.write_buffer_size() < WORTH_A_FILE && journals(folder)?.iter().map(|(_, bytes)| bytes).sum::<u64>() < WORTH_EMPTYING {
        return Ok(());
    }
    for keyspace in &keyspaces {
        keyspace.rotate_memtable()?;
    }
    // What was in memory is taken off after its file is there.
    let is_busy = || database.write_buffer_size() > 0 || keyspaces.iter().any(|keyspace| keyspace.sealed_memtable_count() > 0);
    (0..LOOKS).take_while(|_| is_busy()).for_each(|_| thread::sleep(LOOK_AGAIN));
    let all_in_files = !is_busy();
    drop((keyspaces, database));
    if all_in_files {
        // One has to stay: from it fjall knows that there is something to recover. The newest is emptied last, since it is what is read
        // when this ends in between.
        for (journal, _) in journals(folder)? {
            fs::OpenOptions::new().write(true).open(journal)?.set_len(0)?;
        }
    }
    Ok(())
}

/// fjall's journals, oldest first, with what they take of the disk: they are made longer than what is in them.
fn journals(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == "jnl")) {
            let bytes = fs::metadata(&path)?.blocks() * BLOCK;
            found.push((number, path, bytes));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path, bytes)| (path, bytes)).collect())
}

/// Whether so much can be written beside the folder that going on makes sense.
fn has_room(folder: &Path) -> io::Result<()> {
    let probe = folder.with_extension("room");
    let written = fs::write(&probe, vec![1; ROOM]);
    let removed = fs::remove_file(&probe);
    written.and(removed)
}

/// Whether the disk, or the user's share of it, is full.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
