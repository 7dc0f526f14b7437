//! The demonstration, step by step, and what must have come of it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use posthorn_domain::clock::Clock;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::checks::Checks;
use super::console::{Console, columns};
use super::data::Data;
use super::publish::{self, MODES, Mode, Tally};
use super::receiver::{Mood, Receiver};
use super::server::{self, Server};
use super::setup::{self, DEAD, HEALTHY, PLANS, RECOVERING, STREAMED, Subscribed};
use super::stream::Reader;
use crate::client::Door;

const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// Reasons for refusals that are listed.
const REASONS: usize = 8;

/// Tells it; success when every expectation held.
pub(super) async fn tell(data: &Data, console: &mut Console) -> anyhow::Result<ExitCode> {
    let clock = Clock::system();
    let begun = clock.now();
    let mut story = Story::begin(data, console).await?;
    if let Err(error) = story.steps(console).await {
        // What went wrong before may be why.
        for failure in &story.checks.failed {
            console.verdict(false, failure)?;
        }
        return Err(error);
    }
    story.end(console, clock.now().since(begun)).await
}

struct Story<'a> {
    data: &'a Data,
    server: Server,
    control: Door,
    door: Door,
    admin: Door,
    receiver: Receiver,
    recorded: BTreeMap<String, Bytes>,
    subscriptions: Vec<Subscribed>,
    checks: Checks,
}

impl<'a> Story<'a> {
    async fn begin(data: &'a Data, console: &mut Console) -> anyhow::Result<Self> {
        console.step("Start both planes")?;
        let folder = server::folder()?;
        console.say(&format!("Recorded webhooks: {}", data.folder.canonicalize()?.display()))?;
        console.say(&format!("The server's log:  {}", server::log(&folder).display()))?;
        let server = Server::start(folder).await?;
        let doors = &server.doors;
        console.say(&format!("`posthorn serve` runs as process {}, on loopback, in a directory of its own:", server.pid()))?;
        console.say(&format!("data {}, control {}, broker {}, admin {}", doors.data, doors.control, doors.broker, doors.admin))?;
        let open = |address| Door::new(&format!("http://{address}"));
        let (control, door, admin) = (open(doors.control)?, open(doors.data)?, open(doors.admin)?);
        let recorded: BTreeMap<_, _> =
            data.events.iter().map(|event| (event.id.clone(), Bytes::copy_from_slice(event.data.get().as_bytes()))).collect();
        let receiver = Receiver::start(recorded.clone()).await?;
        let mut checks = Checks::default();
        checks.equal("recorded events", data.events.len(), 329);
        checks.equal("events that the independent validator takes", data.valid(None), 277);
        Ok(Self { data, server, control, door, admin, receiver, recorded, subscriptions: Vec::new(), checks })
    }

    async fn steps(&mut self, console: &mut Console) -> anyhow::Result<()> {
        self.topics(console).await?;
        let reader = self.subscribe(console).await?;
        let tallies = self.publish(console).await?;
        self.deliveries(console, &reader).await?;
        let letters = self.dead_letters(console).await?;
        let retried = self.retry(console).await?;
        self.counts(console, &tallies, &reader, letters, retried).await
    }

    async fn topics(&mut self, console: &mut Console) -> anyhow::Result<()> {
        console.step("Register schemas and topics")?;
        let total = self.data.schemas.len();
        let revision = setup::topics(&self.control, self.data, |done| console.progress("schemas", done, total)).await?;
        console.clear()?;
        console.say(&format!("{total} of GitHub's own JSON Schemas, and a topic for each that refuses what its schema refuses."))?;
        console.say(&format!("Everything is in force on the data plane (revision {revision} acknowledged)."))?;
        self.checks.equal("schemas", total, 58);
        Ok(())
    }

