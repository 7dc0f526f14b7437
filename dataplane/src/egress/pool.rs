//! The pool of one delivery shard.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use posthorn_domain::clock::Clock;
use posthorn_domain::guard::{Guard, Scheme};
use rustls::ClientConfig;

use super::body::Pieces;
use super::endpoint::Endpoint;
use super::error::{Phase, SendError};
use super::exchange::{self, Outgoing};
use super::head::Head;
use super::origin::Origin;
use super::recent::{TICK, TICKS};
use super::reply::Reply;
use super::resolver::Resolver;
use super::target::{Key, OriginKey, Target};

/// The limits of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// Connections that one endpoint has in use.
    pub max_connections_per_endpoint: usize,
    /// Concurrent exchanges on an endpoint's HTTP/2 connection.
    pub max_h2_streams: usize,
    /// Sends that may wait for a connection to one endpoint.
    pub max_waiting_per_endpoint: usize,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// How long a connection is used at all, so that DNS changes are followed.
    pub max_age: Duration,
    /// For one address to take the connection, and for the TLS handshake.
    pub connect_timeout: Duration,
    /// How much of an answer's body is read, in bytes.
    pub max_response_bytes: usize,
    /// Whether HTTP/2 is offered (by ALPN, so over TLS only).
    pub h2: bool,
}

/// Connections, kept per target. Lives on one thread.
pub struct Pool {
    pub(super) config: PoolConfig,
    pub(super) resolver: Resolver,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) clock: Clock,
    guard: RefCell<Arc<Guard>>,
    endpoints: RefCell<HashMap<Arc<Key>, Rc<Endpoint>>>,
    origins: RefCell<HashMap<Arc<OriginKey>, Rc<Origin>>>,
    /// The number of the span that it is (see `recent`), and whether a task counts them.
    span: Cell<u64>,
    ticking: Cell<bool>,
    me: Weak<Self>,
    /// Where answers are read to.
    pub(super) scratch: RefCell<Box<[u8]>>,
    /// Memory of heads that were sent.
    heads: RefCell<Vec<Head>>,
}

/// Bytes of an answer that are read at once.
const SCRATCH: usize = 16 << 10;
/// Heads whose memory is kept.
const MAX_HEADS: usize = 256;

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            max_connections_per_endpoint: 32,
            max_h2_streams: 100,
            max_waiting_per_endpoint: 1024,
            idle_timeout: Duration::from_secs(30),
            max_age: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(5),
            max_response_bytes: 64 << 10,
            h2: true,
        }
    }
}

