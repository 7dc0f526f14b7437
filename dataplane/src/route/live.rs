//! The newest [`Table`], for everyone who asks.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::Table;

/// The newest table. [`Live::load`] costs a few nanoseconds and must not be held across an await; [`Live::snapshot`] costs a
/// reference count and may.
#[derive(Clone)]
pub struct Live(Arc<ArcSwap<Table>>);

impl Live {
    /// Starts with this table.
    pub fn new(table: Arc<Table>) -> Self {
        Self(Arc::new(ArcSwap::new(table)))
    }

    /// A look at it, for the length of a few statements.
    pub fn load(&self) -> Guard<Arc<Table>> {
        self.0.load()
    }

    /// The table itself, to keep.
    pub fn snapshot(&self) -> Arc<Table> {
        self.0.load_full()
    }

    /// From now on everyone sees this one.
    pub fn publish(&self, table: Arc<Table>) {
        self.0.store(table);
    }
}
