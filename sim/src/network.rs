//! The network and the endpoints behind it: what each answers, and when, is drawn from the seed.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use http::StatusCode;
use posthorn_dataplane::egress::{Fault, Head, Phase, Pieces, Reply, SendError, Target, Transport};
use posthorn_domain::time::Time;

use crate::plan::Nature;
use crate::random::Random;
use crate::world::{World, sleep};

/// All endpoints. They outlive the process.
pub(crate) struct Network {
    world: Arc<World>,
    endpoints: RefCell<Vec<Endpoint>>,
}

struct Endpoint {
    nature: Nature,
    random: Random,
    /// Until when it is out, and how.
    out: (Time, bool),
    /// When it may go out next.
    well_until: Time,
}

/// What an endpoint does with a request.
#[derive(Clone, Copy, Debug)]
enum Act {
    Answer { after: u64, status: u16, retry_after: Option<u64> },
    Hang,
    Reset { after: u64, taken: bool },
    Refuse,
}

const OK: u16 = 200;

impl Network {
    /// The endpoints of the world's plan.
    pub(crate) fn new(world: Arc<World>, random: &mut Random) -> Rc<Self> {
        let endpoints = world.plan.subscriptions.iter().map(|wanted| Endpoint {
            nature: wanted.nature,
            random: random.fork(),
            out: (Time::ZERO, false),
            well_until: world.now().after(Duration::from_millis(random.below(20_000))),
        });
        let endpoints = RefCell::new(endpoints.collect());
        Rc::new(Self { world, endpoints })
    }

    /// From now on all are well.
    pub(crate) fn heal(&self) {
        self.endpoints.borrow_mut().iter_mut().for_each(|endpoint| endpoint.nature = Nature::Healthy);
    }

    async fn exchange(&self, head: Head, body: Pieces, deadline: Duration) -> Result<Reply, SendError> {
        let request = Request::read(&head, &body);
        let (now, began) = (self.world.now(), self.world.clock().instant());
        let act = self.endpoints.borrow_mut()[request.subscription].act(now, self.world.plan.third.is_some());
        let Request { subscription, url, events, webhook_id, attempt, replay } = request;
        let again = if replay { ", a replay" } else { "" };
        let shown = format!("{events:?} to subscription {subscription}, attempt {attempt}{again}");
        self.world.note(format_args!("request {shown}: {act:?}"));
        let number = self.world.oracle.lock().request((subscription, url), events, replay, &webhook_id, now);
        let mut flight = Flight { world: &self.world, number: Some(number), taken: false };
        let acting = async {
            match act {
                Act::Answer { after, status, retry_after } => {
                    sleep(after).await;
                    Ok(reply(status, retry_after, began))
                }
                Act::Reset { after, taken } => {
                    sleep(after).await;
                    flight.taken = taken;
                    Err(SendError { fault: Fault::Closed, may_have_been_sent: true })
                }
                Act::Refuse => {
                    let (addr, kind) = (([127, 0, 0, 1], 80).into(), std::io::ErrorKind::ConnectionRefused);
                    Err(SendError { fault: Fault::Connect { addr, kind }, may_have_been_sent: false })
                }
                Act::Hang => std::future::pending().await,
            }
        };
        let timed_out = || SendError { fault: Fault::Timeout(Phase::Answer), may_have_been_sent: true };
        let result = tokio::time::timeout(deadline, acting).await.unwrap_or_else(|_| Err(timed_out()));
        let status = result.as_ref().ok().map(|reply| reply.status.as_u16());
        flight.taken |= status == Some(OK);
        self.world.note(format_args!("request {shown} ends: {status:?}"));
        let taken = flight.taken;
        if let Some(number) = flight.number.take() {
            self.world.oracle.lock().ended(number, taken, status.is_some(), status == Some(410), self.world.now());
        }
        result
    }
}