    async fn subscribe(&mut self, console: &mut Console) -> anyhow::Result<Reader> {
        console.step("Subscribe")?;
        for plan in &PLANS {
            let made = setup::subscribe(&self.control, &self.receiver, plan).await?;
            console.say(&format!("{:<11} {:<20} {}", plan.name, plan.topic, plan.story))?;
            self.subscriptions.push(made);
        }
        console.say(&format!("{:<11} {STREAMED:<20} reads server-sent events instead of being called", "stream"))?;
        console.say(&format!("The receiver at {} verifies each signature with the `standardwebhooks` crate and", self.receiver.address))?;
        console.say("compares each body, byte for byte, with what was recorded.")?;
        Reader::start(&format!("http://{}", self.server.doors.data), STREAMED, self.recorded.clone()).await
    }

    async fn publish(&mut self, console: &mut Console) -> anyhow::Result<Tallies> {
        console.step("Publish every event in each of the three modes of CloudEvents")?;
        let (valid, invalid) = (self.data.valid(None), self.data.events.len() - self.data.valid(None));
        let mut rows = vec![["", "sent", "accepted", "duplicate", "refused"].map(str::to_owned).to_vec()];
        let mut tallies = Vec::new();
        for mode in MODES {
            let tally = publish::publish(&self.door, self.data, mode, console).await?;
            self.judge(mode.name(), &tally, [valid, 0, invalid]);
            rows.push(row(mode.name(), self.data.events.len(), &tally));
            tallies.push(tally);
        }
        let again = publish::publish(&self.door, self.data, Mode::Batch, console).await?;
        self.judge("batch again", &again, [0, valid, invalid]);
        rows.push(row("batch again", self.data.events.len(), &again));
        console.say(&columns(&rows))?;
        console.say("Sent again, an event is recognised by its source and id and not kept twice.")?;
        let reasons = &tallies[0].reasons;
        console.say(&format!("Why the {invalid} were refused (recorded before their schema changed; first fault of each):"))?;
        let mut sorted: Vec<_> = reasons.iter().collect();
        sorted.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        for (reason, count) in sorted.iter().take(REASONS) {
            console.say(&format!("  {count:>3}  {reason}"))?;
        }
        let rest: usize = sorted.iter().skip(REASONS).map(|(_, count)| **count).sum();
        if rest > 0 {
            console.say(&format!("  {rest:>3}  for {} other reasons", sorted.len() - REASONS))?;
        }
        tallies.push(again);
        Ok(Tallies(tallies))
    }

    /// One round of publishing must agree with the independent validator, event by event.
    fn judge(&mut self, round: &str, tally: &Tally, wanted: [usize; 3]) {
        let got = [tally.accepted, tally.duplicate, tally.refused];
        self.checks.equal(&format!("{round}: accepted, duplicate, refused"), got, wanted);
        self.checks
            .that(tally.disagreements.is_empty(), || format!("{round}: not as verdicts.jsonl says: {}", tally.disagreements.join(", ")));
        self.checks.that(tally.other.is_empty(), || format!("{round}: unexpected answers: {}", tally.other.join("; ")));
    }

    async fn deliveries(&mut self, console: &mut Console, reader: &Reader) -> anyhow::Result<()> {
        console.step("Wait for the deliveries")?;
        let modes = MODES.len();
        let healthy = HEALTHY.share(self.data) * modes;
        let recovering = RECOVERING.share(self.data) * modes;
        let streamed = self.data.valid(Some(STREAMED)) * modes;
        let counts = || [self.receiver.taken(HEALTHY.name), self.receiver.taken(RECOVERING.name), reader.read().seen.len()];
        let wanted = [healthy, recovering, streamed];
        let total = wanted.iter().sum();
        for _ in 0..rounds() {
            if counts().iter().zip(&wanted).all(|(got, wanted)| got >= wanted) {
                break;
            }
            console.progress("delivered", counts().iter().sum(), total)?;
            sleep(PAUSE).await;
        }
        console.clear()?;
        let got = counts();
        self.checks.equal("events taken by healthy, recovering, stream", got, wanted);
        console.say(&format!("healthy took {} events, recovering {}, the stream {}.", got[0], got[1], got[2]))?;
        let seen = self.receiver.seen(RECOVERING.name);
        console
            .say(&format!("recovering failed {} requests; they were tried again after 250ms and came through.", seen.failed.len()))
            .map_err(Into::into)
    }

