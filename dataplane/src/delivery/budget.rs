//! The memory of one shard for events that wait, shared out fairly between its lanes (I9, I4). Pure.
//!
//! While there is room everyone takes what it needs. When there is none, a lane that has its share or more waits; a lane with less
//! may have those that hold more than their share give back what they have not begun to send: the log has it still.

/// What a shard gets at least, however many there are.
const LEAST: usize = 1 << 20;
/// What a lane that holds nothing may always have, so that endpoints that hang with all of the memory keep nobody else waiting.
pub(super) const ALWAYS: usize = 4096;

/// How much is taken, and by how many.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    always: usize,
    used: usize,
    holders: usize,
}

/// One shard's part of `bytes` for all of them: for pages of the log that were read lately, and for lanes.
pub(super) fn parts(bytes: usize, shards: u16) -> (usize, Budget) {
    let part = (bytes / usize::from(shards.max(1))).max(LEAST.min(bytes)).max(1);
    (part / 4, Budget { limit: part - part / 4, always: ALWAYS, used: 0, holders: 0 })
}

/// What a lane hears that asks for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is.
    Yes,
    /// There is none, and it has its share.
    No,
    /// There will be when others keep to their [`Budget::share`].
    Theirs,
}

impl Budget {
    /// Bytes that are taken.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Whether a lane that holds `held` may take `bytes` more. Who holds nothing may always have [`ALWAYS`], and an eighth above the
    /// limit, so that large events come on too; it is never refused while nobody holds anything.
    pub(super) fn ask(&self, held: usize, bytes: usize) -> Room {
        let limit = if held == 0 { self.limit + self.limit / 8 } else { self.limit };
        if self.used == 0 || self.used + bytes <= limit || (held == 0 && bytes <= self.always) {
            Room::Yes
        } else if held + bytes > self.share(held) {
            Room::No
        } else {
            Room::Theirs
        }
    }

    /// What each lane may keep when all need more than there is, the one that holds `held` among them.
    pub(super) fn share(&self, held: usize) -> usize {
        self.limit / (self.holders + usize::from(held == 0)).max(1)
    }

    /// A holder of `held` bytes takes more.
    pub(super) fn take(&mut self, held: &mut usize, bytes: usize) {
        self.holders += usize::from(*held == 0 && bytes > 0);
        *held += bytes;
        self.used += bytes;
    }

    /// A holder gives back.
    pub(super) fn give(&mut self, held: &mut usize, bytes: usize) {
        let bytes = bytes.min(*held);
        *held -= bytes;
        self.used -= bytes;
        self.holders -= usize::from(*held == 0 && bytes > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn who_came_first_does_not_keep_all_of_it() {
        let of = |bytes, shards| parts(bytes, shards).1.limit + parts(bytes, shards).0;
        assert_eq!((of(8 << 20, 2), of(64 << 20, 128), of(4096, 4)), (4 << 20, 1 << 20, 4096));
        let mut budget = Budget { limit: 4 << 20, always: 0, used: 0, holders: 0 };
        let (mut first, mut second) = (0, 0);
        budget.take(&mut first, 4 << 20);
        assert_eq!(
            (budget.ask(first, 1), budget.ask(second, 2 << 20), budget.ask(second, (2 << 20) + 1)),
            (Room::No, Room::Theirs, Room::No)
        );
        assert_eq!(budget.ask(second, 1 << 18), Room::Yes, "a little is there for who has nothing");
        let more = first - (2 << 20);
        budget.give(&mut first, more);
        assert_eq!(budget.ask(second, 2 << 20), Room::Yes);
        budget.take(&mut second, 2 << 20);
        assert_eq!((budget.ask(first, 1), budget.ask(second, 1), budget.share(second)), (Room::No, Room::No, 2 << 20));
        budget.give(&mut second, 9 << 20);
        assert_eq!((second, budget.used(), budget.holders), (0, 2 << 20, 1));
    }

    proptest! {
        /// Whoever hears `Theirs` gets its room when all others are cut to their share, and the sums stay true.
        #[test]
        fn a_share_is_always_to_be_had(steps in prop::collection::vec((0usize..6, 1usize..400, any::<bool>()), 1..200)) {
            let mut budget = Budget { limit: 1000, always: 0, used: 0, holders: 0 };
            let mut lanes = [0usize; 6];
            for (lane, bytes, take) in steps {
                if !take {
                    budget.give(&mut lanes[lane], bytes);
                } else {
                    if budget.ask(lanes[lane], bytes) == Room::Theirs {
                        let share = budget.share(lanes[lane]);
                        for other in (0..6).filter(|other| *other != lane) {
                            let over = lanes[other].saturating_sub(share);
                            budget.give(&mut lanes[other], over);
                        }
                        prop_assert_eq!(budget.ask(lanes[lane], bytes), Room::Yes);
                    }
                    if budget.ask(lanes[lane], bytes) == Room::Yes {
                        budget.take(&mut lanes[lane], bytes);
                    }
                }
                prop_assert_eq!(budget.used, lanes.iter().sum::<usize>());
                prop_assert_eq!(budget.holders, lanes.iter().filter(|held| **held > 0).count());
                prop_assert!(budget.used <= budget.limit + budget.limit / 8);
            }
        }
    }
}
