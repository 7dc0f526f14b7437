//! Makes versions of an index: files groups, divides crowded buckets, and takes out what is gone.

use std::sync::Arc;

use posthorn_domain::filter::{Filter, Place};
use smallvec::SmallVec;

use super::filters::{Filters, Interner, Numbers};
use super::hooks::{End, Hook, Kind, Spot, Spots, key};
use super::node::{Node, ROOT};
use super::{Index, NODE};

/// More groups than this under one key get a node of their own.
const BUCKET: usize = 8;
/// What a condition counts as more when nothing is known of how many events fulfil it.
const VAGUE: usize = 16;

/// The one writer of an index. What it has given out stays as it was.
pub struct Editor {
    index: Index,
    interner: Interner,
    spots: Spots,
    nodes: Numbers,
    /// Where each group is filed.
    homes: Vec<SmallVec<[Home; 2]>>,
}

/// One place where a group is filed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Home {
    node: u32,
    /// The hooks that led to the node, as bits.
    used: u16,
    /// The hook under which it is filed there.
    hook: u8,
    /// Which of its possibilities.
    end: u8,
}

/// For a group that no hook is left for.
const REST: u8 = u8::MAX;

impl Default for Editor {
    fn default() -> Self {
        let mut nodes = Numbers::default();
        assert_eq!(nodes.take(), ROOT, "the root is there from the start");
        Self { index: Index::default(), interner: Interner::default(), spots: Spots::default(), nodes, homes: Vec::new() }
    }
}

impl Editor {
    /// The index as it is now.
    pub fn index(&self) -> Index {
        Index { filters: self.interner.bound(), ..self.index.clone() }
    }

    /// A list of filters that all must hold; equal lists are one. To be given back with [`Editor::forget`].
    pub fn intern(&mut self, filters: Vec<Filter>) -> Arc<Filters> {
        self.interner.intern(filters)
    }

    /// One user of the list less. No slot may have it any more that only this user had added.
    pub fn forget(&mut self, filters: &Filters) {
        self.interner.forget(filters);
    }

    /// Events for which the filters hold are wanted by `slot` from now on.
    pub fn add(&mut self, filters: &Arc<Filters>, slot: u32) {
        let number = filters.group as usize;
        while self.index.groups.len() <= number {
            self.index.groups.push_back(Default::default());
            self.homes.push(SmallVec::new());
        }
        let group = &mut self.index.groups[number];
        let is_new = group.slots.is_empty();
        group.slots.insert(slot);
        if is_new {
            group.filters = Some(Arc::clone(filters));
            self.index.data_readers += u32::from(filters.reads_data());
            let hooks = self.spots.hooks(filters);
            self.file(filters.group, &hooks, ROOT, 0);
        }
    }

    /// And no longer.
    pub fn remove(&mut self, filters: &Filters, slot: u32) {
        let Some(group) = self.index.groups.get_mut(filters.group as usize) else { return };
        let was_filed = !group.slots.is_empty();
        group.slots.remove(slot);
        if was_filed && group.slots.is_empty() {
            group.filters = None;
            self.index.data_readers -= u32::from(filters.reads_data());
            self.unfile(filters);
        }
    }

    fn file(&mut self, group: u32, hooks: &[Hook], node: u32, used: u16) {
        let Some(at) = self.choose(hooks, node, used) else {
            self.node(node).rest.insert(group);
            return self.settle(group, Home { node, used, hook: REST, end: 0 });
        };
        for end in 0..hooks[usize::from(at)].ends.len() {
            let end = u8::try_from(end).expect("hooks have few possibilities");
            self.file_end(group, hooks, Home { node, used, hook: at, end });
        }
    }

    fn file_end(&mut self, group: u32, hooks: &[Hook], home: Home) {
        let Hook { spot, ends, .. } = &hooks[usize::from(home.hook)];
        match ends[usize::from(home.end)] {
            End::Line(kind, number) => {
                let probe = self.node(home.node).open(spot, kind);
                probe.count += 1;
                probe.line.insert((number, group));
                self.settle(group, home);
            }
            End::Key(kind, hash) => {
                let key = key(hash, home.node);
                if let Some(child) = self.child(key, home.node, spot, kind) {
                    return self.file(group, hooks, child, home.used | 1 << home.hook);
                }
                self.node(home.node).open(spot, kind).count += 1;
                self.index.postings.insert(key, group);
                self.settle(group, home);
                if self.groups_at(key).len() > BUCKET {
                    self.divide(home.node, key, spot, kind);
                }
            }
        }
    }

    /// The hook that fewest others share. A topic comes first, as every event is on just one.
    fn choose(&self, hooks: &[Hook], node: u32, used: u16) -> Option<u8> {
        let is_free = |at: &u8| used >> at & 1 == 0;
        // Several possibilities of several hooks would multiply.
        let several = hooks.iter().zip(0u8..).any(|(hook, at)| !is_free(&at) && hook.ends.len() > 1);
        let free = hooks.iter().zip(0u8..).filter(|(hook, at)| is_free(at) && !(several && hook.ends.len() > 1));
        free.min_by_key(|(hook, _)| self.weight(hook, node)).map(|(_, at)| at)
    }

