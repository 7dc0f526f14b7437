//! Reads documents (scenarios, behaviours) member by member and gathers all their faults, each with its place.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::distribution::Distribution;

/// The faults of a document, each with its place in it.
#[derive(Debug, Default)]
pub struct Faults(Vec<String>);

impl Faults {
    /// Notes one.
    pub fn add(&mut self, place: &str, what: impl std::fmt::Display) {
        let place = if place.is_empty() { "the document" } else { place };
        self.0.push(format!("{place}: {what}"));
    }

    /// The value when there were none, else all of them, one a line.
    ///
    /// # Errors
    /// All faults.
    pub fn check<T>(self, value: T) -> anyhow::Result<T> {
        anyhow::ensure!(self.0.is_empty(), "{}", self.0.join("\n"));
        Ok(value)
    }
}

/// A mapping of which members are taken one by one; what is left at the end is unknown and a fault.
#[derive(Debug)]
pub struct Fields {
    place: String,
    members: Map<String, Value>,
}

impl Fields {
    /// The members of a mapping; no mapping is a fault and has none. Null is an empty mapping.
    pub fn of(value: Value, place: &str, faults: &mut Faults) -> Self {
        let members = match value {
            Value::Object(members) => members,
            Value::Null => Map::new(),
            other => {
                faults.add(place, format!("a mapping is expected, not {other:.100}"));
                Map::new()
            }
        };
        Self { place: place.to_owned(), members }
    }

    /// The place of a member, such as `variants[0].steps`.
    #[must_use]
    pub fn place(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    /// Takes a member as it is; `None` where it is missing or null.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&mut self, name: &str, faults: &mut Faults) -> Option<String> {
        let value = self.take(name)?;
        match value {
            Value::String(text) => Some(text),
            Value::Number(_) => Some(value.to_string()),
            other => self.fault(name, format!("a text is expected (in quotes where YAML reads something else), not {other:.100}"), faults),
        }
    }

    /// A text that must be there.
    pub fn need_text(&mut self, name: &str, faults: &mut Faults) -> String {
        if !self.members.contains_key(name) {
            faults.add(&self.place(name), "is missing");
        }
        self.text(name, faults).unwrap_or_default()
    }

    /// A yes or no.
    pub fn flag(&mut self, name: &str, default: bool, faults: &mut Faults) -> bool {
        match self.take(name) {
            None => default,
            Some(Value::Bool(flag)) => flag,
            Some(other) => self.fault(name, format!("true or false is expected, not {other:.100}"), faults).unwrap_or(default),
        }
    }

    /// A whole number within bounds.
    pub fn whole(&mut self, name: &str, bounds: std::ops::RangeInclusive<u64>, faults: &mut Faults) -> Option<u64> {
        let value = self.take(name)?;
        match value.as_u64() {
            Some(number) if bounds.contains(&number) => Some(number),
            _ => self.fault(name, format!("a number from {} to {} is expected, not {value:.100}", bounds.start(), bounds.end()), faults),
        }
    }

    /// A number within bounds.
    pub fn number(&mut self, name: &str, bounds: std::ops::RangeInclusive<f64>, faults: &mut Faults) -> Option<f64> {
        let value = self.take(name)?;
        match value.as_f64() {
            Some(number) if bounds.contains(&number) => Some(number),
            _ => self.fault(name, format!("a number from {} to {} is expected, not {value:.100}", bounds.start(), bounds.end()), faults),
        }
    }

    /// A time: `250ms`, `10s`, `5m`.
    pub fn duration(&mut self, name: &str, faults: &mut Faults) -> Option<Duration> {
        let text = self.text(name, faults)?;
        duration(&text).or_else(|| self.fault(name, format!("a time such as 250ms, 10s or 5m is expected, not `{text}`"), faults))
    }

