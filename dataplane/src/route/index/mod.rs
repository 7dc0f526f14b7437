//! From an event to the subscriptions that want it, at a cost that grows with what matches and not with what exists.
//!
//! Subscriptions with equal filters are one *group*. A group is filed under one of its necessary conditions, the one that
//! fewest others share; where too many share it all the same, they get a *node* of their own, in which they are filed by what
//! else they demand. An event is asked only for what its node files by, finds a few groups, and those are evaluated whole. So
//! the index may only err by finding too much, never too little. All parts are shared between versions: a change costs what
//! it changes. Pure.

mod edit;
mod filters;
mod group;
mod hooks;
mod memo;
mod node;
mod postings;
mod seen;

pub use edit::Editor;
pub use filters::{Filters, Known};

use imbl::Vector;
use posthorn_domain::filter::View;

use self::group::Group;
use self::hooks::{Kind, key};
use self::memo::Memo;
use self::node::{Node, ROOT};
use self::postings::Postings;
use self::seen::Seen;

/// Tells nodes from groups among the numbers under a key.
const NODE: u32 = 1 << 31;

/// One version of the index. Cloning costs a few reference counts.
#[derive(Clone)]
pub struct Index {
    postings: Postings,
    nodes: Vector<Node>,
    groups: Vector<Group>,
    /// Filters have numbers below this.
    filters: u32,
    /// How many groups look at the data.
    data_readers: u32,
}

impl Default for Index {
    fn default() -> Self {
        let nodes = Vector::from_iter([Node::default()]);
        Self { postings: Postings::default(), nodes, groups: Vector::new(), filters: 0, data_readers: 0 }
    }
}

impl Index {
    /// Appends the slots of the subscriptions whose filters all hold, in rising order, each once.
    pub fn matches(&self, view: &View<'_>, out: &mut Vec<u32>) {
        let before = out.len();
        Memo::lend(self.filters, |memo| Walk { index: self, seen: Seen::new(view), memo, out }.node(ROOT));
        // A group with several possibilities may have been met twice.
        out[before..].sort_unstable();
        let mut last = None;
        let mut at = 0;
        out.retain(|slot| {
            at += 1;
            at <= before || last.replace(*slot) != Some(*slot)
        });
    }

    /// Whether a filter here may look at the data, so that it has to be parsed.
    pub fn reads_data(&self) -> bool {
        self.data_readers > 0
    }
}

struct Walk<'a, 'v, 'm> {
    index: &'a Index,
    seen: Seen<'v>,
    memo: &'m mut Memo,
    out: &'m mut Vec<u32>,
}

impl Walk<'_, '_, '_> {
    fn node(&mut self, number: u32) {
        let Some(node) = self.index.nodes.get(number as usize) else { return };
        for group in &node.rest {
            self.group(*group);
        }
        for probe in node.probes.iter() {
            match probe.kind {
                Kind::Low => {
                    let Some(value) = self.seen.number(&probe.spot) else { continue };
                    probe.line.range(..=(value, u32::MAX)).for_each(|(_, group)| self.group(*group));
                }
                Kind::High => {
                    let Some(value) = self.seen.number(&probe.spot) else { continue };
                    probe.line.range((value, 0)..).for_each(|(_, group)| self.group(*group));
                }
                kind => {
                    if let Some(hash) = self.seen.hash(&probe.spot, kind) {
                        self.bucket(key(hash, number), number);
                    }
                }
            }
        }
    }

    fn bucket(&mut self, key: u32, parent: u32) {
        for found in self.index.postings.at(key) {
            if found & NODE == 0 {
                self.group(found);
                continue;
            }
            // Keys may meet by chance: only a node's own children, so that a walk always ends.
            let child = found & !NODE;
            if self.index.nodes.get(child as usize).is_some_and(|node| node.parent == parent) {
                self.node(child);
            }
        }
    }

    fn group(&mut self, number: u32) {
        let Some(group) = self.index.groups.get(number as usize) else { return };
        if group.filters.as_ref().is_some_and(|filters| filters.iter().all(|filter| self.memo.holds(filter, self.seen.view))) {
            group.slots.append_to(self.out);
        }
    }
}

#[cfg(test)]
mod tests;