    async fn dead_letters(&mut self, console: &mut Console) -> anyhow::Result<usize> {
        console.step("Find the dead letters")?;
        let wanted = DEAD.share(self.data) * MODES.len();
        let mut letters = Vec::new();
        for _ in 0..rounds() {
            letters = self.letters().await?;
            if letters.len() >= wanted {
                break;
            }
            console.progress("dead letters", letters.len(), wanted)?;
            sleep(PAUSE).await;
        }
        console.clear()?;
        self.checks.equal("dead letters", letters.len(), wanted);
        let exhausted = letters.iter().filter(|letter| letter["reason"] == "attempts_exhausted").count();
        self.checks.equal("dead letters with reason attempts_exhausted", exhausted, wanted);
        self.checks.equal("events taken by the dead endpoint", self.receiver.taken(DEAD.name), 0);
        let failed = self.receiver.seen(DEAD.name).failed.len();
        self.checks.equal("requests that the dead endpoint failed", failed, wanted * (DEAD.schedule.len() + 1));
        console.say(&format!("dead failed {failed} requests for {wanted} events; {} events are now dead letters:", letters.len()))?;
        if let Some(letter) = letters.first() {
            let text = |name: &str| letter.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            console.say(&format!("{}  {}: {}", text("id"), text("reason"), text("detail")))?;
        }
        Ok(letters.len())
    }

    async fn retry(&mut self, console: &mut Console) -> anyhow::Result<u64> {
        console.step("The dead endpoint comes back; retry its dead letters")?;
        let wanted = DEAD.share(self.data) * MODES.len();
        self.receiver.mood(DEAD.name, Mood::Well);
        let filter = json!({"subscription": self.dead()});
        let path = self.control.path(&["v1", "dead-letters", "retry"], &[]);
        let answer = self.control.call(Method::POST, &path, Some(&filter)).await?;
        let retried = answer.body.get("retried").and_then(Value::as_u64).unwrap_or(0);
        self.checks.equal("dead letters that were taken up again", retried, wanted as u64);
        let mut left = wanted;
        for _ in 0..rounds() {
            left = self.letters().await?.len();
            if self.receiver.taken(DEAD.name) == wanted && left == 0 {
                break;
            }
            console.progress("retried", self.receiver.taken(DEAD.name), wanted)?;
            sleep(PAUSE).await;
        }
        console.clear()?;
        let taken = self.receiver.taken(DEAD.name);
        self.checks.equal("dead letters delivered after the retry", taken, wanted);
        self.checks.equal("dead letters left", left, 0);
        console.say(&format!("POST /v1/dead-letters/retry took up {retried}; {taken} were delivered and {left} are left in the list."))?;
        Ok(retried)
    }

