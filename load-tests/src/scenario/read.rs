//! From a document to a scenario, with all faults.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value};

use super::check;
use super::step::via;
use super::{Depth, ExternalSpec, ForwarderSpec, Plot, PosthornSpec, ReceiverSpec, Row, Scenario, Schemas, Step, System, Variant};
use crate::fields::{Faults, Fields};

const LIMIT: Duration = Duration::from_secs(600);
const MOST_FAN_OUT: u64 = 10_000;
const MOST_TOPICS: u64 = 1_000;

pub(super) fn scenario(name: &str, mut document: Value, depth: Depth, folder: &Path) -> Result<Scenario> {
    choose(&mut document, depth);
    let mut faults = Faults::default();
    let mut fields = Fields::of(document, "", &mut faults);
    let only = fields.word("only", &["quick", "full"], &mut faults);
    let by_name = fields.flag("by_name", false, &mut faults);
    let defaults = fields.take("defaults").unwrap_or(Value::Null);
    let (setup, steps) = (fields.take("setup"), fields.take("steps"));
    let common = Common { defaults, setup, steps, folder };
    let scenario = Scenario {
        name: name.to_owned(),
        title: fields.need_text("title", &mut faults),
        about: fields.text("about", &mut faults).unwrap_or_default(),
        order: fields.whole("order", 0..=1_000, &mut faults).unwrap_or(1_000),
        rounds: fields.whole("rounds", 1..=100, &mut faults).unwrap_or(3),
        included: !by_name && only.is_none_or(|word| word == depth.word()),
        limit: fields.duration("limit", &mut faults).unwrap_or(LIMIT),
        receiver: receiver(fields.take("receiver").unwrap_or(Value::Null), &mut faults),
        variants: common.variants(fields.list("variants", &mut faults), &mut faults),
        rows: items(fields.list("rows", &mut faults), "rows", &mut faults, Row::read),
        plots: items(fields.list("plots", &mut faults), "plots", &mut faults, Plot::read),
    };
    fields.end(&mut faults);
    check::all(&scenario, &mut faults);
    faults.check(scenario)
}

/// Replaces each `{quick: …, full: …}` by the one that is in force.
fn choose(value: &mut Value, depth: Depth) {
    let name = depth.word();
    match value {
        Value::Object(members) if members.len() == 2 && members.contains_key("quick") && members.contains_key("full") => {
            let mut chosen = members.remove(name).unwrap_or_default();
            choose(&mut chosen, depth);
            *value = chosen;
        }
        Value::Object(members) => members.values_mut().for_each(|member| choose(member, depth)),
        Value::Array(items) => items.iter_mut().for_each(|item| choose(item, depth)),
        _ => {}
    }
}

fn receiver(value: Value, faults: &mut Faults) -> ReceiverSpec {
    let mut fields = Fields::of(value, "receiver", faults);
    let listen = fields.text("listen", faults).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let spec = ReceiverSpec {
        listen: listen.parse().unwrap_or_else(|_| {
            faults.add("receiver.listen", format!("an address such as 127.0.0.1:9000 is expected, not `{listen}`"));
            ([127, 0, 0, 1], 0).into()
        }),
        hosts: fields.whole("hosts", 1..=100, faults).unwrap_or(1) as u8,
        tls: fields.flag("tls", false, faults),
    };
    fields.end(faults);
    spec
}

fn items<T>(values: Vec<Value>, place: &str, faults: &mut Faults, read: impl Fn(Value, &str, &mut Faults) -> T) -> Vec<T> {
    values.into_iter().enumerate().map(|(n, value)| read(value, &format!("{place}[{n}]"), faults)).collect()
}

/// What variants have when they say nothing else.
struct Common<'a> {
    defaults: Value,
    setup: Option<Value>,
    steps: Option<Value>,
    folder: &'a Path,
}