/// A request that the process may leave in the middle, by ending.
struct Flight<'a> {
    world: &'a World,
    number: Option<u64>,
    taken: bool,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.world.oracle.lock().ended(number, self.taken, false, false, self.world.now());
        }
    }
}

impl Transport for Network {
    fn send<'a>(&'a self, _: &'a Target, head: Head, body: Pieces, deadline: Duration) -> LocalBoxFuture<'a, Result<Reply, SendError>> {
        self.exchange(head, body, deadline).boxed_local()
    }
}

impl Endpoint {
    /// `slowly`: it takes its time to say that it is gone, so that the URL may have changed by then.
    fn act(&mut self, now: Time, slowly: bool) -> Act {
        let random = &mut self.random;
        let well = Act::Answer { after: random.within(1, 30), status: OK, retry_after: None };
        match self.nature {
            Nature::Healthy => well,
            Nature::Dead => Act::Hang,
            Nature::Slow => Act::Answer { after: random.within(200, 5_000), status: OK, retry_after: None },
            Nature::Flaky => flaky(random, well),
            Nature::Leaving if random.percent(3) => {
                let after = if slowly { random.within(5, 900) } else { 5 };
                Act::Answer { after, status: 410, retry_after: None }
            }
            Nature::Leaving => flaky(random, well),
            Nature::Outages => {
                if now >= self.well_until && now >= self.out.0 {
                    self.out = (now.after(Duration::from_millis(random.within(1_000, 40_000))), random.percent(50));
                    self.well_until = self.out.0.after(Duration::from_millis(random.within(1_000, 30_000)));
                }
                match self.out {
                    (until, _) if now >= until => well,
                    (_, true) => Act::Hang,
                    (_, false) => Act::Refuse,
                }
            }
        }
    }
}

fn flaky(random: &mut Random, well: Act) -> Act {
    let after = random.within(1, 400);
    let answer = |status, retry_after| Act::Answer { after, status, retry_after };
    match random.below(100) {
        0..60 => well,
        60..70 => answer(500, None),
        70..75 => answer(503, Some(random.within(1, 10))),
        75..80 => answer(429, Some(random.within(1, 30))),
        80..85 => answer(400, None),
        85..90 => Act::Hang,
        90..94 => Act::Reset { after, taken: true },
        94..97 => Act::Reset { after, taken: false },
        _ => Act::Refuse,
    }
}

fn reply(status: u16, retry_after: Option<u64>, began: Instant) -> Reply {
    Reply {
        began,
        allowed_rate: None,
        status: StatusCode::from_u16(status).expect("a status"),
        retry_after: retry_after.map(Duration::from_secs),
        body_head: Bytes::new(),
        body_truncated: false,
    }
}

/// What an endpoint reads in a request.
struct Request {
    subscription: usize,
    url: u32,
    events: Vec<usize>,
    webhook_id: String,
    attempt: String,
    replay: bool,
}

impl Request {
    fn read(head: &Head, body: &Pieces) -> Self {
        let header = |name: &str| {
            head.lines().filter_map(|line| line.split_once(": ")).find(|(own, _)| *own == name).map(|(_, value)| value.to_owned())
        };
        let host = header("host").expect("a request names its host");
        let number = host.strip_prefix("hook-").and_then(|rest| rest.split('.').next()).and_then(|number| number.parse().ok());
        let text: Vec<u8> = body.concat();
        let text = String::from_utf8_lossy(&text);
        let events = text.split("\"n\":\"e").skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok()).collect();
        // `POST /v3`: the third after the first, which has no number.
        let path = head.lines().next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        Self {
            url: path.strip_prefix("/v").and_then(|number| number.parse().ok()).unwrap_or(0),
            subscription: number.expect("hosts are ours"),
            events,
            webhook_id: header("webhook-id").unwrap_or_default(),
            attempt: header("posthorn-attempt").unwrap_or_default(),
            replay: header("posthorn-replay").is_some(),
        }
    }
}
