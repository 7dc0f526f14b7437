//! The recorded GitHub webhooks of `tests/data/github-webhooks`: events, their schemas, and what an independent validator
//! said of each event.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

const PLACE: &str = "tests/data/github-webhooks";

/// One recorded webhook.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) source: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) topic: String,
    pub(super) schemas: String,
    #[serde(default)]
    pub(super) subject: Option<String>,
    /// The payload, byte for byte as it stands in the file.
    pub(super) data: Box<RawValue>,
    /// What the independent validator says.
    #[serde(skip)]
    pub(super) valid: bool,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) folder: PathBuf,
    pub(super) events: Vec<Event>,
    /// By the name that events use, `github.{event}`.
    pub(super) schemas: BTreeMap<String, Box<RawValue>>,
}

#[derive(Deserialize)]
struct Verdict {
    id: String,
    valid: bool,
}

impl Data {
    /// From `--data`, else from the source tree, else from below the working directory.
    pub(super) fn load(given: Option<&Path>) -> anyhow::Result<Self> {
        let folder = find(given)?;
        let verdicts: BTreeMap<String, bool> =
            lines::<Verdict>(&folder, "verdicts.jsonl")?.into_iter().map(|verdict| (verdict.id, verdict.valid)).collect();
        let mut events: Vec<Event> = lines(&folder, "events.jsonl")?;
        for event in &mut events {
            event.valid = *verdicts.get(&event.id).with_context(|| format!("verdicts.jsonl says nothing of {}", event.id))?;
        }
        ensure!(events.len() == verdicts.len(), "{} verdicts on {} events", verdicts.len(), events.len());
        let schemas = schemas(&folder.join("schemas"))?;
        Ok(Self { folder, events, schemas })
    }

    /// How many events of `topic` (of all, without) the validator takes.
    pub(super) fn valid(&self, topic: Option<&str>) -> usize {
        self.events.iter().filter(|event| event.valid && topic.is_none_or(|topic| event.topic == topic)).count()
    }
}

fn find(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = given {
        ensure!(folder.join("events.jsonl").is_file(), "{} holds no events.jsonl", folder.display());
        return Ok(folder.to_owned());
    }
    let source_tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PLACE);
    let places = [PathBuf::from(PLACE), source_tree];
    let found = places.iter().find(|folder| folder.join("events.jsonl").is_file()).cloned();
    found.with_context(|| {
        format!("the recorded webhooks are not here: run this in Posthorn's source tree, or say where {PLACE} is with --data")
    })
}

fn lines<T: DeserializeOwned>(folder: &Path, file: &str) -> anyhow::Result<Vec<T>> {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let read = text.lines().enumerate().map(|(n, line)| serde_json::from_str(line).with_context(|| format!("{file}, line {}", n + 1)));
    read.collect()
}

fn schemas(folder: &Path) -> anyhow::Result<BTreeMap<String, Box<RawValue>>> {
    let mut schemas = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("a file name that is not UTF-8")?;
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let schema = RawValue::from_string(text.trim().to_owned()).with_context(|| path.display().to_string())?;
        schemas.insert(format!("github.{name}"), schema);
    }
    Ok(schemas)
}
