//! What a door that speaks of partitions one by one needs: where each stands, who holds it, and commits that name it.

use std::collections::BTreeMap;
use std::sync::Arc;

use posthorn_domain::names::TopicName;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::time::Time;

use super::group::{PartKey, Refused};
use super::one::One;
use super::{Definition, Readers, Session, refusal};

/// One partition of a reader.
#[derive(Clone, Debug)]
pub struct PartState {
    /// Which.
    pub part: PartKey,
    /// The next offset that is not committed.
    pub next: u64,
    /// What can be read.
    pub bounds: posthorn_storage::log::Bounds,
    /// Who holds it, and whether it is being handed over.
    pub holder: Option<(String, bool)>,
    /// When the first event that is not committed was taken in.
    pub oldest: Option<Time>,
}

/// What came of a commit on one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The reader has moved.
    Committed,
    /// It was there or further already.
    Outdated,
}

impl Readers {
    /// A reader that nobody else knows and that is gone when this is.
    ///
    /// # Errors
    /// `topic-unknown`; `rate-limited` when too many read already.
    pub fn passing(&self, definition: Definition, from: &BTreeMap<PartKey, u64>) -> Result<Session, Problem> {
        let next = self.begin(&definition, from)?;
        let one = Arc::new(One::own("", definition));
        one.state.lock().next = next;
        Ok(Session::new(self.clone(), one, None, self.0.shares.turn()?))
    }

    /// All partitions of a reader.
    ///
    /// # Errors
    /// `not-found`, `topic-unknown`.
    pub async fn parts(&self, name: &str) -> Result<Vec<PartState>, Problem> {
        let one = self.find(name)?;
        let standing = self.standing(&one).await?;
        let shown = one.state.lock().group.shown(self.0.clock.now());
        let holder = |part: &PartKey| {
            let mut held =
                shown.iter().flat_map(|shown| shown.parts.iter().zip(&shown.leaving).map(move |(held, leaving)| (shown, held, *leaving)));
            held.find(|(_, held, _)| *held == part).map(|(shown, _, leaving)| (shown.member.clone(), leaving))
        };
        let mut parts = Vec::new();
        for (part, state) in &standing.parts {
            let bounds = state.route.log.bounds(part.1);
            let oldest = match state.route.log.read(part.1, state.next.max(bounds.start), 1, 1).await {
                Ok(page) => page.records.first().map(|stored| stored.record.accepted_at),
                Err(_) => None,
            };
            parts.push(PartState { part: part.clone(), next: state.next, bounds, holder: holder(part), oldest });
        }
        Ok(parts)
    }

    /// Commits on single partitions what a member was given. Resolves once that is on the disk.
    ///
    /// # Errors
    /// `invalid-resource` when the member was not given that; nothing has changed then.
    pub async fn commit_parts(&self, name: &str, member: &str, places: &[(PartKey, u64)]) -> Result<Vec<Commit>, Problem> {
        let one = self.find(name)?;
        let standing = self.standing(&one).await?;
        let mut at: BTreeMap<&PartKey, u64> = BTreeMap::new();
        let mut results = Vec::new();
        for (part, next) in places {
            let Some(state) = standing.parts.get(part) else { return Err(unknown_part(part)) };
            let place = at.entry(part).or_insert(state.next);
            results.push(if next > place { Commit::Committed } else { Commit::Outdated });
            *place = (*place).max(*next);
        }
        let moved: Vec<(PartKey, u64)> = at
            .into_iter()
            .filter(|(part, next)| standing.parts.get(*part).is_some_and(|state| state.next < *next))
            .map(|(part, next)| (part.clone(), next))
            .collect();
        {
            let mut state = one.state.lock();
            if !state.group.knows(member) {
                return Err(Problem::new(Code::InvalidResource, "the stream is not known (any more); its cursors cannot be committed"));
            }
            let answer = |refused: Refused| Problem::new(Code::InvalidResource, refusal(&refused).detail());
            state.group.commit(Some(member), &moved, true, self.0.clock.now()).map_err(answer)?;
        }
        self.apply(&one, &standing, &moved, Vec::new(), false).await?;
        Ok(results)
    }

    /// Puts the reader elsewhere, whoever reads; all members are sent away.
    ///
    /// # Errors
    /// `invalid-resource` for partitions that it does not read.
    pub async fn reset(&self, name: &str, places: &[(PartKey, u64)]) -> Result<(), Problem> {
        let one = self.find(name)?;
        let standing = self.standing(&one).await?;
        if let Some((part, _)) = places.iter().find(|(part, _)| !standing.parts.contains_key(part)) {
            return Err(unknown_part(part));
        }
        one.state.lock().group.clear();
        self.apply(&one, &standing, places, Vec::new(), true).await
    }
}

fn unknown_part((topic, partition): &(TopicName, u32)) -> Problem {
    Problem::new(Code::InvalidResource, format!("partition {partition} of `{topic}` is not one that the subscription reads"))
}
