//! What the endpoints at one origin (scheme, host, port, client certificate) share: the idle connections, and the right to more.
//!
//! A burst must not open a connection for each request, which would overrun the queue of whoever listens; and an endpoint that hangs
//! must not keep connections from its neighbours (I4). So:
//!
//! - a connection that is idle or comes free is used first, by the endpoints in turn;
//! - none is made while [`AT_WORK`] are at work;
//! - an endpoint that has answered since it last failed may hold one connection more than it gave answers since then; at most [`FRESH`]
//!   of these have not answered yet;
//! - endpoints of which nothing is known yet, or nothing good, have [`TRYING`] together, and one each once they failed;
//! - what has been at work for more than a moment (one to two [spans](super::recent)) hangs: it counts no more, and its endpoint gets
//!   its connections from a budget of its own, [`HANGING`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use posthorn_domain::guard::Scheme;
use posthorn_domain::time::Time;

use super::endpoint::Endpoint;
use super::h1::H1;
use super::pool::Pool;
use super::recent::Recent;

/// Connections at work beyond which no more are made.
const AT_WORK: usize = 128;
/// Connections that are made for endpoints that answer, and have not served yet.
const FRESH: usize = 32;
/// Connections at work for endpoints that have not answered since they were met or failed.
const TRYING: usize = 32;
/// Connections that endpoints that hang may take in one to two spans.
const HANGING: usize = 32;
/// Endpoints that are asked in vain before the next event is waited for, when there is nothing to give but leave to grow.
const ASKED: usize = 4;
/// A connection that was idle for this long is looked at thoroughly before it is used.
const LONG_IDLE: std::time::Duration = std::time::Duration::from_millis(10);

pub(super) struct Origin {
    scheme: Scheme,
    pool: Weak<Pool>,
    /// Last in, first out, so that few stay warm and the rest age out. With the time since when each is idle.
    idle: RefCell<Vec<(H1, Time)>>,
    /// Whether the last handshake chose HTTP/1.1.
    pub(super) h1_only: Cell<bool>,
    pub(super) endpoints: Cell<usize>,
    /// Connections in use or being made.
    busy: Cell<usize>,
    proven: Recent,
    fresh: Recent,
    trying: Recent,
    hanging: Recent,
    /// Endpoints that wait, each once: those that hang apart.
    turns: RefCell<[VecDeque<Rc<Endpoint>>; 2]>,
}

/// What an endpoint gets of its origin: an idle connection, or leave to make one; and what that counts as until it ends.
pub(super) struct Offer {
    pub(super) idle: Option<H1>,
    pub(super) share: Share,
}

/// What a connection at work counts as.
#[derive(Clone, Copy)]
pub(super) struct Share {
    /// Since which span.
    pub(super) began: u64,
    standing: Standing,
    fresh: bool,
}

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It answers.
    Proven,
    /// It has not answered yet, or not since it failed.
    Trying,
    /// It holds a connection that has been at work for long.
    Hanging,
}

impl Origin {
    pub(super) fn new(scheme: Scheme, pool: Weak<Pool>) -> Rc<Self> {
        Rc::new(Self {
            scheme,
            pool,
            idle: RefCell::default(),
            h1_only: Cell::new(false),
            endpoints: Cell::new(0),
            busy: Cell::new(0),
            proven: Recent::default(),
            fresh: Recent::default(),
            trying: Recent::default(),
            hanging: Recent::default(),
            turns: RefCell::default(),
        })
    }

    /// What `endpoint` may have in this span, if anything.
    pub(super) fn offer(&self, pool: &Pool, endpoint: &Endpoint, span: u64) -> Option<Offer> {
        let (alone, standing) = (self.endpoints.get() == 1, endpoint.standing(span));
        let may = match standing {
            Standing::Proven => endpoint.is_within_window(),
            Standing::Trying => self.trying.count(span) < TRYING && endpoint.may_try(),
            Standing::Hanging => self.hanging.count(span) < HANGING,
        };
        if !may && !alone {
            return None;
        }
        let idle = self.pop(pool);
        let fresh = idle.is_none() && (alone || standing == Standing::Proven);
        let crowded = !alone && standing != Standing::Hanging && self.at_work(span) >= AT_WORK;
        if idle.is_none() && (crowded || (fresh && self.fresh.count(span) >= FRESH)) {
            return None;
        }
        let share = Share { began: span, standing, fresh };
        self.enter(share);
        Some(Offer { idle, share })
    }

    /// A connection that passes from one request to the next of an endpoint that hangs.
    pub(super) fn pass_on(&self, span: u64) -> Share {
        self.busy.set(self.busy.get() + 1);
        Share { began: span, standing: Standing::Hanging, fresh: false }
    }

