//! Where work is done that blocks, such as reading the state store: on the runtime's pool, or in a simulation at once.

use tokio::runtime::Handle;

/// The place.
#[derive(Clone)]
pub enum Blocking {
    /// The pool of this runtime.
    Pool(Handle),
    /// The thread that asks.
    Here,
}

impl Blocking {
    /// What `work` gives; none when it panicked or the pool is gone.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match self {
            Self::Pool(pool) => pool.spawn_blocking(work).await.ok(),
            Self::Here => Some(work()),
        }
    }

    /// Has `work` done, and waits for nothing.
    pub(super) fn start(&self, work: impl FnOnce() + Send + 'static) {
        match self {
            Self::Pool(pool) => drop(pool.spawn_blocking(work)),
            Self::Here => work(),
        }
    }
}
