//! Readers whose place the node keeps (interfaces §3): several applications read one stream, each with a cursor of its own, and the
//! members of one reader share its partitions. A subscription in the mode `pull` is read the same way; its place is its lanes'.
//!
//! [`Readers`] knows no door. The HTTP doors, ours and the Nakadi-style one, turn its answers into responses.

mod change;
mod definition;
pub mod group;
mod keep;
mod load;
mod one;
mod other;
mod seek;
mod session;
mod show;
mod stream;
mod token;

pub use definition::Definition;
pub use keep::Keep;
pub use other::{Commit, PartState};
pub use session::{Page, Session};
pub use show::write_page;
pub use stream::stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::{Mutex, RwLock};
use posthorn_domain::clock::Clock;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::names::Name;
use posthorn_domain::problem::{Code, Problem};
use posthorn_storage::state::{self, Batch, ReaderCursor, ReaderRow};
use tokio_util::sync::CancellationToken;

use self::group::{PartKey, Refused};
use self::keep::Keeper;
use self::one::{One, Standing, unknown};
use crate::config;
use crate::delivery::{Handle, Moves, Pull};
use crate::read::{Shares, TailNotify};
use crate::route::Live;

/// All readers of the node. Cheap to clone.
#[derive(Clone)]
pub struct Readers(Arc<Shared>);

/// What readers are made of.
pub struct Setup {
    /// Limits.
    pub config: config::Readers,
    /// The newest table.
    pub live: Live,
    /// Who tells that topics have grown.
    pub tail: Arc<TailNotify>,
    /// What those who read topics have together with them.
    pub shares: Shares,
    /// The time.
    pub clock: Clock,
    /// Where places are written.
    pub keep: Arc<dyn Keep>,
    /// The shards, which know where subscriptions stand.
    pub delivery: Option<Handle>,
    /// What an earlier process left.
    pub restored: state::Readers,
    /// Ends all waits.
    pub shutdown: CancellationToken,
}

struct Shared {
    config: config::Readers,
    live: Live,
    tail: Arc<TailNotify>,
    shares: Shares,
    clock: Clock,
    keeper: Keeper,
    delivery: Option<Handle>,
    shutdown: CancellationToken,
    own: RwLock<BTreeMap<String, Arc<One>>>,
    /// Held by who makes, changes or deletes one of them.
    changing: tokio::sync::Mutex<()>,
    pulled: Mutex<HashMap<SubscriptionId, Arc<One>>>,
}

/// How a commit went.
#[derive(Debug, Default)]
pub struct Committed {
    /// Where the reader stands now, as the text of a cursor.
    pub cursor: String,
}