    /// One of these words.
    pub fn word(&mut self, name: &str, known: &[&'static str], faults: &mut Faults) -> Option<&'static str> {
        let text = self.text(name, faults)?;
        let found = known.iter().copied().find(|word| *word == text);
        found.or_else(|| self.fault(name, format!("one of {} is expected, not `{text}`", known.join(", ")), faults))
    }

    /// A list; missing is empty.
    pub fn list(&mut self, name: &str, faults: &mut Faults) -> Vec<Value> {
        match self.take(name) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => self.fault(name, format!("a list is expected, not {other:.100}"), faults).unwrap_or_default(),
        }
    }

    /// A distribution: a number, `{uniform: [1, 9]}`, `{weighted: [[200, 9], [16000, 1]]}`, `{median: 8, p99: 80}`.
    pub fn distribution(&mut self, name: &str, faults: &mut Faults) -> Option<Distribution> {
        let value = self.take(name)?;
        distribution(&value).or_else(|| {
            let what =
                format!("a number, {{uniform: [a, b]}}, {{weighted: [[n, weight], …]}} or {{median, p99}} is expected, not {value:.100}");
            self.fault(name, what, faults)
        })
    }

    /// Ends the reading: what was not taken is unknown.
    pub fn end(self, faults: &mut Faults) {
        for name in self.members.keys() {
            faults.add(&self.place(name), "is not known");
        }
    }

    fn fault<T>(&self, name: &str, what: String, faults: &mut Faults) -> Option<T> {
        faults.add(&self.place(name), what);
        None
    }
}

/// A time: digits and `ms`, `s` or `m`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number = digits.parse::<u64>().ok().filter(|number| *number <= 1_000_000_000)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        _ => None,
    }
}

fn distribution(value: &Value) -> Option<Distribution> {
    let found = match value {
        Value::Number(number) => Distribution::Fixed(positive(number.as_f64()?)?),
        Value::Object(members) if members.len() == 1 && members.contains_key("uniform") => {
            let (from, to) = pair(&value["uniform"])?;
            (from <= to).then_some(Distribution::Uniform(from, to))?
        }
        Value::Object(members) if members.len() == 1 && members.contains_key("weighted") => {
            let choices: Vec<_> = value["weighted"].as_array()?.iter().map(pair).collect::<Option<_>>()?;
            (!choices.is_empty()).then_some(Distribution::Weighted(choices))?
        }
        Value::Object(members) if members.len() == 2 => {
            let (median, p99) = (value["median"].as_f64()?, value["p99"].as_f64()?);
            (median > 0.0 && p99 >= median).then_some(Distribution::LogNormal { median, p99 })?
        }
        _ => return None,
    };
    Some(found)
}

fn pair(value: &Value) -> Option<(f64, f64)> {
    let [first, second] = value.as_array()?.as_slice() else { return None };
    Some((positive(first.as_f64()?)?, positive(second.as_f64()?)?))
}

fn positive(number: f64) -> Option<f64> {
    (number.is_finite() && number >= 0.0).then_some(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_fault_is_named_with_its_place() {
        let mut faults = Faults::default();
        let document =
            json!({"count": -1, "wait": "1 hour", "kind": "blue", "flag": 1, "spread": {"uniform": [9, 1]}, "more": 1, "list": 2});
        let mut fields = Fields::of(document, "a[0]", &mut faults);
        fields.whole("count", 1..=9, &mut faults);
        fields.duration("wait", &mut faults);
        fields.word("kind", &["red", "green"], &mut faults);
        fields.flag("flag", false, &mut faults);
        fields.distribution("spread", &mut faults);
        fields.list("list", &mut faults);
        fields.need_text("name", &mut faults);
        fields.end(&mut faults);
        let error = faults.check(()).unwrap_err().to_string();
        let places = [
            "a[0].count: ",
            "a[0].wait: ",
            "a[0].kind: ",
            "a[0].flag: ",
            "a[0].spread: ",
            "a[0].list: ",
            "a[0].name: is missing",
            "a[0].more: is not known",
        ];
        assert_eq!(error.lines().count(), places.len(), "{error}");
        assert!(places.iter().all(|place| error.contains(place)), "{error}");
    }

    #[test]
    fn times_and_distributions_are_read() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("5m"), Some(Duration::from_secs(300)));
        assert!(["", "s", "5", "5 s", "5h", "-5s", "99999999999s"].iter().all(|text| duration(text).is_none()));
        assert_eq!(distribution(&json!(5)), Some(Distribution::Fixed(5.0)));
        assert_eq!(distribution(&json!({"uniform": [1, 2]})), Some(Distribution::Uniform(1.0, 2.0)));
        assert_eq!(distribution(&json!({"weighted": [[1, 2], [3, 4]]})), Some(Distribution::Weighted(vec![(1.0, 2.0), (3.0, 4.0)])));
        assert_eq!(distribution(&json!({"median": 8, "p99": 80})), Some(Distribution::LogNormal { median: 8.0, p99: 80.0 }));
        assert!([json!(-1), json!({}), json!({"median": 0, "p99": 1}), json!({"weighted": []})].iter().all(|v| distribution(v).is_none()));
    }
}
