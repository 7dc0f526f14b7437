//! A shard's hand in the node's retry budget: which subscription's retry gets the next token. No I/O here.
//!
//! While there are tokens a retry takes one as it goes out. When there are none the subscriptions that have retries due stand in
//! line, each once, and get one token a turn; the shards that have such a line share evenly what there is. Whose retry is delivered
//! keeps its token for the next one, so that an endpoint that is well again is not kept waiting by those that are not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::time::Time;

use super::retry_budget::Budget;

/// How often a line asks for tokens.
const PAUSE: Duration = Duration::from_millis(20);

/// The shard's hand.
pub(super) struct Purse {
    budget: Arc<Budget>,
    line: VecDeque<SubscriptionId>,
    standing: HashSet<SubscriptionId>,
    /// Who has a token in hand and its turn.
    turn: Option<SubscriptionId>,
    /// Tokens that subscriptions keep, until the end of the shard's turn.
    kept: HashMap<SubscriptionId, u32>,
    /// First attempts that the budget was not told of yet.
    firsts: u32,
    /// When to ask for tokens again.
    ask_at: Time,
    /// Tokens that may still be taken at this asking.
    allowed: u64,
    /// How many came to the line, and how long it was, when last asked.
    joined: u64,
    shown: usize,
}

impl Purse {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            line: VecDeque::new(),
            standing: HashSet::default(),
            turn: None,
            kept: HashMap::default(),
            firsts: 0,
            ask_at: Time::ZERO,
            allowed: 0,
            joined: 0,
            shown: 0,
        }
    }

    /// A first attempt goes out.
    pub(super) fn first_attempt(&mut self) {
        self.firsts += 1;
    }

    /// Whether a retry of the subscription may go out now. Otherwise it stands in line, and gets its turn.
    pub(super) fn ask(&mut self, id: SubscriptionId, now: Time) -> bool {
        if self.turn == Some(id) {
            self.turn = None;
            return true;
        }
        if let Some(kept) = self.kept.get_mut(&id).filter(|kept| **kept > 0) {
            *kept -= 1;
            return true;
        }
        if self.line.is_empty() && self.budget.starving() == 0 && self.budget.take(now) {
            return true;
        }
        if self.standing.insert(id) {
            if self.line.is_empty() {
                self.budget.starves(true);
            }
            self.line.push_back(id);
            self.joined += 1;
        }
        false
    }

    /// The next in line, with a token in hand; [`Purse::end_turn`] must follow.
    pub(super) fn next_turn(&mut self, now: Time) -> Option<SubscriptionId> {
        if self.line.is_empty() {
            return None;
        }
        if now >= self.ask_at {
            self.ask_at = now.after(PAUSE);
            self.allowed = self.budget.tokens(now).div_ceil(u64::from(self.budget.starving().max(1)));
        }
        if self.allowed == 0 || !self.budget.take(now) {
            self.allowed = 0;
            return None;
        }
        self.allowed -= 1;
        let id = self.line.pop_front()?;
        self.standing.remove(&id);
        if self.line.is_empty() {
            self.budget.starves(false);
        }
        self.turn = Some(id);
        Some(id)
    }

    /// The turn is over; a token that was not used goes back.
    pub(super) fn end_turn(&mut self) {
        if self.turn.take().is_some() {
            self.budget.put_back();
        }
    }

    /// A retry that had a token was delivered, or not sent: its subscription may have it for another one, until [`Purse::flush`].
    pub(super) fn keep(&mut self, id: SubscriptionId) {
        *self.kept.entry(id).or_default() += 1;
    }

    /// Whether the subscription stands in line.
    pub(super) fn holds(&self, id: SubscriptionId) -> bool {
        self.standing.contains(&id)
    }

    /// How many came to the line since the last call, and by how much it has grown, or shrunk, since.
    pub(super) fn changes(&mut self) -> (u64, i64) {
        let length = self.line.len();
        let before = std::mem::replace(&mut self.shown, length);
        (std::mem::take(&mut self.joined), length as i64 - before as i64)
    }

    /// Gives back what was kept and not used, and tells the budget of first attempts: once a turn of the shard.
    pub(super) fn flush(&mut self) {
        for kept in self.kept.drain().map(|(_, kept)| kept) {
            (0..kept).for_each(|_| self.budget.put_back());
        }
        if self.firsts > 0 {
            self.budget.first_attempts(std::mem::take(&mut self.firsts));
        }
    }

    /// When to ask for tokens again, while there is a line.
    pub(super) fn wake(&self) -> Option<Time> {
        (!self.line.is_empty()).then_some(self.ask_at)
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.budget.starves(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::RetryBudget;

    const START: Time = Time::from_millis(1_000_000_000);

    fn id(number: u8) -> SubscriptionId {
        SubscriptionId::from_bytes([number; 16])
    }

    #[test]
    fn those_in_line_get_equal_turns_within_a_shard_and_over_shards() {
        let budget = Arc::new(Budget::new(&RetryBudget { share: 0.0, per_second: 100.0 }, START));
        let mut shards = [Purse::new(Arc::clone(&budget)), Purse::new(Arc::clone(&budget))];
        while shards[0].ask(id(0), START) {}
        assert!(!shards[0].ask(id(1), START) && !shards[1].ask(id(9), START));
        assert!(shards[0].holds(id(0)) && !shards[0].holds(id(9)));
        assert_eq!((shards[0].changes(), shards[0].changes()), ((2, 2), (0, 0)));
        let (mut now, mut sent) = (START, BTreeMap::<_, u32>::new());
        // The first shard has much to do and looks every millisecond, the other one rarely.
        for step in 0..60_000u32 {
            now = now.after(Duration::from_millis(1));
            for (number, purse) in shards.iter_mut().enumerate().filter(|(number, _)| *number == 0 || step % 30 == 0) {
                while let Some(next) = purse.next_turn(now) {
                    // Each has endless retries: it uses its turn and stands in line again.
                    assert!(purse.ask(next, now) && !purse.ask(next, now));
                    *sent.entry((number, next)).or_default() += 1;
                    purse.end_turn();
                }
            }
        }
        let count = |shard, number| sent[&(shard, id(number))];
        let (first, second, other) = (count(0, 0), count(0, 1), count(1, 9));
        assert!(first.abs_diff(second) <= 1, "{sent:?}");
        assert!((5800..=6001).contains(&(first + second + other)), "{sent:?}");
        assert!(other > 1500, "{sent:?}");
    }

    #[test]
    fn who_delivers_goes_on_with_its_token_past_the_line() {
        let budget = Arc::new(Budget::new(&RetryBudget { share: 0.0, per_second: 0.1 }, START));
        let mut purse = Purse::new(Arc::clone(&budget));
        assert!(purse.ask(id(1), START) && !purse.ask(id(2), START) && !purse.ask(id(1), START));
        for _ in 0..100 {
            purse.keep(id(1));
            assert!(!purse.ask(id(2), START) && purse.ask(id(1), START) && !purse.ask(id(1), START));
            purse.flush();
        }
        assert_eq!(purse.next_turn(START.after(PAUSE)), None, "all the time there was one token");
        purse.keep(id(1));
        purse.flush();
        assert_eq!(purse.next_turn(START.after(PAUSE * 2)), Some(id(2)));
    }

    #[test]
    fn a_turn_that_is_not_used_costs_nothing_and_a_line_that_ends_lets_others_go() {
        let budget = Arc::new(Budget::new(&RetryBudget { share: 1.0, per_second: 0.1 }, START));
        let (mut one, mut two) = (Purse::new(Arc::clone(&budget)), Purse::new(Arc::clone(&budget)));
        assert!(one.ask(id(1), START) && !one.ask(id(1), START));
        assert!(!two.ask(id(2), START));
        (0..3).for_each(|_| two.first_attempt());
        two.flush();
        assert_eq!(one.next_turn(START), Some(id(1)));
        one.end_turn();
        assert_eq!((budget.tokens(START), one.next_turn(START), one.wake()), (3, None, None));
        // The other shard still has a line.
        assert!(!one.ask(id(3), START));
        drop(two);
        assert_eq!(one.next_turn(START.after(PAUSE)), Some(id(3)));
        one.end_turn();
        one.keep(id(8));
        one.flush();
        assert!(one.ask(id(4), START.after(PAUSE)), "nobody waits");
    }
}
