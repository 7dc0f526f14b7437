//! What this node says of its own work, as events on the topic `posthorn.operations` (issues 5 and 6, DESIGN §7).
//!
//! Whoever notices something tells a [`Reporter`], which never waits. One writer takes the notes, keeps them few ([`Limiter`]) and
//! appends them; it is in `app`, because it knows the pipeline. No note is made of the fate of events of that topic itself: a dead
//! subscriber of it must not cause what it cannot be told of.

mod limiter;
mod note;

use metrics::{Counter, counter};
use tokio::sync::mpsc;

pub use limiter::{Limiter, Sum};
pub(crate) use note::event;
pub use note::{Kind, Note};

/// Notes that may wait for the writer; more are counted and let go (I9).
const QUEUE: usize = 4096;

/// Where notes are told. Cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    notes: mpsc::Sender<Note>,
    lost: Counter,
}

impl Reporter {
    /// A reporter, and where its notes come out.
    pub fn new() -> (Self, mpsc::Receiver<Note>) {
        let (notes, told) = mpsc::channel(QUEUE);
        (Self { notes, lost: counter!("posthorn_operations_lost_total") }, told)
    }

    /// Tells a note. Never waits: what finds no room is counted.
    pub fn tell(&self, note: Note) {
        if self.notes.try_send(note).is_err() {
            self.lost.increment(1);
        }
    }
}
