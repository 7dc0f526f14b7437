//! The step that sends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::dial::Protocol;
use crate::distribution::{Distribution, MOST_KEYS};
use crate::events::Mode;
use crate::fields::{Faults, Fields};
use crate::schedule::{Arrivals, MOST_ARRIVALS};

const MOST_CONNECTIONS: u64 = 4_000;
const MOST_RATE: f64 = 1e6;

/// Events to send.
#[derive(Debug, Clone)]
pub struct Send {
    /// The name of the figures.
    pub name: String,
    /// Only to the topic with this number, instead of to each in turn.
    pub topic: Option<u32>,
    /// What events carry.
    pub payload: PayloadSpec,
    /// How they travel.
    pub mode: Mode,
    /// With which protocol.
    pub protocol: Protocol,
    /// Through how many connections.
    pub connections: usize,
    /// How fast.
    pub pace: Pace,
    /// Not longer, all deliveries included.
    pub within: Duration,
    /// So many keys.
    pub keys: Option<u64>,
    /// By Zipf's law with this exponent.
    pub zipf: f64,
    /// Events before, that do not count.
    pub warm_up: u64,
    /// Wait until all has arrived.
    pub wait: bool,
    /// How long the cost is counted on after the last delivery, for what is done later.
    pub linger: Duration,
    /// Events that may be refused; those that were do not make the run fail.
    pub may_refuse: bool,
}

/// What events carry.
#[derive(Debug, Clone)]
pub enum PayloadSpec {
    /// The order.
    Order,
    /// A template, filled up to sizes of this distribution.
    Template(String, Option<Distribution>),
    /// Recorded events.
    File(PathBuf),
}

/// How fast events are sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Pace {
    /// As answers come, so many.
    Closed(u64),
    /// On a schedule.
    Open {
        /// Requests a second.
        rate: Rate,
        /// How long.
        length: Duration,
        /// How they follow each other.
        arrivals: Arrivals,
    },
}

/// A rate.
#[derive(Debug, Clone, PartialEq)]
pub enum Rate {
    /// A second.
    Fixed(f64),
    /// A share of what an earlier step of the same variant reached.
    Share(f64, String),
}

impl Send {
    pub(super) fn read(value: Value, place: &str, folder: &Path, faults: &mut Faults) -> Self {
        let mut fields = Fields::of(value, place, faults);
        let pace = pace(&mut fields, faults);
        let batch = fields.whole("batch", 1..=1_000, faults);
        let mode = fields.word("mode", &["binary", "structured", "batch", "plain"], faults);
        let send = Self {
            name: fields.text("name", faults).unwrap_or_else(|| "load".to_owned()),
            topic: fields.whole("topic", 0..=999, faults).map(|topic| topic as u32),
            payload: payload(&mut fields, folder, faults),
            mode: match (mode, batch) {
                (Some("structured"), _) => Mode::Structured,
                (Some("plain"), _) => Mode::Plain,
                (Some("batch"), batch) => Mode::Batch(batch.unwrap_or(100)),
                (None, Some(batch)) if batch > 1 => Mode::Batch(batch),
                _ => Mode::Binary,
            },
            protocol: match fields.word("protocol", &["h1", "h2"], faults) {
                Some("h2") => Protocol::H2,
                _ => Protocol::H1,
            },
            connections: fields.whole("connections", 1..=MOST_CONNECTIONS, faults).unwrap_or(32) as usize,
            pace,
            within: fields.duration("within", faults).unwrap_or(Duration::from_secs(60)),
            keys: fields.whole("keys", 1..=MOST_KEYS, faults),
            zipf: fields.number("zipf", 0.0..=10.0, faults).unwrap_or_default(),
            warm_up: fields.whole("warm_up", 0..=1_000_000, faults).unwrap_or(300),
            wait: fields.flag("wait", true, faults),
            linger: fields.duration("linger", faults).unwrap_or(Duration::from_millis(200)),
            may_refuse: fields.flag("may_refuse", false, faults),
        };
        if let Pace::Open { length, .. } = &send.pace
            && *length >= send.within
        {
            faults.add(&fields.place("within"), "must be longer than `for`: what is late and what is delivered last need time too");
        }
        fields.end(faults);
        send
    }

    /// How long events on a schedule of this length are sent: up to halfway between its end and `within`, so that as much is left to
    /// deliver what was accepted last.
    #[must_use]
    pub fn sent_within(&self, length: Duration) -> Duration {
        length + self.within.saturating_sub(length) / 2
    }
}

fn pace(fields: &mut Fields, faults: &mut Faults) -> Pace {
    let count = fields.whole("count", 1..=MOST_ARRIVALS, faults);
    let rate = fields.number("rate", 0.01..=MOST_RATE, faults);
    let (share, of) = (fields.number("share", 0.001..=10.0, faults), fields.text("of", faults));
    let length = fields.duration("for", faults);
    let arrivals = match fields.word("arrivals", &["even", "poisson"], faults) {
        Some("even") => Arrivals::Even,
        _ => Arrivals::Poisson,
    };
    let rate = match (rate, share, of) {
        (Some(rate), None, None) => Some(Rate::Fixed(rate)),
        (None, Some(share), Some(of)) => Some(Rate::Share(share, of)),
        _ => None,
    };
    match (count, rate, length) {
        (Some(count), None, None) => Pace::Closed(count),
        (None, Some(rate), Some(length)) => Pace::Open { rate, length, arrivals },
        _ => {
            faults.add(&fields.place("count"), "either count, or rate and for, or share, of and for are needed");
            Pace::Closed(1)
        }
    }
}

fn payload(fields: &mut Fields, folder: &Path, faults: &mut Faults) -> PayloadSpec {
    let size = fields.distribution("size", faults);
    let (file, template) = (fields.text("events", faults), fields.text("template", faults));
    match (file, template, size) {
        (Some(file), None, None) => PayloadSpec::File(folder.join(file)),
        (None, Some(template), size) => PayloadSpec::Template(template, size),
        (None, None, Some(size)) => PayloadSpec::Template(crate::payload::SIZED.to_owned(), Some(size)),
        (None, None, None) => PayloadSpec::Order,
        _ => {
            faults.add(&fields.place("events"), "either events, or template and size");
            PayloadSpec::Order
        }
    }
}