impl Common<'_> {
    fn variants(&self, values: Vec<Value>, faults: &mut Faults) -> Vec<Variant> {
        if values.is_empty() {
            faults.add("variants", "at least one is needed");
        }
        items(values, "variants", faults, |value, place, faults| self.variant(value, place, faults))
    }

    fn variant(&self, value: Value, place: &str, faults: &mut Faults) -> Variant {
        let mut fields = Fields::of(over(&self.defaults, value), place, faults);
        let name = fields.need_text("name", faults);
        let system = self.system(&mut fields, faults);
        let keep = fields.flag("keep", false, faults);
        let given = |fields: &mut Fields, name: &str, common: &Option<Value>| fields.take(name).or_else(|| common.clone());
        // The setup of all is meant for Posthorn: the yardsticks have nothing to set up.
        let common_setup = if matches!(system, System::Posthorn(_)) { self.setup.clone() } else { None };
        let setup = given(&mut fields, "setup", &common_setup);
        let steps = given(&mut fields, "steps", &self.steps);
        let variant = Variant {
            setup: self.steps(setup, &fields.place("setup"), faults),
            steps: self.steps(steps, &fields.place("steps"), faults),
            yardsticks: yardsticks(&mut fields, faults),
            name,
            system,
            keep,
        };
        fields.end(faults);
        variant
    }

    fn steps(&self, value: Option<Value>, place: &str, faults: &mut Faults) -> Vec<Step> {
        match value {
            None => Vec::new(),
            Some(Value::Array(values)) => {
                items(values, place, faults, |value, place, faults| Step::read(value, place, self.folder, faults))
            }
            Some(other) => {
                faults.add(place, format!("a list is expected, not {other:.100}"));
                Vec::new()
            }
        }
    }

    fn system(&self, fields: &mut Fields, faults: &mut Faults) -> System {
        let kinds = ["raw", "null", "signing", "posthorn", "external"];
        let kind = fields.word("system", &kinds, faults).unwrap_or("posthorn");
        let fan_out = fields.whole("fan_out", 1..=MOST_FAN_OUT, faults).unwrap_or(1) as u32;
        let topics = fields.whole("topics", 1..=MOST_TOPICS, faults).unwrap_or(1) as u32;
        let posthorn = PosthornSpec {
            topics,
            topic: fields.take("topic").unwrap_or_default(),
            schemas: schemas(fields.text("schemas", faults).as_deref(), self.folder),
            config: fields.take("config").unwrap_or_default(),
            in_memory: fields.word("data", &["disk", "memory"], faults) == Some("memory"),
        };
        let external = fields.take("gateway");
        let forwards = matches!(kind, "null" | "signing");
        let given = via(fields, &["plain", "tls", "tls_h2"], faults);
        if given.is_some() && !forwards {
            faults.add(&fields.place("via"), "is of forwarders; Posthorn's subscriptions have one each");
        }
        match kind {
            "raw" => System::Raw,
            "null" | "signing" => {
                System::Forwarder(ForwarderSpec { sign: kind == "signing", fan_out, via: given.unwrap_or(super::Via::Plain) })
            }
            "external" => System::External(Box::new(self.external(external.unwrap_or_default(), &fields.place("gateway"), faults))),
            _ => System::Posthorn(Box::new(posthorn)),
        }
    }

    fn external(&self, value: Value, place: &str, faults: &mut Faults) -> ExternalSpec {
        let mut fields = Fields::of(value, place, faults);
        let url = fields.need_text("url", faults);
        let headers = fields.take("headers").unwrap_or_default();
        let headers = headers.as_object().cloned().unwrap_or_default().into_iter();
        let pids = fields.list("pids", faults);
        let spec = ExternalSpec {
            url: url.parse().unwrap_or_else(|error| {
                faults.add(&fields.place("url"), format!("`{url}`: {error}"));
                url::Url::parse("http://127.0.0.1/").expect("a URL")
            }),
            headers: headers.map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned))).collect(),
            ca: fields.text("ca_file", faults).map(|file| self.folder.join(file)),
            pids: pids.iter().filter_map(Value::as_u64).map(|pid| pid as u32).collect(),
            deliveries: fields.whole("deliveries", 0..=MOST_FAN_OUT, faults).unwrap_or(1),
        };
        if spec.pids.len() != pids.len() {
            faults.add(&fields.place("pids"), "process numbers are expected");
        }
        fields.end(faults);
        spec
    }
}

fn schemas(text: Option<&str>, folder: &Path) -> Schemas {
    match text {
        None | Some("order") => Schemas::Order,
        Some("none") => Schemas::None,
        Some("sized") => Schemas::Sized,
        Some(path) => Schemas::Folder(folder.join(path)),
    }
}

/// Names only; whether they are forwarders is seen when all variants are known.
fn yardsticks(fields: &mut Fields, faults: &mut Faults) -> Option<Vec<String>> {
    let Value::Array(names) = fields.take("yardsticks")? else {
        faults.add(&fields.place("yardsticks"), "a list of variants is expected");
        return None;
    };
    Some(names.into_iter().map(|name| name.as_str().map_or_else(|| name.to_string(), str::to_owned)).collect())
}

fn over(defaults: &Value, value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    let mut all: Map<String, Value> = defaults.as_object().cloned().unwrap_or_default();
    all.extend(members);
    Value::Object(all)
}