    async fn counts(
        &mut self,
        console: &mut Console,
        tallies: &Tallies,
        reader: &Reader,
        letters: usize,
        retried: u64,
    ) -> anyhow::Result<()> {
        console.step("Count")?;
        let mut rows = vec![
            ["", "requests", "failed", "verified", "delivered", "retried", "dead-lettered", "bad signature", "other bytes"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for plan in &PLANS {
            let seen = self.receiver.seen(plan.name);
            let dead = if plan.name == DEAD.name { letters } else { 0 };
            let cells = [
                seen.requests,
                seen.failed.len(),
                seen.verified,
                seen.taken.len(),
                seen.retried(),
                dead,
                seen.bad_signatures,
                seen.other_bytes,
            ];
            rows.push([plan.name.to_owned()].into_iter().chain(cells.map(|cell| cell.to_string())).collect());
            self.checks.equal(&format!("{}: requests verified", plan.name), seen.verified, seen.requests);
            self.checks.equal(&format!("{}: bodies that differ", plan.name), seen.other_bytes, 0);
            self.checks.equal(&format!("{}: events taken twice", plan.name), seen.twice, 0);
            self.checks.equal(&format!("{}: requests", plan.name), seen.requests, seen.failed.len() + seen.taken.len());
        }
        let read = reader.read();
        let dash = || "-".to_owned();
        let stream =
            ["stream".into(), dash(), dash(), dash(), read.events.to_string(), dash(), dash(), dash(), read.other_bytes.to_string()];
        rows.push(stream.to_vec());
        console.say(&columns(&rows))?;
        self.checks.equal("recovering: requests that failed", self.receiver.seen(RECOVERING.name).failed.len(), 2);
        self.checks.equal("recovering: events that came at a later attempt", self.receiver.seen(RECOVERING.name).retried(), 2);
        self.checks.equal("stream: events whose bytes differ", read.other_bytes, 0);
        self.checks.equal("stream: events read", read.events, read.seen.len());
        let taken: usize = PLANS.iter().map(|plan| self.receiver.taken(plan.name)).sum();
        self.own_counts(console, tallies, taken, retried).await
    }

    /// The server's metrics must tell the same story.
    async fn own_counts(&mut self, console: &Console, tallies: &Tallies, taken: usize, retried: u64) -> anyhow::Result<()> {
        let answer = self.admin.send(Method::GET, "/metrics", &[], Bytes::new()).await?;
        let text = answer.body.as_str().unwrap_or_default();
        let [accepted, duplicate, refused] = tallies.sums();
        for (metric, wanted) in [
            (r#"posthorn_ingest_events_total{result="accepted"}"#, accepted),
            (r#"posthorn_ingest_events_total{result="duplicate"}"#, duplicate),
            (r#"posthorn_ingest_events_total{result="refused"}"#, refused),
            (r#"posthorn_attempts_total{outcome="delivered"}"#, taken),
            (r#"posthorn_deliveries_ended_total{outcome="dead_lettered"}"#, usize::try_from(retried)?),
        ] {
            self.checks.equal(metric, metric_value(text, metric), Some(wanted as f64));
        }
        console.say("The server's own metrics say the same: accepted, duplicate, refused, delivered, dead-lettered.")?;
        Ok(())
    }

    async fn end(mut self, console: &mut Console, took: Duration) -> anyhow::Result<ExitCode> {
        console.step("Stop")?;
        let code = self.server.stop().await?;
        self.checks.equal("exit code of `posthorn serve` after SIGTERM", code, Some(0));
        let Checks { held, failed } = &self.checks;
        for failure in failed {
            console.verdict(false, failure)?;
        }
        let seconds = took.as_secs_f64();
        if failed.is_empty() {
            console.verdict(true, &format!("all {held} expectations held, in {seconds:.1} s; the server drained and ended with 0"))?;
            return Ok(ExitCode::SUCCESS);
        }
        console.say(&format!("{} of {} expectations failed, in {seconds:.1} s.", failed.len(), held + failed.len()))?;
        Ok(ExitCode::FAILURE)
    }

    fn dead(&self) -> &str {
        let at = PLANS.iter().position(|plan| plan.name == DEAD.name);
        at.and_then(|at| self.subscriptions.get(at)).map_or("", |made| &made.id)
    }

    async fn letters(&self) -> anyhow::Result<Vec<Value>> {
        let path = self.control.path(&["v1", "dead-letters"], &[("subscription", self.dead()), ("limit", "1000")]);
        let answer = self.control.call(Method::GET, &path, None).await?;
        Ok(answer.body.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
    }
}

/// The rounds of publishing.
struct Tallies(Vec<Tally>);

impl Tallies {
    fn sums(&self) -> [usize; 3] {
        self.0.iter().fold([0; 3], |[a, d, r], tally| [a + tally.accepted, d + tally.duplicate, r + tally.refused])
    }
}

fn row(name: &str, sent: usize, tally: &Tally) -> Vec<String> {
    let counts = [sent, tally.accepted, tally.duplicate, tally.refused].map(|count| count.to_string());
    [name.to_owned()].into_iter().chain(counts).collect()
}

fn rounds() -> u128 {
    PATIENCE.as_millis() / PAUSE.as_millis()
}

fn metric_value(text: &str, metric: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(metric)?.trim().parse().ok())
}
