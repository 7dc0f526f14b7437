//! A day on which a receiver behind fifty subscriptions is down while events come, and its return (I2, I4, I12): few attempts
//! meanwhile, afterwards one for each delivery, in order where that was asked for, and memory that does not follow what waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use parking_lot::Mutex;

use super::*;

const SUBSCRIPTIONS: usize = 50;
/// Every fifth keeps the order of its keys.
const ORDERED: usize = 5;
/// Half an hour each: a day.
const STEPS: u64 = 48;
const STEP: Duration = Duration::from_secs(1800);
const EVENTS_A_STEP: u64 = 6;
const KEYS: u64 = 4;
/// What opens a breaker, with those that were under way by then.
const UNTIL_OPEN: usize = 10 + 4;
const MIB: u64 = 1 << 20;

#[tokio::test]
async fn after_a_day_of_outage_there_is_no_storm_and_order_is_kept() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (dir, hands) = (tempfile::tempdir().unwrap(), Hands::default());
            let shared = Shared::start().await;
            let engine = Engine::with(dir.path(), &hands, &fifty(shared.address)).await;
            let mut early = None;
            for step in 0..STEPS {
                let before = shared.attempts();
                for number in 0..EVENTS_A_STEP {
                    let number = step * EVENTS_A_STEP + number;
                    engine.append_keyed(&format!("{number:06}"), Some(&format!("key{}", number % KEYS)), None).await;
                }
                hands.set(hands.now() + millis(STEP));
                quiet(&engine).await;
                let made = shared.attempts() - before;
                // It takes the events of two steps to open the breakers; then one probe each, a second where the first went out before
                // the clock was pushed.
                let allowed = if step < 2 { SUBSCRIPTIONS * UNTIL_OPEN } else { SUBSCRIPTIONS * 2 };
                assert!(made <= allowed, "{made} attempts in half an hour of the outage, step {step}");
                early = early.or_else(|| (step == STEPS / 4).then(resident));
            }
            let (early, late) = (early.unwrap(), resident());
            assert!(late <= early + early / 4 + 24 * MIB, "{} MiB grew to {} MiB", early / MIB, late / MIB);
            assert_eq!(shared.delivered(), 0);

            let failed = shared.attempts();
            shared.well.store(true, Ordering::SeqCst);
            let due = SUBSCRIPTIONS * (STEPS * EVENTS_A_STEP) as usize;
            let recovery = async {
                // What was tried on the way waits for its own time, at most a day.
                while shared.delivered() < due {
                    hands.set(hands.now() + 60_000);
                    quiet(&engine).await;
                }
            };
            tokio::time::timeout(AMPLE * 6, recovery).await.unwrap_or_else(|_| panic!("{} of {due} delivered", shared.delivered()));
            assert_eq!(shared.attempts() - failed, due, "one attempt for each delivery");
            let most = shared.peak.load(Ordering::SeqCst);
            assert!(most <= SUBSCRIPTIONS * limits().max_in_flight_per_subscription as usize, "{most} at once");
            shared.check_order();
            println!(
                "{failed} attempts in a day, then {due} for {due} deliveries, at most {most} at once; {} to {} MiB",
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

/// Fifty subscriptions with one host.
fn fifty(receiver: SocketAddr) -> Delta {
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
struct Shared {
    address: SocketAddr,
    well: Arc<AtomicBool>,
    attempts: Arc<AtomicUsize>,
    /// At the same time.
    peak: Arc<AtomicUsize>,
    /// Ids by path, in order of arrival.
    got: Arc<Mutex<BTreeMap<usize, Vec<String>>>>,
}

impl Shared {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (well, attempts, peak, got) = Default::default();
        let shared = Self { address, well, attempts, peak, got };
        let (well, attempts, peak, got) =
            (Arc::clone(&shared.well), Arc::clone(&shared.attempts), Arc::clone(&shared.peak), Arc::clone(&shared.got));
        let now = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (well, attempts, peak, got, now) =
                    (Arc::clone(&well), Arc::clone(&attempts), Arc::clone(&peak), Arc::clone(&got), Arc::clone(&now));
                let service = service_fn(move |request: Request<Incoming>| {
                    attempts.fetch_add(1, Ordering::SeqCst);
                    peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let ok = well.load(Ordering::SeqCst);
                    if ok {
                        let path = request.uri().path()[1..].parse().unwrap();
                        got.lock().entry(path).or_default().push(request.headers()["ce-id"].to_str().unwrap().to_owned());
                    }
                    let now = Arc::clone(&now);
                    async move {
                        request.into_body().collect().await.unwrap();
                        // Others may come meanwhile.
                        for _ in 0..8 {
                            tokio::task::yield_now().await;
                        }
                        now.fetch_sub(1, Ordering::SeqCst);
                        Ok::<_, Infallible>(Response::builder().status(if ok { 200 } else { 503 }).body(Empty::<Bytes>::new()).unwrap())
                    }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        shared
    }

    fn attempts(&self) -> usize {
        self.attempts.load(Ordering::SeqCst)
    }

    fn delivered(&self) -> usize {
        self.got.lock().values().map(Vec::len).sum()
    }

    fn check_order(&self) {
        for (path, ids) in self.got.lock().iter().filter(|(path, _)| *path % ORDERED == 0) {
            for key in 0..KEYS {
                let of_key: Vec<u64> = ids.iter().map(|id| id.parse().unwrap()).filter(|number: &u64| number % KEYS == key).collect();
                assert!(of_key.windows(2).all(|pair| pair[0] < pair[1]), "{path}: {of_key:?}");
            }
        }
    }
}
