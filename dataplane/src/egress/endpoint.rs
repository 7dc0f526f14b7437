//! What a pool holds per subscription and target: its share of the origin's connections, its HTTP/2 connection, and its caps.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use posthorn_domain::guard::Scheme;
use posthorn_domain::time::Time;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::connect::{Opened, open};
use super::error::{Fault, Phase, SendError};
use super::h1::H1;
use super::h2::H2;
use super::origin::{Offer, Origin, Share, Standing};
use super::pool::{Pool, PoolConfig};
use super::recent::Recent;
use super::target::Target;

pub(super) struct Endpoint {
    origin: Rc<Origin>,
    max: usize,
    max_waiting: usize,
    /// Connections in use or being made.
    busy: Cell<usize>,
    /// Those of them that have not been at it for long.
    moving: Recent,
    /// Answers since the last failure, and one: what it may hold when many want connections.
    window: Cell<usize>,
    failed: Cell<bool>,
    waiters: RefCell<VecDeque<oneshot::Sender<Granted>>>,
    /// Whether it is among the origin's endpoints that wait.
    queued: Cell<bool>,
    used_at: Cell<Time>,
    shared: RefCell<Option<Rc<H2>>>,
    streams: Semaphore,
    /// Held while it is not known whether HTTP/2 will be chosen: the others wait for what the first handshake brings.
    first: Semaphore,
    waiting: Cell<usize>,
}

/// The right to one connection, and an idle one unless it is to be made.
type Granted = (Permit, Option<H1>);

/// A connection for one exchange.
pub(super) enum Lease<'a> {
    H1 { connection: H1, reused: bool, permit: Permit },
    H2 { connection: Rc<H2>, reused: bool, _permit: SemaphorePermit<'a> },
}

/// The right to hold a connection. Dropped without an answer it counts as a failure of the endpoint.
pub(super) struct Permit {
    endpoint: Rc<Endpoint>,
    share: Share,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Failed,
    Answered,
    /// Says nothing of the endpoint.
    Neither,
}

impl Lease<'_> {
    /// Whether the connection served before.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::H1 { reused, .. } | Self::H2 { reused, .. } => *reused,
        }
    }
}

impl Permit {
    /// The endpoint has answered; the connection is the origin's again when it can serve again.
    pub(super) fn answered(mut self, connection: Option<H1>, pool: &Pool) {
        self.outcome = Outcome::Answered;
        let Some(connection) = connection else { return };
        let endpoint = Rc::clone(&self.endpoint);
        // Among neighbours that are quick it would have to wait for its turn again and again.
        if endpoint.standing(pool.span()) == Standing::Hanging
            && let Some(waiter) = endpoint.next_waiter()
        {
            let share = endpoint.origin.pass_on(pool.span());
            let granted = (endpoint.permit(share), Some(connection));
            // The waiter was asked a moment ago whether it still waits.
            return drop(waiter.send(granted));
        }
        endpoint.origin.give_back(connection, pool);
    }

    /// The connection was dead before anything was asked of the endpoint.
    pub(super) fn excuse(mut self) {
        self.outcome = Outcome::Neither;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let endpoint = &self.endpoint;
        endpoint.busy.set(endpoint.busy.get() - 1);
        endpoint.moving.leave(self.share.began);
        endpoint.origin.leave(self.share);
        match self.outcome {
            Outcome::Answered => {
                endpoint.window.set((endpoint.window.get() + 1).min(endpoint.max));
                endpoint.failed.set(false);
            }
            Outcome::Failed => {
                endpoint.window.set(1);
                endpoint.failed.set(true);
            }
            Outcome::Neither => {}
        }
        endpoint.origin.dispatch(false);
    }
}

impl Endpoint {
    pub(super) fn new(config: &PoolConfig, origin: Rc<Origin>) -> Rc<Self> {
        origin.endpoints.set(origin.endpoints.get() + 1);
        Rc::new(Self {
            origin,
            max: config.max_connections_per_endpoint,
            max_waiting: config.max_waiting_per_endpoint,
            busy: Cell::new(0),
            moving: Recent::default(),
            window: Cell::new(1),
            failed: Cell::new(false),
            waiters: RefCell::default(),
            queued: Cell::new(false),
            used_at: Cell::new(Time::ZERO),
            shared: RefCell::default(),
            streams: Semaphore::new(config.max_h2_streams),
            first: Semaphore::new(1),
            waiting: Cell::new(0),
        })
    }

