//! One node of the tree: what to ask an event that has come here, and who is filed here.

use std::sync::Arc;

use imbl::OrdSet;
use posthorn_domain::filter::Number;

use super::hooks::{Kind, Spot};

/// The node that every event begins at.
pub(super) const ROOT: u32 = 0;

/// A node. Groups that share a value and are too many for one bucket have a node of their own.
#[derive(Clone, Default)]
pub(super) struct Node {
    /// What events are asked.
    pub(super) probes: Arc<[Probe]>,
    /// Groups that nothing more can be asked about.
    pub(super) rest: OrdSet<u32>,
    /// Filings at or below this node.
    pub(super) count: u32,
    /// The node above.
    pub(super) parent: u32,
    /// The key that leads from there to here.
    pub(super) key: u32,
    /// The place and kind of that key's value; none at the root.
    pub(super) via: Option<(Arc<Spot>, Kind)>,
}

/// One question to an event.
#[derive(Clone)]
pub(super) struct Probe {
    pub(super) spot: Arc<Spot>,
    pub(super) kind: Kind,
    /// Groups and nodes that are found by it.
    pub(super) count: u32,
    /// Of `Low` and `High`: bounds and their groups.
    pub(super) line: OrdSet<(Number, u32)>,
}

impl Node {
    /// The probe for this place and kind.
    pub(super) fn probe(&self, spot: &Arc<Spot>, kind: Kind) -> Option<&Probe> {
        self.probes.iter().find(|probe| probe.is(spot, kind))
    }

    /// The same, to be changed; opened if there is none yet.
    pub(super) fn open(&mut self, spot: &Arc<Spot>, kind: Kind) -> &mut Probe {
        let at = self.probes.iter().position(|probe| probe.is(spot, kind)).unwrap_or_else(|| {
            let new = Probe { spot: Arc::clone(spot), kind, count: 0, line: OrdSet::new() };
            self.probes = self.probes.iter().cloned().chain([new]).collect::<Vec<_>>().into();
            self.probes.len() - 1
        });
        &mut Arc::make_mut(&mut self.probes)[at]
    }

    /// One thing less is found by the probe; without any it goes.
    pub(super) fn close(&mut self, spot: &Arc<Spot>, kind: Kind) {
        let probe = self.open(spot, kind);
        probe.count = probe.count.saturating_sub(1);
        if probe.count == 0 {
            self.probes = self.probes.iter().filter(|probe| !probe.is(spot, kind)).cloned().collect::<Vec<_>>().into();
        }
    }
}

impl Probe {
    fn is(&self, spot: &Arc<Spot>, kind: Kind) -> bool {
        self.kind == kind && Arc::ptr_eq(&self.spot, spot)
    }
}
