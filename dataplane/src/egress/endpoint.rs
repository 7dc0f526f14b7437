//! What a pool holds per key: the idle connections, the shared HTTP/2 one, and the caps.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use posthorn_domain::guard::Scheme;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::connect::{Opened, open};
use super::error::{Fault, Phase, SendError};
use super::h1::H1;
use super::h2::H2;
use super::pool::{Pool, PoolConfig};
use super::target::Target;

/// Connections of a pool up to which every request that finds none gets one.
const FREELY: usize = 64;
/// How long a request waits for a connection to come free before another one is made, in a pool that has many.
const PATIENCE: Duration = Duration::from_millis(5);
/// A connection that was idle for this long is looked at thoroughly before it is used.
const LONG_IDLE: Duration = Duration::from_millis(10);

pub(super) struct Endpoint {
    /// Last in, first out, so that few stay warm and the rest age out. With the time since when each is idle.
    idle: RefCell<Vec<(H1, posthorn_domain::time::Time)>>,
    shared: RefCell<Option<Rc<H2>>>,
    /// Connections in use; an idle one is taken before a new one is made, so all of them stay below this cap too. It starts with
    /// none and grows by [`Endpoint::connection`].
    connections: Semaphore,
    /// Permits that `connections` was given.
    granted: Cell<usize>,
    /// The same over all endpoints of the pool.
    all_granted: Rc<Cell<usize>>,
    streams: Semaphore,
    /// Held while it is not known whether HTTP/2 will be chosen: the others wait for what the first handshake brings.
    first: Semaphore,
    h1_only: Cell<bool>,
    waiting: Cell<usize>,
    /// Connections that are being made.
    opening: Cell<usize>,
    /// When the endpoint last got another connection after a wait: those who waited with it look again first.
    grown_at: Cell<Option<Instant>>,
}

/// A connection for one exchange.
pub(super) enum Lease<'a> {
    H1 { connection: H1, reused: bool, _permit: SemaphorePermit<'a> },
    H2 { connection: Rc<H2>, reused: bool, _permit: SemaphorePermit<'a> },
}

impl Lease<'_> {
    /// Whether the connection served before.
    pub(super) fn is_reused(&self) -> bool {
        let (Self::H1 { reused, .. } | Self::H2 { reused, .. }) = self;
        *reused
    }
}

impl Endpoint {
    pub(super) fn new(config: &PoolConfig, all_granted: Rc<Cell<usize>>) -> Self {
        Self {
            idle: RefCell::default(),
            shared: RefCell::default(),
            connections: Semaphore::new(0),
            granted: Cell::new(0),
            all_granted,
            streams: Semaphore::new(config.max_h2_streams),
            first: Semaphore::new(1),
            h1_only: Cell::new(false),
            waiting: Cell::new(0),
            opening: Cell::new(0),
            grown_at: Cell::new(None),
        }
    }

