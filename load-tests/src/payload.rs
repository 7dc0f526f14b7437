//! The bodies of events: a template with placeholders, or recorded events.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, value::RawValue};

use crate::mark::Mark;

/// An order of about 1 KB that satisfies [`ORDER_SCHEMA`].
pub const ORDER: &str = include_str!("order.json");
/// The schema of the order.
pub const ORDER_SCHEMA: &str = include_str!("order.schema.json");
/// What a payload of a given size looks like when nothing else is said.
pub const SIZED: &str = r#"{"id":"{id}","number":{seq},"key":"{key}","pad":"{pad}"}"#;
/// The largest body that is made, in bytes.
pub const LARGEST: usize = 1 << 20;
const MOST_RECORDED: usize = 10_000;

/// What events carry.
#[derive(Debug)]
pub enum Payload {
    /// Made from a template.
    Template(Template),
    /// Recorded events, one after the other, again and again.
    Recorded(Vec<Recorded>),
}

/// A recorded event: its attributes but for id and topic, and its data.
#[derive(Debug)]
pub struct Recorded {
    /// Names and values, `type` and `source` among them.
    pub attributes: Vec<(String, String)>,
    /// The bytes of `data`.
    pub data: Bytes,
}

/// A body with places to fill in: `{id}` (the mark), `{seq}`, `{time}` (microseconds since 1970), `{key}`, `{pad}`.
#[derive(Debug)]
pub struct Template {
    pieces: Vec<Piece>,
    /// The bytes of it all without padding, placeholders left out.
    fixed: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Id,
    Seq,
    Time,
    Key,
    Pad,
}

const PLACES: [(&str, Piece); 5] =
    [("{id}", Piece::Id), ("{seq}", Piece::Seq), ("{time}", Piece::Time), ("{key}", Piece::Key), ("{pad}", Piece::Pad)];

impl Template {
    /// Finds the placeholders; other braces are text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((at, place, piece)) = first_place(rest) {
            pieces.push(Piece::Text(rest[..at].to_owned()));
            pieces.push(piece);
            rest = &rest[at + place.len()..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Self { pieces, fixed: Bytes::copy_from_slice(text.as_bytes()) }
    }

    /// The body of one event; `{pad}` fills it up to `size` bytes.
    #[must_use]
    pub fn fill(&self, mark: Mark, key: Option<u64>, size: Option<usize>) -> Bytes {
        if self.pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) {
            return self.fixed.clone();
        }
        let mut body = String::with_capacity(size.unwrap_or(self.fixed.len() + 64));
        let mut pad_at = None;
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => body.push_str(text),
                Piece::Id => push(&mut body, mark),
                Piece::Seq => push(&mut body, mark.number),
                Piece::Time => push(&mut body, mark.due),
                Piece::Key => push(&mut body, key.unwrap_or(mark.number)),
                Piece::Pad => pad_at = Some(body.len()),
            }
        }
        let missing = size.unwrap_or_default().min(LARGEST).saturating_sub(body.len());
        if let Some(at) = pad_at {
            body.insert_str(at, &"x".repeat(missing));
        }
        body.into()
    }
}

/// Reads recorded events: structured CloudEvents, one a line. Where a file `verdicts.jsonl` lies beside it, events that it
/// calls invalid are left out.
///
/// # Errors
/// When a file cannot be read, a line is no event, or none is left.
pub fn recorded(file: &Path) -> Result<Payload> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let verdicts = std::fs::read_to_string(file.with_file_name("verdicts.jsonl")).unwrap_or_default();
    let invalid: Vec<Value> =
        verdicts.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(|v: &Value| v["valid"] == false).collect();
    let mut events = Vec::new();
    for (number, line) in text.lines().filter(|line| !line.trim().is_empty()).take(MOST_RECORDED).enumerate() {
        let (id, event) = parse(line).with_context(|| format!("{}, line {}", file.display(), number + 1))?;
        if !invalid.iter().any(|verdict| verdict["id"] == id.as_str()) {
            events.push(event);
        }
    }
    ensure!(!events.is_empty(), "{} holds no events", file.display());
    Ok(Payload::Recorded(events))
}

fn parse(line: &str) -> Result<(String, Recorded)> {
    let members: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(line)?;
    let mut attributes = Vec::new();
    let (mut id, mut data) = (String::new(), Bytes::new());
    for (name, raw) in members {
        match name.as_str() {
            "data" => data = Bytes::copy_from_slice(raw.get().as_bytes()),
            "id" => id = serde_json::from_str(raw.get())?,
            "specversion" | "topic" => {}
            _ => {
                let value: Value = serde_json::from_str(raw.get())?;
                attributes.push((name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
            }
        }
    }
    ensure!(!id.is_empty(), "an event has an id");
    Ok((id, Recorded { attributes, data }))
}

fn first_place(text: &str) -> Option<(usize, &'static str, Piece)> {
    PLACES.iter().filter_map(|(place, piece)| Some((text.find(place)?, *place, piece.clone()))).min_by_key(|(at, ..)| *at)
}

fn push(body: &mut String, value: impl std::fmt::Display) {
    use std::fmt::Write as _;
    write!(body, "{value}").expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { run: 1, number: 7, due: 99 };

    #[test]
    fn a_template_is_filled_and_padded() {
        let template = Template::parse(SIZED);
        let body = template.fill(MARK, Some(3), Some(200));
        assert_eq!(body.len(), 200);
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((value["id"].as_str(), value["number"].as_u64(), value["key"].as_str()), (Some("ld.1.7.99."), Some(7), Some("3")));
        assert_eq!(template.fill(MARK, None, None), r#"{"id":"ld.1.7.99.","number":7,"key":"7","pad":""}"#);
        assert_eq!(Template::parse("{a}{time}{b}").fill(MARK, None, None), "{a}99{b}");
        assert_eq!(Template::parse("{\"plain\":1}").fill(MARK, None, Some(500)), "{\"plain\":1}");
    }

    #[test]
    fn the_order_is_about_a_kilobyte_of_json() {
        let order: Value = serde_json::from_str(ORDER).unwrap();
        assert_eq!(order["currency"], "EUR");
        assert!((900..1_200).contains(&ORDER.len()), "{}", ORDER.len());
        serde_json::from_str::<Value>(ORDER_SCHEMA).unwrap();
    }

    #[test]
    fn of_the_recorded_webhooks_those_that_are_valid_are_read() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/github-webhooks/events.jsonl");
        let Payload::Recorded(events) = recorded(&file).unwrap() else { panic!("recorded events") };
        assert_eq!(events.len(), 277);
        let event = &events[0];
        assert!(event.attributes.iter().any(|(name, value)| name == "schemas" && value.ends_with(":1")), "{:?}", event.attributes);
        assert!(event.attributes.iter().all(|(name, _)| name != "id" && name != "topic"));
        serde_json::from_slice::<Value>(&event.data).unwrap();
        assert!(recorded(Path::new("/nowhere")).is_err());
    }
}
