//! What the two embedded stores, of the delivery state and of the configuration, have in common: how fjall's database ends, why it
//! takes no more writes, and when it may go on.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use fjall::{Database, Keyspace};

/// Less than this is read back quickly, and takes little room.
const WORTH_A_FILE: u64 = 256 << 10;
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

/// Has what is only in the journal and in memory become files: a start would read it back into memory, and there it would stay. The
/// last call before the database is closed; nothing depends on it.
///
/// # Errors
///
/// Memory could not be handed to fjall's writer. All is in the journal then.
pub fn settle(database: &Database, keyspaces: &[&Keyspace]) -> Result<(), fjall::Error> {
    if database.write_buffer_size() < WORTH_A_FILE {
        return Ok(());
    }
    for keyspace in keyspaces {
        keyspace.rotate_memtable()?;
    }
    let is_busy = || keyspaces.iter().any(|keyspace| keyspace.sealed_memtable_count() > 0);
    (0..LOOKS).take_while(|_| is_busy()).for_each(|_| thread::sleep(LOOK_AGAIN));
    Ok(())
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