    fn weight(&self, hook: &Hook, node: u32) -> usize {
        let is_topic = matches!(&hook.spot.place, Place::Attribute(name) if &**name == "topic");
        if is_topic && hook.ends.len() == 1 && hook.ends[0].kind() == Kind::Text {
            return 0;
        }
        let shared = hook.ends.iter().map(|end| self.company(hook, *end, node)).max().unwrap_or(0);
        1 + shared + if hook.vague { VAGUE } else { 0 }
    }

    /// How many would be found together with what is filed under this end; one more question to each event counts too.
    fn company(&self, hook: &Hook, end: End, node: u32) -> usize {
        let here = &self.index.nodes[node as usize];
        let Some(probe) = here.probe(&hook.spot, end.kind()) else { return 1 + here.probes.len() };
        match end {
            End::Line(..) => probe.line.len() / 2,
            End::Key(kind, hash) => {
                let key = key(hash, node);
                match self.child(key, node, &hook.spot, kind) {
                    Some(child) => BUCKET + self.index.nodes[child as usize].count.max(1).ilog2() as usize,
                    None => self.groups_at(key).len(),
                }
            }
        }
    }

    /// The node to which this value leads.
    fn child(&self, key: u32, parent: u32, spot: &Arc<Spot>, kind: Kind) -> Option<u32> {
        let children = self.index.postings.at(key).filter(|found| found & NODE != 0).map(|found| found & !NODE);
        children.into_iter().find(|child| {
            let node = &self.index.nodes[*child as usize];
            node.parent == parent && node.via.as_ref().is_some_and(|via| Arc::ptr_eq(&via.0, spot) && via.1 == kind)
        })
    }

    fn groups_at(&self, key: u32) -> SmallVec<[u32; 16]> {
        self.index.postings.at(key).filter(|found| found & NODE == 0).collect()
    }

    /// Gives the groups under a value a node of their own, where they are told apart by what else they demand.
    fn divide(&mut self, node: u32, key: u32, spot: &Arc<Spot>, kind: Kind) {
        let mut moving = Vec::new();
        for group in self.groups_at(key) {
            let Some(filters) = self.index.groups[group as usize].filters.clone() else { continue };
            let hooks = self.spots.hooks(&filters);
            // Others may be here because their keys are the same by chance; they stay.
            let home = self.homes[group as usize].iter().copied().find(|home| home.leads_to(node, key, spot, kind, &hooks));
            moving.extend(home.map(|home| (group, home, hooks)));
        }
        if moving.len() <= BUCKET {
            return;
        }
        let child = self.nodes.take();
        while self.index.nodes.len() <= child as usize {
            self.index.nodes.push_back(Node::default());
        }
        *self.node(child) = Node { parent: node, key, via: Some((Arc::clone(spot), kind)), ..Node::default() };
        self.node(node).open(spot, kind).count += 1;
        self.index.postings.insert(key, NODE | child);
        for (group, home, hooks) in moving {
            self.index.postings.remove(key, group);
            self.node(node).close(spot, kind);
            self.homes[group as usize].retain(|known| *known != home);
            self.file(group, &hooks, child, home.used | 1 << home.hook);
            self.uncount(node);
        }
    }

    fn unfile(&mut self, filters: &Filters) {
        let group = filters.group;
        let hooks = self.spots.hooks(filters);
        for home in std::mem::take(&mut self.homes[group as usize]) {
            if home.hook == REST {
                self.node(home.node).rest.remove(&group);
            } else {
                let Hook { spot, ends, .. } = &hooks[usize::from(home.hook)];
                match ends[usize::from(home.end)] {
                    End::Line(kind, number) => {
                        let node = self.node(home.node);
                        node.open(spot, kind).line.remove(&(number, group));
                        node.close(spot, kind);
                    }
                    End::Key(kind, hash) => {
                        self.index.postings.remove(key(hash, home.node), group);
                        self.node(home.node).close(spot, kind);
                    }
                }
            }
            self.uncount(home.node);
        }
    }

    /// Notes a filing, in all nodes above it.
    fn settle(&mut self, group: u32, home: Home) {
        self.homes[group as usize].push(home);
        let mut number = home.node;
        loop {
            let node = self.node(number);
            node.count += 1;
            if number == ROOT {
                return;
            }
            number = node.parent;
        }
    }

    /// One filing less at or below the node; nodes that are empty go.
    fn uncount(&mut self, node: u32) {
        let mut number = node;
        loop {
            let node = self.node(number);
            node.count -= 1;
            if number == ROOT {
                return;
            }
            let (parent, key, via) = (node.parent, node.key, node.via.clone());
            if node.count == 0 {
                *node = Node::default();
                self.nodes.give_back(number);
                self.index.postings.remove(key, NODE | number);
                if let Some((spot, kind)) = via {
                    self.node(parent).close(&spot, kind);
                }
            }
            number = parent;
        }
    }

    fn node(&mut self, number: u32) -> &mut Node {
        &mut self.index.nodes[number as usize]
    }
}

impl Home {
    /// Whether the group is filed in `node` under this key, for this very value.
    fn leads_to(self, node: u32, at: u32, spot: &Arc<Spot>, kind: Kind, hooks: &[Hook]) -> bool {
        let Some(hook) = hooks.get(usize::from(self.hook)).filter(|hook| self.node == node && Arc::ptr_eq(&hook.spot, spot)) else {
            return false;
        };
        matches!(hook.ends[usize::from(self.end)], End::Key(of, hash) if of == kind && key(hash, node) == at)
    }
}
