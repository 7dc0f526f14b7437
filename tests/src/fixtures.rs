//! Real GitHub webhook payloads, their schemas, and an independent validator's verdicts (`tests/data/github-webhooks`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

/// One recorded payload as a structured CloudEvent.
#[derive(Debug, Deserialize)]
pub struct GithubEvent {
    /// The event's id.
    pub id: String,
    /// `github.{event}`.
    pub topic: String,
    /// `com.github.{event}[.{action}]`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `github.{event}:1`.
    pub schemas: String,
    /// The event's source.
    pub source: String,
    /// The payload, byte for byte as in the file.
    pub data: Box<RawValue>,
    /// The whole line.
    #[serde(skip)]
    pub line: String,
    /// What an independent validator says of it.
    #[serde(skip)]
    pub valid: bool,
}

#[derive(Deserialize)]
struct Verdict {
    id: String,
    valid: bool,
}

/// All 329 events in the order of the file, each with its verdict.
///
/// # Errors
/// When the files are not there or not as described in their README.
pub fn github_events() -> Result<Vec<GithubEvent>> {
    let verdicts: BTreeMap<String, bool> = lines::<Verdict>("verdicts.jsonl")?.into_iter().map(|(_, v)| (v.id, v.valid)).collect();
    let with_verdict = |(line, event): (String, GithubEvent)| {
        let valid = *verdicts.get(&event.id).with_context(|| format!("no verdict on {}", event.id))?;
        Ok(GithubEvent { line, valid, ..event })
    };
    lines::<GithubEvent>("events.jsonl")?.into_iter().map(with_verdict).collect()
}

/// The JSON Schemas (draft-07), by the name that events use: `github.{event}`.
///
/// # Errors
/// When a file cannot be read or is not JSON.
pub fn github_schemas() -> Result<BTreeMap<String, Value>> {
    let mut schemas = BTreeMap::new();
    for entry in std::fs::read_dir(folder().join("schemas")).context("schemas")? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|s| s.to_str()).context("a file name in UTF-8")?;
        let schema = serde_json::from_slice(&std::fs::read(&path)?).with_context(|| path.display().to_string())?;
        schemas.insert(format!("github.{name}"), schema);
    }
    Ok(schemas)
}

fn lines<T: DeserializeOwned>(file: &str) -> Result<Vec<(String, T)>> {
    let text = std::fs::read_to_string(folder().join(file)).with_context(|| file.to_owned())?;
    text.lines().map(|line| Ok((line.to_owned(), serde_json::from_str(line).with_context(|| file.to_owned())?))).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/github-webhooks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixtures_are_whole() {
        let events = github_events().unwrap();
        assert_eq!((events.len(), events.iter().filter(|e| e.valid).count()), (329, 277));
        let schemas = github_schemas().unwrap();
        for event in &events {
            let (name, version) = event.schemas.split_once(':').unwrap();
            assert_eq!(version, "1");
            assert!(schemas.contains_key(name), "{name}");
            assert_eq!(event.topic, name);
        }
    }
}