    /// A connection: the shared one, an idle one unless `fresh`, or a new one.
    pub(super) async fn lease(&self, pool: &Pool, target: &Target, phase: &Cell<Phase>, fresh: bool) -> Result<Lease<'_>, SendError> {
        phase.set(Phase::Queue);
        if let Some(lease) = self.join(pool, target, fresh).await? {
            return Ok(lease);
        }
        let permit = self.connection(pool).await?;
        if !fresh && let Some(connection) = self.pop(pool, target) {
            return Ok(Lease::H1 { connection, reused: true, _permit: permit });
        }
        let undecided = pool.config.h2 && target.key.scheme == Scheme::Https && !self.h1_only.get();
        let _first = if undecided { Some(self.wait(&self.first, pool.config.max_waiting_per_endpoint).await?) } else { None };
        if undecided && let Some(lease) = self.join(pool, target, fresh).await? {
            return Ok(lease);
        }
        let opened = {
            let _opening = Place::take(&self.opening);
            open(pool, target, phase).await?
        };
        match opened {
            Opened::H1(connection) => {
                self.h1_only.set(true);
                Ok(Lease::H1 { connection, reused: false, _permit: permit })
            }
            Opened::H2(connection) => {
                self.h1_only.set(false);
                let connection = Rc::new(connection);
                *self.shared.borrow_mut() = Some(Rc::clone(&connection));
                let permit = self.wait(&self.streams, pool.config.max_waiting_per_endpoint).await?;
                Ok(Lease::H2 { connection, reused: false, _permit: permit })
            }
        }
    }

    /// Back to the idle ones.
    pub(super) fn give_back(&self, connection: H1, pool: &Pool) {
        self.idle.borrow_mut().push((connection, pool.clock.now()));
    }

    /// Drops what is closed, idle for too long or too old. Whether anything is left.
    pub(super) fn sweep(&self, pool: &Pool) -> bool {
        let now = pool.clock.now();
        let young = |since| now.since(since) < pool.config.max_age;
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|(h1, at)| now.since(*at) < pool.config.idle_timeout && young(h1.since) && h1.stream.is_quiet(true));
        let mut shared = self.shared.borrow_mut();
        if shared.as_ref().is_some_and(|h2| h2.sender.is_closed() || !young(h2.since)) {
            *shared = None;
        }
        !idle.is_empty() || shared.is_some()
    }

    /// The shared HTTP/2 connection, when there is a live one.
    async fn join(&self, pool: &Pool, target: &Target, fresh: bool) -> Result<Option<Lease<'_>>, SendError> {
        let usable = |h2: &Rc<H2>| {
            let young = pool.clock.now().since(h2.since) < pool.config.max_age;
            young && !h2.sender.is_closed() && pool.guard().check_connect(h2.peer, target.key.scheme).is_ok()
        };
        if fresh || !self.shared.borrow().as_ref().is_some_and(usable) {
            return Ok(None);
        }
        let permit = self.wait(&self.streams, pool.config.max_waiting_per_endpoint).await?;
        let connection = self.shared.borrow().clone();
        Ok(connection.filter(usable).map(|connection| Lease::H2 { connection, reused: true, _permit: permit }))
    }

    fn pop(&self, pool: &Pool, target: &Target) -> Option<H1> {
        let now = pool.clock.now();
        let mut idle = self.idle.borrow_mut();
        while let Some((mut connection, at)) = idle.pop() {
            let idle_for = now.since(at);
            let in_time = idle_for < pool.config.idle_timeout && now.since(connection.since) < pool.config.max_age;
            // What has just served was looked at by the runtime a moment ago.
            if in_time
                && connection.stream.is_quiet(idle_for >= LONG_IDLE)
                && pool.guard().check_connect(connection.peer, target.key.scheme).is_ok()
            {
                return Some(connection);
            }
        }
        None
    }

    /// The right to one connection. While the pool has few, an endpoint gets another at once; when it has many, only after none
    /// of its own came free for a moment, and one handshake at a time. So a burst over many endpoints reuses what is there instead
    /// of opening a connection for each request, which would overrun the queues of whoever listens.
    async fn connection(&self, pool: &Pool) -> Result<SemaphorePermit<'_>, SendError> {
        let (max, max_waiting) = (pool.config.max_connections_per_endpoint, pool.config.max_waiting_per_endpoint);
        loop {
            if let Ok(permit) = self.connections.try_acquire() {
                return Ok(permit);
            }
            if self.granted.get() >= max {
                return self.wait(&self.connections, max_waiting).await;
            }
            let freely = self.granted.get() == 0 || self.all_granted.get() < FREELY;
            if !freely {
                if let Ok(permit) = tokio::time::timeout(PATIENCE, self.wait(&self.connections, max_waiting)).await {
                    return permit;
                }
                let just_grown = self.grown_at.get().is_some_and(|at| at.elapsed() < PATIENCE);
                if self.opening.get() > 0 || just_grown {
                    continue;
                }
                self.grown_at.set(Some(Instant::now()));
            }
            self.granted.set(self.granted.get() + 1);
            self.all_granted.set(self.all_granted.get() + 1);
            self.connections.add_permits(1);
        }
    }

    async fn wait<'a>(&'a self, cap: &'a Semaphore, max_waiting: usize) -> Result<SemaphorePermit<'a>, SendError> {
        if let Ok(permit) = cap.try_acquire() {
            return Ok(permit);
        }
        if self.waiting.get() >= max_waiting {
            return Err(SendError::unsent(Fault::Full));
        }
        let _place = Place::take(&self.waiting);
        cap.acquire().await.map_err(|_| SendError::unsent(Fault::Closed))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.all_granted.set(self.all_granted.get().saturating_sub(self.granted.get()));
    }
}

/// One among those who wait or open, until it ends, however it does.
struct Place<'a>(&'a Cell<usize>);

impl<'a> Place<'a> {
    fn take(waiting: &'a Cell<usize>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(waiting)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
