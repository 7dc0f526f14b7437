//! Keeps notes few: the first of its kind goes out at once, what follows is summed up. Pure.

use std::collections::hash_map::Entry;
use std::time::Duration;

use compact_str::CompactString;
use foldhash::{HashMap, HashMapExt as _};
use posthorn_domain::time::Time;

use super::{Kind, Note};

/// Kinds, subjects and reasons that are told apart at the same time.
const MAX_KEYS: usize = 16_384;

/// What one event tells of.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    /// The latest of the notes.
    pub note: Note,
    /// How many deliveries or events the notes stand for.
    pub count: u64,
    /// When the first of them came.
    pub since: Time,
}

/// At most one event each interval for the same kind, subject and reason.
pub struct Limiter {
    interval: Duration,
    known: HashMap<(Kind, CompactString, CompactString), State>,
}

struct State {
    /// When the next may go out.
    free_at: Time,
    waiting: Option<Sum>,
}

impl Limiter {
    /// One that holds to this interval.
    pub fn new(interval: Duration) -> Self {
        Self { interval, known: HashMap::new() }
    }

    /// Takes a note: gives what is to be told now, if anything.
    ///
    /// # Errors
    /// The note is given back when too many different ones are known already.
    pub fn take(&mut self, note: Note, now: Time) -> Result<Option<Sum>, Note> {
        let key = (note.kind, note.subject.clone(), note.reason.clone());
        let is_full = self.known.len() >= MAX_KEYS;
        match self.known.entry(key) {
            Entry::Vacant(_) if is_full => Err(note),
            Entry::Vacant(place) => {
                place.insert(State { free_at: now.after(self.interval), waiting: None });
                Ok(Some(Sum { count: note.count, note, since: now }))
            }
            Entry::Occupied(mut known) => {
                let state = known.get_mut();
                let before = state.waiting.take().map_or((0, now), |sum| (sum.count, sum.since));
                let sum = Sum { count: note.count.saturating_add(before.0), note, since: before.1 };
                if state.free_at <= now {
                    state.free_at = now.after(self.interval);
                    return Ok(Some(sum));
                }
                state.waiting = Some(sum);
                Ok(None)
            }
        }
    }

    /// Everything whose time has come. Forgets what has been silent for an interval.
    pub fn due(&mut self, now: Time) -> Vec<Sum> {
        let (interval, mut due) = (self.interval, Vec::new());
        self.known.retain(|_, state| {
            if state.free_at > now {
                return true;
            }
            let Some(sum) = state.waiting.take() else { return false };
            due.push(sum);
            state.free_at = now.after(interval);
            true
        });
        due
    }

    /// Everything that waits, whether or not its time has come: the node is going down.
    pub fn rest(&mut self) -> Vec<Sum> {
        self.known.drain().filter_map(|(_, state)| state.waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn note(subject: &str) -> Note {
        Note::new(Kind::DeliveryDeadLettered, subject, "max_age")
    }

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn the_first_goes_out_at_once_and_the_rest_as_one() {
        let mut limiter = Limiter::new(INTERVAL);
        let first = limiter.take(note("a"), at(0)).unwrap().unwrap();
        assert_eq!((first.count, first.since), (1, at(0)));
        for second in 1..=9 {
            assert_eq!(limiter.take(note("a").times(2), at(second)), Ok(None));
            assert_eq!(limiter.due(at(second)), []);
        }
        let due = limiter.due(at(10));
        assert_eq!(due.iter().map(|sum| (sum.count, sum.since)).collect::<Vec<_>>(), [(18, at(1))]);
        // The interval begins anew.
        assert_eq!(limiter.take(note("a"), at(11)), Ok(None));
        assert_eq!(limiter.take(note("a"), at(20)).unwrap().unwrap().count, 2);
    }

    #[test]
    fn others_do_not_wait_and_the_silent_are_forgotten() {
        let mut limiter = Limiter::new(INTERVAL);
        for subject in ["a", "b"] {
            assert!(limiter.take(note(subject), at(0)).unwrap().is_some());
        }
        let other_reason = Note { reason: "expired".into(), ..note("a") };
        assert!(limiter.take(other_reason, at(0)).unwrap().is_some());
        assert!(limiter.due(at(10)).is_empty() && limiter.known.is_empty());
    }

    #[test]
    fn it_is_bounded_and_gives_everything_at_the_end() {
        let mut limiter = Limiter::new(INTERVAL);
        for n in 0..MAX_KEYS {
            assert!(limiter.take(note(&n.to_string()), at(0)).unwrap().is_some());
        }
        assert_eq!(limiter.take(note("one more"), at(0)), Err(note("one more")));
        assert_eq!(limiter.take(note("7"), at(1)), Ok(None));
        assert_eq!(limiter.rest().len(), 1);
    }
}
