//! Members of one reader and the partitions that each may have. A function of polls, commits and time: no I/O here.
//!
//! A partition has one holder at most. It goes to another member when its holder has committed what it was given of it, or when
//! a lease has passed since it was asked to let go, or since the holder was last heard of.

use std::collections::BTreeMap;
use std::time::Duration;

use posthorn_domain::names::TopicName;
use posthorn_domain::time::Time;

/// A partition of a topic.
pub type PartKey = (TopicName, u32);

/// The members of one reader.
#[derive(Debug, Default)]
pub struct Group {
    members: BTreeMap<String, Member>,
    held: BTreeMap<PartKey, Holding>,
    stamp: u64,
}

#[derive(Debug)]
struct Member {
    /// Until when it may be silent.
    until: Time,
    lease: Duration,
    /// It has said goodbye, and may still commit.
    gone: bool,
    /// It chose its partitions itself, and has no share in the others.
    fixed: bool,
}

#[derive(Debug)]
struct Holding {
    member: String,
    /// One above the last that was given.
    given: Option<u64>,
    /// By when it must let go.
    leaving: Option<Time>,
    /// Tells one time of holding from another.
    stamp: u64,
}

/// Who has what.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// The member.
    pub member: String,
    /// Until when it may be silent.
    pub until: Time,
    /// What it holds.
    pub parts: Vec<PartKey>,
    /// Whether each of these is being handed over.
    pub leaving: Vec<bool>,
}

/// Why a commit is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The partition is another's, or nobody's.
    NotHeld(PartKey, Option<String>),
    /// The reader is shared by members, and the commit names none.
    Shared(Vec<String>),
    /// More than was given.
    NotGiven(PartKey),
}

impl Group {
    /// The member is there: its lease begins anew, and it gets its share of `parts`. `None` when there are `max` others already.
    pub fn poll(&mut self, member: &str, parts: &[PartKey], now: Time, lease: Duration, max: usize) -> Option<Vec<(PartKey, u64)>> {
        self.expire(now);
        if !self.members.contains_key(member) && self.members.values().filter(|member| !member.gone).count() >= max {
            return None;
        }
        let fixed = self.members.get(member).is_some_and(|member| member.fixed);
        self.members.insert(member.to_owned(), Member { until: now.after(lease), lease, gone: false, fixed });
        self.held.retain(|part, _| parts.binary_search(part).is_ok());
        if !fixed {
            let shared = parts.len() - self.chosen();
            self.let_go(shared, now);
            self.take(member, parts, shared);
        }
        let stays = |holding: &Holding| holding.member == member && holding.leaving.is_none();
        Some(self.held.iter().filter(|(_, holding)| stays(holding)).map(|(part, holding)| (part.clone(), holding.stamp)).collect())
    }

    /// The member gets just these partitions.
    ///
    /// # Errors
    /// One of them that another holds; nothing has changed then.
    pub fn claim(&mut self, member: &str, parts: impl Iterator<Item = PartKey> + Clone, now: Time, lease: Duration) -> Result<(), PartKey> {
        self.expire(now);
        if let Some(taken) = parts.clone().find(|part| self.held.contains_key(part)) {
            return Err(taken);
        }
        self.members.insert(member.to_owned(), Member { until: now.after(lease), lease, gone: false, fixed: true });
        for part in parts {
            self.stamp += 1;
            self.held.insert(part, Holding { member: member.to_owned(), given: None, leaving: None, stamp: self.stamp });
        }
        Ok(())
    }

    /// The member is about to be given events up to these offsets. `false` when it does not hold all of these partitions any more,
    /// and then it must not be given anything.
    pub fn give(&mut self, member: &str, parts: &[(PartKey, u64, u64)], now: Time) -> bool {
        self.expire(now);
        let holds = |(part, stamp, _): &(PartKey, u64, u64)| {
            self.held.get(part).is_some_and(|holding| holding.member == member && holding.stamp == *stamp && holding.leaving.is_none())
        };
        if !parts.iter().all(holds) {
            return false;
        }
        for (part, _, next) in parts {
            if let Some(holding) = self.held.get_mut(part) {
                holding.given = Some(holding.given.map_or(*next, |given| given.max(*next)));
            }
        }
        true
    }