    fn enter(&self, share: Share) {
        self.busy.set(self.busy.get() + 1);
        if share.fresh {
            self.fresh.enter(share.began);
        }
        match share.standing {
            Standing::Proven => self.proven.enter(share.began),
            Standing::Trying => self.trying.enter(share.began),
            Standing::Hanging => self.hanging.enter(share.began),
        }
    }

    /// What had this share is at work no longer.
    pub(super) fn leave(&self, share: Share) {
        self.busy.set(self.busy.get().saturating_sub(1));
        if share.fresh {
            self.fresh.leave(share.began);
        }
        match share.standing {
            Standing::Proven => self.proven.leave(share.began),
            Standing::Trying => self.trying.leave(share.began),
            // The budget is for what was taken, not for what is held.
            Standing::Hanging => {}
        }
    }

    /// Has `endpoint` take its turn among those that wait.
    pub(super) fn queue(&self, endpoint: Rc<Endpoint>, span: u64) {
        let hangs = endpoint.standing(span) == Standing::Hanging;
        self.turns.borrow_mut()[usize::from(hangs)].push_back(endpoint);
    }

    /// A connection comes free.
    pub(super) fn give_back(&self, connection: H1, pool: &Pool) {
        self.idle.borrow_mut().push((connection, pool.clock.now()));
    }

    /// Gives what there is to those that wait; `all` of them are asked, or only until some want nothing.
    pub(super) fn dispatch(&self, all: bool) {
        let Some(pool) = self.pool.upgrade().filter(|_| self.has_waiting()) else { return };
        let span = pool.span();
        self.serve(&pool, span, false, all);
        if self.hanging.count(span) < HANGING {
            self.serve(&pool, span, true, all);
        }
    }

    /// Whether nothing is in use and nobody waits.
    pub(super) fn is_at_rest(&self) -> bool {
        self.busy.get() == 0 && !self.has_waiting()
    }

    /// Drops what is closed, idle for too long or too old. Whether anything is left.
    pub(super) fn sweep(&self, pool: &Pool) -> bool {
        let now = pool.clock.now();
        let mut idle = self.idle.borrow_mut();
        let in_time = |h1: &H1, at| now.since(at) < pool.config.idle_timeout && now.since(h1.since) < pool.config.max_age;
        idle.retain_mut(|(h1, at)| in_time(h1, *at) && h1.stream.is_quiet(true));
        !idle.is_empty()
    }

    /// Lets each endpoint of a queue have its turn, until none can be given anything.
    fn serve(&self, pool: &Pool, span: u64, hanging: bool, all: bool) {
        let mut in_vain = 0;
        loop {
            if !all && !hanging && self.is_spent(span) {
                return;
            }
            let (queued, next) = {
                let queue = &mut self.turns.borrow_mut()[usize::from(hanging)];
                (queue.len(), queue.pop_front())
            };
            let Some(endpoint) = next else { return };
            let most = if all || hanging || !self.idle.borrow().is_empty() { queued } else { queued.min(ASKED) };
            in_vain = if endpoint.serve(pool, span) { 0 } else { in_vain + 1 };
            if endpoint.is_waiting() {
                let hangs = endpoint.standing(span) == Standing::Hanging;
                self.turns.borrow_mut()[usize::from(hangs)].push_back(endpoint);
            } else {
                endpoint.left_queue();
            }
            if in_vain >= most {
                return;
            }
        }
    }

    /// Whether only what comes free can help.
    fn is_spent(&self, span: u64) -> bool {
        self.endpoints.get() > 1 && self.idle.borrow().is_empty() && self.at_work(span) >= AT_WORK
    }

    fn at_work(&self, span: u64) -> usize {
        self.proven.count(span) + self.trying.count(span)
    }

    fn has_waiting(&self) -> bool {
        self.turns.borrow().iter().any(|queue| !queue.is_empty())
    }

    fn pop(&self, pool: &Pool) -> Option<H1> {
        let now = pool.clock.now();
        let mut idle = self.idle.borrow_mut();
        while let Some((mut connection, at)) = idle.pop() {
            let idle_for = now.since(at);
            let in_time = idle_for < pool.config.idle_timeout && now.since(connection.since) < pool.config.max_age;
            // What has just served was looked at by the runtime a moment ago.
            let usable = in_time && connection.stream.is_quiet(idle_for >= LONG_IDLE);
            if usable && pool.is_allowed(connection.peer, self.scheme) {
                return Some(connection);
            }
        }
        None
    }
}