impl Readers {
    /// Takes up what an earlier process left. Must be called within a runtime.
    pub fn new(setup: Setup) -> Self {
        let Setup { config, live, tail, shares, clock, keep, delivery, restored, shutdown } = setup;
        let own = restore(restored);
        let keeper = Keeper::start(keep);
        let (own, changing, pulled) = (RwLock::new(own), tokio::sync::Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { config, live, tail, shares, clock, keeper, delivery, shutdown, own, changing, pulled }))
    }

    /// Readers whose names please, with what they were made with, in order of their names.
    pub fn list(&self, pleases: impl Fn(&str) -> bool) -> Vec<(String, Definition)> {
        let own = self.0.own.read();
        let defined = |(name, one): (&String, &Arc<One>)| Some((name.clone(), one.state.lock().definition.clone()?));
        own.iter().filter(|(name, _)| pleases(name)).filter_map(defined).collect()
    }

    /// Opens a reader. With `member`, for one of several who share it.
    ///
    /// # Errors
    /// `not-found`; `rate-limited` when too many read already.
    pub fn open(&self, name: &str, member: Option<&str>) -> Result<Session, Problem> {
        let one = self.find(name)?;
        let waits = self.0.shares.turn()?;
        Ok(Session::new(self.clone(), one, member.map(str::to_owned), waits))
    }

    /// Moves the reader to `cursor`. Resolves once that is on the disk. A member moves the partitions that it holds.
    ///
    /// # Errors
    /// `invalid-request` or `cursor-expired` for the cursor; `in-use` when a partition is not the member's (any more).
    pub async fn commit(&self, name: &str, member: Option<&str>, cursor: &str) -> Result<Committed, Problem> {
        let one = self.find(name)?;
        let standing = self.standing(&one).await?;
        if standing.busy {
            return Err(still_busy());
        }
        let mine = self.held(&one, &standing, member);
        let target = seek::resolve(&standing, &mine, cursor).await?;
        let moved: Vec<(PartKey, u64)> = target
            .next
            .iter()
            // A seek to where it stands passes over what waits.
            .filter(|(key, next)| standing.parts.get(*key).is_some_and(|part| target.seek || part.next != **next))
            .map(|(key, next)| (key.clone(), *next))
            .collect();
        one.state.lock().group.commit(member, &moved, false, self.0.clock.now()).map_err(|refused| refusal(&refused))?;
        self.apply(&one, &standing, &moved, target.had.into_iter().collect(), target.seek).await?;
        // It is done, whatever has become of the reader meanwhile: a subscription may be pushed again.
        Ok(Committed { cursor: self.cursor(&one).await.unwrap_or_else(|_| cursor.to_owned()) })
    }

    /// Moves the reader, which was allowed. For a seek, who reads begins there.
    async fn apply(
        &self,
        one: &One,
        standing: &Standing,
        moved: &[(PartKey, u64)],
        had: Vec<crate::delivery::Waiting>,
        seek: bool,
    ) -> Result<(), Problem> {
        let mut batch = Batch::new();
        let mut moves = Moves { next: Vec::new(), had, lost: Vec::new(), seek };
        let write = {
            let mut state = one.state.lock();
            for (key, next) in moved {
                let Some(part) = standing.parts.get(key) else { continue };
                let life = part.route.log.settings().incarnation;
                state.passed.remove(key);
                if seek || *next < part.next {
                    state.seeks += 1;
                }
                if one.subscription.is_none() {
                    state.next.insert(key.clone(), (life, *next));
                }
                moves.next.push((key.0.clone(), life, key.1, *next));
            }
            let own = moved.iter().map(|(key, _)| key.clone()).filter(|_| one.subscription.is_none());
            state.write(&one.name, own, &mut batch)
        };
        match (one.subscription, &self.0.delivery) {
            (Some(id), Some(delivery)) => {
                // Though it has not moved: what an earlier commit did may not be stored yet.
                if !delivery.moved(id, moves).await? {
                    let pulled = delivery.pulled(id).await?;
                    return Err(match pulled {
                        Some(Pull::Busy | Pull::Ready(_)) => still_busy(),
                        _ => Problem::new(Code::InUse, "the subscription is not pulled any more; its events are pushed from here on"),
                    });
                }
                // What the shard wrote is on its way to the disk; now it is there.
                self.0.keeper.keep(Batch::new()).await
            }
            _ if batch.is_empty() => Ok(()),
            _ => {
                self.0.keeper.keep(batch).await?;
                one.state.lock().kept(&write);
                Ok(())
            }
        }
    }

    /// The partitions that a word such as `earliest` speaks of.
    fn held(&self, one: &One, standing: &Standing, member: Option<&str>) -> Vec<PartKey> {
        let Some(member) = member else { return standing.parts.keys().cloned().collect() };
        let shown = one.state.lock().group.shown(self.0.clock.now());
        shown.into_iter().find(|shown| shown.member == member).map_or_else(Vec::new, |shown| shown.parts)
    }

    fn find(&self, name: &str) -> Result<Arc<One>, Problem> {
        if let Some(one) = self.0.own.read().get(name) {
            return Ok(Arc::clone(one));
        }
        let id: SubscriptionId = name.parse().map_err(|_| unknown(name))?;
        let table = self.0.live.load();
        if !table.subscriptions.contains_key(&id) {
            return Err(unknown(name));
        }
        let mut pulled = self.0.pulled.lock();
        if !pulled.contains_key(&id) {
            pulled.retain(|id, _| table.subscriptions.contains_key(id));
        }
        Ok(Arc::clone(pulled.entry(id).or_insert_with(|| Arc::new(One::of_subscription(id)))))
    }

    async fn standing(&self, one: &One) -> Result<Standing, Problem> {
        one.standing(&self.0.live, self.0.delivery.as_ref()).await
    }
}

fn restore(restored: state::Readers) -> BTreeMap<String, Arc<One>> {
    let mut own = BTreeMap::new();
    for ReaderRow { name, document } in restored.readers {
        match Definition::restore(&document) {
            Some(definition) => drop(own.insert(name.clone(), Arc::new(One::own(&name, definition)))),
            None => tracing::error!(reader = name, "a reader cannot be restored; make it again"),
        }
    }
    for ReaderCursor { reader, topic, incarnation, partition, next } in restored.cursors {
        let Some(one) = own.get(&reader) else { continue };
        let mut state = one.state.lock();
        let place = state.next.entry((topic, partition)).or_insert((incarnation, next));
        // Of two lives of a topic the later counts.
        *place = (*place).max((incarnation, next));
    }
    own
}

fn row(name: &str, key: &PartKey, incarnation: u64, next: u64) -> ReaderCursor {
    ReaderCursor { reader: name.to_owned(), topic: key.0.clone(), incarnation, partition: key.1, next }
}

/// Whether a user may give a reader this name.
///
/// # Errors
/// `invalid-resource` says how names are.
pub fn check_name(name: &str) -> Result<(), Problem> {
    if let Err(error) = name.parse::<Name>() {
        return Err(Problem::new(Code::InvalidResource, error.to_string()));
    }
    if name.parse::<SubscriptionId>().is_ok() {
        let detail = "the name is a subscription's id: give the subscription `\"mode\": \"pull\"` at the control plane instead";
        return Err(Problem::new(Code::InvalidResource, detail));
    }
    Ok(())
}

fn still_busy() -> Problem {
    let detail = "requests of the subscription are still under way, or its waiting events are being read; commit again in a moment";
    Problem::new(Code::Unavailable, detail).with_retry_after(1)
}

fn refusal(refused: &Refused) -> Problem {
    let detail = match refused {
        Refused::NotHeld((topic, partition), Some(holder)) => {
            format!("partition {partition} of `{topic}` belongs to member `{holder}` now; its events may be given out again")
        }
        Refused::NotHeld((topic, partition), None) => {
            format!("partition {partition} of `{topic}` is not held by this member: its lease has passed; read again to get a share")
        }
        Refused::Shared(members) => {
            format!("members share this reader ({}); name yourself with `member`, or wait until they are gone", members.join(", "))
        }
        Refused::NotGiven((topic, partition)) => format!("the cursor of partition {partition} of `{topic}` was not given to this member"),
    };
    Problem::new(Code::InUse, detail)
}
