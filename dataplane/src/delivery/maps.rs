//! Maps whose order is the same in every run, so that a run can be repeated exactly. Their keys are ours: subscriptions, topics,
//! partitions. Nobody outside can choose them to collide.

use foldhash::fast::FixedState;

/// A map that goes through its entries in the same order in every run that fills it in the same way.
pub(super) type HashMap<K, V> = std::collections::HashMap<K, V, FixedState>;
/// A set, likewise.
pub(super) type HashSet<T> = std::collections::HashSet<T, FixedState>;