    /// Whether this commit may be made; with `given`, only up to what was given.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub fn commit(&mut self, member: Option<&str>, moves: &[(PartKey, u64)], given: bool, now: Time) -> Result<(), Refused> {
        self.expire(now);
        let Some(member) = member else {
            return if self.members.is_empty() { Ok(()) } else { Err(Refused::Shared(self.members.keys().cloned().collect())) };
        };
        for (part, next) in moves {
            match self.held.get(part) {
                Some(holding) if holding.member == member => {
                    if given && holding.given.is_none_or(|given| *next > given) {
                        return Err(Refused::NotGiven(part.clone()));
                    }
                }
                other => return Err(Refused::NotHeld(part.clone(), other.map(|holding| holding.member.clone()))),
            }
        }
        for (part, next) in moves {
            self.committed(part, *next);
        }
        Ok(())
    }

    /// The member says goodbye: what it has nothing uncommitted of is free at once, the rest when its lease has passed.
    pub fn leave(&mut self, member: &str, now: Time) {
        let Some(left) = self.members.get_mut(member) else { return };
        left.gone = true;
        left.until = now.after(left.lease);
        let until = left.until;
        self.held.retain(|_, holding| holding.member != member || holding.given.is_some());
        for holding in self.held.values_mut().filter(|holding| holding.member == member) {
            holding.leaving = Some(until);
        }
        if self.held.values().all(|holding| holding.member != member) {
            self.members.remove(member);
        }
    }

    /// The member has to go: what it was given and did not commit is given to others.
    pub fn remove(&mut self, member: &str) {
        self.members.remove(member);
        self.held.retain(|_, holding| holding.member != member);
    }

    /// Everyone is sent away.
    pub fn clear(&mut self) {
        self.members.clear();
        self.held.clear();
    }

    /// Who is here.
    pub fn shown(&mut self, now: Time) -> Vec<Shown> {
        self.expire(now);
        let of = |(name, member): (&String, &Member)| {
            let held = self.held.iter().filter(|(_, holding)| holding.member == *name);
            let (parts, leaving) = held.map(|(part, holding)| (part.clone(), holding.leaving.is_some())).unzip();
            Shown { member: name.clone(), until: member.until, parts, leaving }
        };
        self.members.iter().map(of).collect()
    }

    /// Whether the member is known.
    pub fn knows(&self, member: &str) -> bool {
        self.members.contains_key(member)
    }

    fn expire(&mut self, now: Time) {
        self.members.retain(|_, member| member.until > now);
        let members = &self.members;
        self.held.retain(|_, holding| members.contains_key(&holding.member) && holding.leaving.is_none_or(|until| until > now));
        let held = &self.held;
        self.members.retain(|name, member| !member.gone || held.values().any(|holding| holding.member == *name));
    }

    /// Has those who hold more than their share let go of the rest.
    fn let_go(&mut self, parts: usize, now: Time) {
        for (name, quota) in self.quotas(parts) {
            let Some(lease) = self.members.get(&name).map(|member| member.lease) else { continue };
            let stays = |holding: &&mut Holding| holding.member == name && holding.leaving.is_none();
            let mut mine: Vec<_> = self.held.values_mut().filter(stays).collect();
            // What is not in use can go at once.
            mine.sort_by_key(|holding| holding.given.is_none());
            mine.into_iter().skip(quota).for_each(|holding| holding.leaving = Some(now.after(lease)));
            self.held.retain(|_, holding| holding.member != name || holding.leaving.is_none() || holding.given.is_some());
        }
    }

    /// Partitions of members that chose theirs.
    fn chosen(&self) -> usize {
        self.held.values().filter(|holding| self.members.get(&holding.member).is_some_and(|member| member.fixed)).count()
    }

    fn take(&mut self, member: &str, parts: &[PartKey], shared: usize) {
        let quota = self.quotas(shared).into_iter().find(|(name, _)| name == member).map_or(0, |(_, quota)| quota);
        let mut count = self.count(member);
        for part in parts {
            if count >= quota {
                return;
            }
            if !self.held.contains_key(part) {
                self.stamp += 1;
                let holding = Holding { member: member.to_owned(), given: None, leaving: None, stamp: self.stamp };
                self.held.insert(part.clone(), holding);
                count += 1;
            }
        }
    }

    /// How many partitions each may have: as equal as can be; who has more already keeps one more.
    fn quotas(&self, parts: usize) -> Vec<(String, usize)> {
        let mut names: Vec<_> =
            self.members.iter().filter(|(_, member)| !member.gone && !member.fixed).map(|(name, _)| name.clone()).collect();
        names.sort_by_key(|name| std::cmp::Reverse(self.count(name)));
        let (each, more) = (parts / names.len().max(1), parts % names.len().max(1));
        names.into_iter().enumerate().map(|(n, name)| (name, each + usize::from(n < more))).collect()
    }

    fn count(&self, member: &str) -> usize {
        self.held.values().filter(|holding| holding.member == member && holding.leaving.is_none()).count()
    }

    fn committed(&mut self, part: &PartKey, next: u64) {
        let Some(holding) = self.held.get_mut(part) else { return };
        if holding.given.is_some_and(|given| given <= next) {
            holding.given = None;
            if holding.leaving.is_some() {
                self.held.remove(part);
            }
        }
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