impl Pool {
    /// A pool, swept by a task of its own until it is dropped.
    ///
    /// # Panics
    /// Outside a `LocalSet` or a local runtime.
    pub fn new(config: PoolConfig, resolver: Resolver, guard: Arc<Guard>, tls: &ClientConfig, clock: Clock) -> Rc<Self> {
        let tls = with_alpn(tls, config.h2);
        let pool = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            span: Cell::new(0),
            ticking: Cell::new(false),
            config,
            resolver,
            tls,
            clock,
            guard: RefCell::new(guard),
            endpoints: RefCell::default(),
            origins: RefCell::default(),
            scratch: RefCell::new(vec![0; SCRATCH].into()),
            heads: RefCell::default(),
        });
        tokio::task::spawn_local(sweep_until_dropped(Rc::downgrade(&pool), config.idle_timeout));
        pool
    }

    /// A head that begins as `base`, in memory that was used before.
    pub fn head(&self, base: &Head) -> Head {
        let mut head = self.heads.borrow_mut().pop().unwrap_or_else(Head::roomy);
        head.restart(base);
        head
    }

    /// Sends `head` and `body` to `target`. All of it (queue, DNS, connect, TLS, request, answer to its last byte or to the limit)
    /// has to be done within `deadline`, measured by the runtime's timer. Calls `connected` once there is a connection. Safe to drop at
    /// any point.
    ///
    /// # Errors
    /// [`SendError`] when there was no complete answer; an answer of any status is `Ok`.
    pub async fn send(
        &self,
        target: &Target,
        mut head: Head,
        body: Pieces,
        deadline: Duration,
        connected: impl FnOnce(),
    ) -> Result<Reply, SendError> {
        let phase = Rc::new(Cell::new(Phase::Queue));
        let endpoint = self.endpoint(target);
        let request = Outgoing { target, head: &mut head, body: &body };
        let result = tokio::time::timeout(deadline, exchange::run(self, &endpoint, request, connected, &phase)).await;
        self.keep_head(head);
        result.unwrap_or_else(|_| Err(SendError::timeout(phase.get())))
    }

    /// Puts another guard in force, for new connections and for kept ones.
    pub fn set_guard(&self, guard: Arc<Guard>) {
        *self.guard.borrow_mut() = guard;
    }

    /// Closes what is idle for too long or too old, and forgets endpoints that are not used.
    pub fn sweep(&self) {
        self.endpoints.borrow_mut().retain(|_, endpoint| endpoint.sweep(self) || Rc::strong_count(endpoint) > 1);
        self.origins.borrow_mut().retain(|_, origin| origin.sweep(self) || Rc::strong_count(origin) > 1);
    }

    pub(super) fn guard(&self) -> Arc<Guard> {
        Arc::clone(&self.guard.borrow())
    }

    /// Whether a connection to this address may still be used.
    pub(super) fn is_allowed(&self, peer: IpAddr, scheme: Scheme) -> bool {
        self.guard.borrow().check_connect(peer, scheme).is_ok()
    }

    pub(super) fn with_alpn(&self, config: &ClientConfig) -> Arc<ClientConfig> {
        with_alpn(config, self.config.h2)
    }

    fn keep_head(&self, head: Head) {
        let mut heads = self.heads.borrow_mut();
        if heads.len() < MAX_HEADS && head.is_small() {
            heads.push(head);
        }
    }

    /// The number of the span that it is now.
    pub(super) fn span(&self) -> u64 {
        self.span.get()
    }

    /// Begins a span: time alone can give leave to grow. Whether anything is under way.
    fn begin_span(&self) -> bool {
        self.span.set(self.span.get() + 1);
        let origins: Vec<_> = self.origins.borrow().values().filter(|origin| !origin.is_at_rest()).cloned().collect();
        origins.iter().for_each(|origin| origin.dispatch(true));
        self.ticking.set(!origins.is_empty());
        !origins.is_empty()
    }

    fn endpoint(&self, target: &Target) -> Rc<Endpoint> {
        let mut endpoints = self.endpoints.borrow_mut();
        let endpoint = match endpoints.get(&target.key) {
            Some(endpoint) => Rc::clone(endpoint),
            None => {
                let endpoint = Endpoint::new(&self.config, self.origin(&target.key.origin));
                endpoints.insert(Arc::clone(&target.key), Rc::clone(&endpoint));
                endpoint
            }
        };
        endpoint.touch(self.clock.now());
        if !self.ticking.replace(true) {
            tokio::task::spawn_local(tick(Weak::clone(&self.me)));
        }
        endpoint
    }

    fn origin(&self, key: &Arc<OriginKey>) -> Rc<Origin> {
        let mut origins = self.origins.borrow_mut();
        let origin = origins.entry(Arc::clone(key)).or_insert_with(|| Origin::new(key.scheme, Weak::clone(&self.me)));
        Rc::clone(origin)
    }
}

fn with_alpn(config: &ClientConfig, h2: bool) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols = if h2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Arc::new(config)
}

/// Counts spans while anything is under way.
async fn tick(pool: Weak<Pool>) {
    loop {
        for _ in 0..TICKS {
            tokio::time::sleep(TICK).await;
        }
        if !pool.upgrade().is_some_and(|pool| pool.begin_span()) {
            return;
        }
    }
}

async fn sweep_until_dropped(pool: Weak<Pool>, idle_timeout: Duration) {
    let pause = (idle_timeout / 2).clamp(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        tokio::time::sleep(pause).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.sweep();
    }
}