    /// A connection: the shared one, an idle one unless `fresh`, or a new one.
    pub(super) async fn lease<'a>(
        self: &'a Rc<Self>,
        pool: &Pool,
        target: &Target,
        phase: &Cell<Phase>,
        fresh: bool,
    ) -> Result<Lease<'a>, SendError> {
        phase.set(Phase::Queue);
        if let Some(lease) = self.join(pool, target, fresh).await? {
            return Ok(lease);
        }
        let span = pool.span();
        let granted = if self.is_waiting() { None } else { self.grant(pool, span) };
        let (permit, idle) = match granted {
            Some(granted) => granted,
            None => self.wait_for_grant(span).await?,
        };
        if let Some(connection) = idle.filter(|_| !fresh) {
            return Ok(Lease::H1 { connection, reused: true, permit });
        }
        let undecided = pool.config.h2 && target.key.origin.scheme == Scheme::Https && !self.origin.h1_only.get();
        let _first = if undecided { Some(self.wait(&self.first).await?) } else { None };
        if undecided && let Some(lease) = self.join(pool, target, fresh).await? {
            permit.excuse();
            return Ok(lease);
        }
        // Boxed, because few requests have to: the rest would carry the room for handshakes about.
        match Box::pin(open(pool, target, phase)).await? {
            Opened::H1(connection) => {
                self.origin.h1_only.set(true);
                Ok(Lease::H1 { connection, reused: false, permit })
            }
            Opened::H2(connection) => {
                permit.excuse();
                self.origin.h1_only.set(false);
                let connection = Rc::new(connection);
                *self.shared.borrow_mut() = Some(Rc::clone(&connection));
                let permit = self.wait(&self.streams).await?;
                Ok(Lease::H2 { connection, reused: false, _permit: permit })
            }
        }
    }

    /// Drops the shared connection when it is closed or too old. Whether the endpoint is worth keeping.
    pub(super) fn sweep(&self, pool: &Pool) -> bool {
        let now = pool.clock.now();
        let mut shared = self.shared.borrow_mut();
        if shared.as_ref().is_some_and(|h2| h2.sender.is_closed() || now.since(h2.since) >= pool.config.max_age) {
            *shared = None;
        }
        shared.is_some() || now.since(self.used_at.get()) < pool.config.idle_timeout
    }

    /// What is known of it.
    pub(super) fn standing(&self, span: u64) -> Standing {
        if self.busy.get() > self.moving.count(span) {
            Standing::Hanging
        } else if self.window.get() > 1 {
            Standing::Proven
        } else {
            Standing::Trying
        }
    }

    /// Whether it holds fewer connections than it gave answers.
    pub(super) fn is_within_window(&self) -> bool {
        self.busy.get() < self.window.get()
    }

    /// Whether it may be tried once more.
    pub(super) fn may_try(&self) -> bool {
        !self.failed.get() || self.busy.get() == 0
    }

    /// Whether a request waits for a connection.
    pub(super) fn is_waiting(&self) -> bool {
        let mut waiters = self.waiters.borrow_mut();
        while waiters.front().is_some_and(oneshot::Sender::is_closed) {
            waiters.pop_front();
        }
        !waiters.is_empty()
    }

    /// The origin has it among those that wait no longer.
    pub(super) fn left_queue(&self) {
        self.queued.set(false);
    }

    /// Gives the request that waits longest a connection, if it may have one.
    pub(super) fn serve(self: &Rc<Self>, pool: &Pool, span: u64) -> bool {
        if !self.is_waiting() {
            return false;
        }
        let Some(granted) = self.grant(pool, span) else { return false };
        match self.next_waiter() {
            // Nothing runs between asking whether it still waits and this.
            Some(waiter) => waiter.send(granted).is_ok(),
            None => false,
        }
    }

    fn next_waiter(&self) -> Option<oneshot::Sender<Granted>> {
        if self.is_waiting() { self.waiters.borrow_mut().pop_front() } else { None }
    }

    fn grant(self: &Rc<Self>, pool: &Pool, span: u64) -> Option<Granted> {
        if self.busy.get() >= self.max {
            return None;
        }
        let Offer { idle, share } = self.origin.offer(pool, self, span)?;
        Some((self.permit(share), idle))
    }

    fn permit(self: &Rc<Self>, share: Share) -> Permit {
        self.busy.set(self.busy.get() + 1);
        self.moving.enter(share.began);
        Permit { endpoint: Rc::clone(self), share, outcome: Outcome::Failed }
    }

    async fn wait_for_grant(self: &Rc<Self>, span: u64) -> Result<Granted, SendError> {
        let granted = {
            let mut waiters = self.waiters.borrow_mut();
            if waiters.len() >= self.max_waiting {
                waiters.retain(|waiter| !waiter.is_closed());
            }
            if waiters.len() >= self.max_waiting {
                return Err(SendError::unsent(Fault::Full));
            }
            let (waiter, granted) = oneshot::channel();
            waiters.push_back(waiter);
            granted
        };
        if !self.queued.replace(true) {
            self.origin.queue(Rc::clone(self), span);
        }
        granted.await.map_err(|_| SendError::unsent(Fault::Closed))
    }

    /// The shared HTTP/2 connection, when there is a live one.
    async fn join(&self, pool: &Pool, target: &Target, fresh: bool) -> Result<Option<Lease<'_>>, SendError> {
        let usable = |h2: &Rc<H2>| {
            let young = pool.clock.now().since(h2.since) < pool.config.max_age;
            young && !h2.sender.is_closed() && pool.is_allowed(h2.peer, target.key.origin.scheme)
        };
        if fresh || !self.shared.borrow().as_ref().is_some_and(usable) {
            return Ok(None);
        }
        let permit = self.wait(&self.streams).await?;
        let connection = self.shared.borrow().clone();
        Ok(connection.filter(usable).map(|connection| Lease::H2 { connection, reused: true, _permit: permit }))
    }

    async fn wait<'a>(&'a self, cap: &'a Semaphore) -> Result<SemaphorePermit<'a>, SendError> {
        if let Ok(permit) = cap.try_acquire() {
            return Ok(permit);
        }
        if self.waiting.get() >= self.max_waiting {
            return Err(SendError::unsent(Fault::Full));
        }
        let _place = Place::take(&self.waiting);
        cap.acquire().await.map_err(|_| SendError::unsent(Fault::Closed))
    }

    /// Notes that it was used.
    pub(super) fn touch(&self, now: Time) {
        self.used_at.set(now);
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.origin.endpoints.set(self.origin.endpoints.get().saturating_sub(1));
    }
}

/// One among those who wait, until it ends, however it does.
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
