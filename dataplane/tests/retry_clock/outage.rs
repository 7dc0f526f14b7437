//! A day on which a receiver behind 25 subscriptions is down while events come, and its return (I2, I4, I12): in every minute few
//! attempts at each endpoint, afterwards one for each delivery, in order where that was asked for, and memory that does not follow what
//! waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize};

use parking_lot::Mutex;

use super::*;

const SUBSCRIPTIONS: usize = 25;
/// Every fifth keeps the order of its keys.
const ORDERED: usize = 5;
/// A day in minutes.
const STEPS: u64 = 1440;
const STEP: Duration = Duration::from_secs(60);
/// One event in so many minutes, for each is a request to each subscription.
const EVERY: u64 = 3;
const KEYS: u64 = 4;
/// What opens a breaker, with those that were under way by then.
const UNTIL_OPEN: usize = 10 + 4;
/// Minutes after which all are open, for it takes the events of some to open them.
const OPENING: u64 = 60;
/// Attempts in a minute at an endpoint that is only probed.
const PROBES: usize = 2;
const MIB: u64 = 1 << 20;

#[tokio::test]
async fn after_a_day_of_outage_there_is_no_storm_and_order_is_kept() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (dir, hands) = (tempfile::tempdir().unwrap(), Hands::default());
            let shared = Shared::start().await;
            let engine = Engine::with(dir.path(), &hands, &all(shared.address)).await;
            let (mut early, mut most_a_minute) = (None, 0);
            for step in 0..STEPS {
                if step % EVERY == 0 {
                    let number = step / EVERY;
                    engine.append_keyed(&format!("{number:06}"), Some(&format!("key{}", number % KEYS)), None).await;
                }
                hands.set(hands.now() + millis(STEP));
                quiet(&engine).await;
                let (path, made) = shared.busiest();
                let allowed = if step < OPENING { UNTIL_OPEN } else { PROBES };
                assert!(made <= allowed, "{made} attempts at {path} in minute {step} of the outage");
                most_a_minute = if step < OPENING { 0 } else { most_a_minute.max(made) };
                early = early.or_else(|| (step == STEPS / 4).then(resident));
            }
            let (early, late) = (early.unwrap(), resident());
            assert!(late <= early + early / 4 + 24 * MIB, "{} MiB grew to {} MiB", early / MIB, late / MIB);
            assert_eq!(shared.delivered(), 0);

            let failed = shared.attempts();
            shared.well.store(true, Ordering::SeqCst);
            let each = (STEPS / EVERY) as usize;
            let due = SUBSCRIPTIONS * each;
            let recovery = async {
                // What was tried on the way waits for its own time, at most a day.
                while shared.delivered() < due {
                    hands.set(hands.now() + millis(STEP));
                    quiet(&engine).await;
                }
            };
            tokio::time::timeout(AMPLE * 6, recovery).await.unwrap_or_else(|_| panic!("{} of {due} delivered", shared.delivered()));
            assert_eq!(shared.attempts() - failed, due, "one attempt for each delivery");
            shared.check_each(each);
            let most = shared.peak.load(Ordering::SeqCst);
            assert!(most <= SUBSCRIPTIONS * limits().max_in_flight_per_subscription as usize, "{most} at once");
            shared.check_order();
            println!(
                "{failed} attempts in a day, at most {most_a_minute} a minute at one endpoint, then {due} for {due} deliveries, at most {most} at \
                 once; {} to {} MiB",
                early / MIB,
                late / MIB
            );
            engine.stop().await;
        })
        .await;
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// Waits until nothing is under way.
async fn quiet(engine: &Engine) {
    let still = async {
        // As `Engine::turn`: the second answer comes after a whole turn.
        engine.state_of(&id(0)).await;
        engine.state_of(&id(0)).await;
        for number in 0..SUBSCRIPTIONS {
            while engine.state_of(&id(number)).await.in_flight > 0 {}
        }
    };
    tokio::time::timeout(AMPLE * 2, still).await.expect("attempts end");
}

fn id(number: usize) -> String {
    format!("{}{number:02x}", &SUBSCRIPTION[..SUBSCRIPTION.len() - 2])
}

/// Subscriptions with one host.
fn all(receiver: SocketAddr) -> Delta {
    let all: Vec<Value> = (0..SUBSCRIPTIONS)
        .map(|number| {
            let mut one = subscription(&id(number), &format!("http://hook.example:{}/{number}", receiver.port()));
            one["qos"] = json!({"ordering": if number % ORDERED == 0 { "key" } else { "none" }});
            one
        })
        .collect();
    resources_of(&all)
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// The host: 503 until it is well.
#[derive(Clone, Default)]
struct Host {
    well: Arc<AtomicBool>,
    now: Arc<AtomicUsize>,
    /// At the same time.
    peak: Arc<AtomicUsize>,
    /// Requests by path, since they were last looked at, and before.
    attempts: Arc<Mutex<(BTreeMap<usize, usize>, usize)>>,
    /// Ids by path, in order of arrival.
    got: Arc<Mutex<BTreeMap<usize, Vec<u64>>>>,
}

impl Host {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
        let path = request.uri().path()[1..].parse().unwrap();
        *self.attempts.lock().0.entry(path).or_default() += 1;
        self.peak.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let ok = self.well.load(Ordering::SeqCst);
        if ok {
            self.got.lock().entry(path).or_default().push(request.headers()["ce-id"].to_str().unwrap().parse().unwrap());
        }
        request.into_body().collect().await.unwrap();
        // Others may come meanwhile.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
        Ok(Response::builder().status(if ok { 200 } else { 503 }).body(Empty::new()).unwrap())
    }
}

/// It listens.
struct Shared {
    address: SocketAddr,
    host: Host,
}

impl std::ops::Deref for Shared {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Shared {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Self { address: listener.local_addr().unwrap(), host: Host::default() };
        let host = shared.host.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let host = host.clone();
                let service = service_fn(move |request| host.clone().answer(request));
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        shared
    }

    /// The path with the most requests since this was last asked, and how many.
    fn busiest(&self) -> (usize, usize) {
        let (recent, before) = &mut *self.attempts.lock();
        *before += recent.values().sum::<usize>();
        std::mem::take(recent).into_iter().max_by_key(|(_, made)| *made).unwrap_or_default()
    }

    fn attempts(&self) -> usize {
        let (recent, before) = &*self.attempts.lock();
        before + recent.values().sum::<usize>()
    }

    fn delivered(&self) -> usize {
        self.got.lock().values().map(Vec::len).sum()
    }

    /// Every path got every event.
    fn check_each(&self, count: usize) {
        for (path, ids) in &*self.got.lock() {
            assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), count, "{path}");
        }
    }

    fn check_order(&self) {
        for (path, ids) in self.got.lock().iter().filter(|(path, _)| *path % ORDERED == 0) {
            for key in 0..KEYS {
                let of_key: Vec<u64> = ids.iter().copied().filter(|number| number % KEYS == key).collect();
                assert!(of_key.is_sorted(), "{path}: {of_key:?}");
            }
        }
    }
}
