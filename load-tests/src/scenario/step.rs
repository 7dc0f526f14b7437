//! The steps of a variant.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::send::Send;
use crate::fields::{Faults, Fields};
use crate::keys::Secret;
use crate::receiver::behaviour::Behaviour;

const MOST_SUBSCRIPTIONS: u64 = 200_000;

/// One step.
#[derive(Debug, Clone)]
pub enum Step {
    /// Make subscriptions at Posthorn.
    Subscribe(Box<Subscribe>),
    /// Send events, and measure.
    Send(Box<Send>),
    /// Tell a group of the receiver how to answer.
    Behave {
        /// The group.
        group: String,
        /// As the receiver's door takes it.
        behaviour: Value,
    },
    /// Note memory and what else can be read now, under a name.
    Mark(String),
    /// Wait until all that was due of an earlier step has arrived, and measure anew from here.
    Await {
        /// The name of the figures.
        name: String,
        /// The step that sent.
        of: String,
        /// Not longer.
        within: Duration,
    },
    /// Pause.
    Wait(Duration),
    /// Stop Posthorn in good order and start it again; how long that took is noted under a name.
    Restart(String),
}

/// Subscriptions of one kind, to every topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe {
    /// The group of paths that they deliver to.
    pub group: String,
    /// Only to the topic with this number.
    pub topic: Option<u32>,
    /// How many for each topic.
    pub count: u32,
    /// Whether their filters match the events.
    pub matches: bool,
    /// Whether what they get counts as due.
    pub counted: bool,
    /// What they sign with.
    pub secret: Secret,
    /// Over so many of the receiver's hosts.
    pub hosts: u32,
    /// The first of them, counted from 0.
    pub first_host: u32,
    /// Which of the receiver's doors.
    pub via: Via,
    /// Members over those of the harness, in the shape of `POST /v1/subscriptions`.
    pub with: Value,
}

/// A door of the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// HTTP/1.1.
    Plain,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 over TLS.
    TlsH2,
    /// A port on which nobody listens: connections are refused.
    Closed,
}

impl Via {
    /// Whether it is reached over TLS.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsH2)
    }
}

/// One of these doors, where a document names one.
pub(super) fn via(fields: &mut Fields, known: &[&'static str], faults: &mut Faults) -> Option<Via> {
    Some(match fields.word("via", known, faults)? {
        "tls" => Via::Tls,
        "tls_h2" => Via::TlsH2,
        "closed" => Via::Closed,
        _ => Via::Plain,
    })
}

impl Step {
    pub(super) fn read(value: Value, place: &str, folder: &Path, faults: &mut Faults) -> Self {
        let mut fields = Fields::of(value, place, faults);
        let kinds = ["subscribe", "send", "behave", "mark", "await", "wait", "restart"];
        let found: Vec<_> = kinds.into_iter().filter_map(|kind| Some((kind, fields.take(kind)?))).collect();
        let within = |name: &str| fields.place(name);
        let step = match found.as_slice() {
            [("subscribe", value)] => Self::Subscribe(Box::new(Subscribe::read(value.clone(), &within("subscribe"), faults))),
            [("send", value)] => Self::Send(Box::new(Send::read(value.clone(), &within("send"), folder, faults))),
            [("behave", value)] => behave(value.clone(), &within("behave"), faults),
            [("await", value)] => wait_for(value.clone(), &within("await"), faults),
            [("mark", Value::String(name))] => Self::Mark(name.clone()),
            [("restart", Value::String(name))] => Self::Restart(name.clone()),
            [("wait", Value::String(time))] => Self::Wait(crate::fields::duration(time).unwrap_or_else(|| {
                faults.add(&within("wait"), format!("a time such as 250ms or 10s is expected, not `{time}`"));
                Duration::ZERO
            })),
            _ => {
                faults.add(place, format!("one of {} is expected; mark, restart and wait take a text", kinds.join(", ")));
                Self::Wait(Duration::ZERO)
            }
        };
        fields.end(faults);
        step
    }

    /// The name under which it leaves figures.
    #[must_use]
    pub fn span(&self) -> Option<&str> {
        match self {
            Self::Send(send) => Some(&send.name),
            Self::Await { name, .. } | Self::Mark(name) | Self::Restart(name) => Some(name),
            _ => None,
        }
    }
}

impl Subscribe {
    fn read(value: Value, place: &str, faults: &mut Faults) -> Self {
        let mut fields = Fields::of(value, place, faults);
        let matches = fields.flag("matches", true, faults);
        let via = via(&mut fields, &["plain", "tls", "tls_h2", "closed"], faults).unwrap_or(Via::Plain);
        let subscribe = Self {
            group: fields.text("group", faults).unwrap_or_else(|| "ok".to_owned()),
            topic: fields.whole("topic", 0..=999, faults).map(|topic| topic as u32),
            count: fields.whole("count", 1..=MOST_SUBSCRIPTIONS, faults).unwrap_or(1) as u32,
            matches,
            counted: fields.flag("counted", matches && via != Via::Closed, faults),
            secret: match fields.word("secret", &["each", "shared", "ed25519"], faults) {
                Some("shared") => Secret::Shared,
                Some("ed25519") => Secret::Ed25519,
                _ => Secret::Each,
            },
            hosts: fields.whole("hosts", 1..=100, faults).unwrap_or(1) as u32,
            first_host: fields.whole("first_host", 0..=99, faults).unwrap_or(0) as u32,
            via,
            with: fields.take("with").unwrap_or_default(),
        };
        if via == Via::Closed && subscribe.counted {
            faults.add(&fields.place("counted"), "nothing can arrive where nobody listens (via: closed)");
        }
        fields.end(faults);
        subscribe
    }
}

fn behave(value: Value, place: &str, faults: &mut Faults) -> Step {
    let mut value = value;
    let group = value.as_object_mut().and_then(|members| members.remove("group"));
    let group = group.and_then(|group| group.as_str().map(str::to_owned)).unwrap_or_else(|| {
        faults.add(&format!("{place}.group"), "is missing");
        String::new()
    });
    Behaviour::read(value.clone(), place, faults);
    Step::Behave { group, behaviour: value }
}

fn wait_for(value: Value, place: &str, faults: &mut Faults) -> Step {
    let mut fields = Fields::of(value, place, faults);
    let step = Step::Await {
        name: fields.need_text("name", faults),
        of: fields.need_text("of", faults),
        within: fields.duration("within", faults).unwrap_or(Duration::from_secs(60)),
    };
    fields.end(faults);
    step
}
