//! Keeps `fuzz/`, which the workspace does not build, in step with what it names: targets, entries and corpora.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A target, the source file of its entry, the entry, and its corpus, which a plain test of that crate runs with mutations.
const TARGETS: [(&str, &str, &str, &str); 4] = [
    ("decode", "domain/src/cloudevents/fuzz.rs", "fuzz_decode", "domain/fuzz-corpus/cloudevents"),
    ("tape", "domain/src/json/fuzz.rs", "tape_against_serde", "domain/fuzz-corpus/json"),
    ("filter", "domain/src/filter/fuzz.rs", "filters", "domain/fuzz-corpus/filters"),
    ("frame", "storage/src/log/segments/fuzz.rs", "frame", "storage/fuzz-corpus/frames"),
];

#[test]
fn every_target_has_its_entry_and_its_corpus() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).with_context(|| path.to_owned());
    let manifest: toml::Table = read("fuzz/Cargo.toml")?.parse()?;
    let bins = manifest["bin"].as_array().context("an array of targets")?;
    assert_eq!(bins.len(), TARGETS.len(), "a target is missing here or in fuzz/Cargo.toml");
    let readme = read("fuzz/README.md")?;
    for (name, source, entry, corpus) in TARGETS {
        assert!(bins.iter().any(|bin| bin["name"].as_str() == Some(name)), "{name}");
        let call = format!("{}::{entry}(bytes)", source.trim_end_matches(".rs").rsplit('/').next().context("a module")?);
        assert!(read(&format!("fuzz/fuzz_targets/{name}.rs"))?.contains(&call), "{name} does not call {call}");
        assert!(read(source)?.contains(&format!("pub fn {entry}(bytes: &[u8])")), "{source} has no {entry}");
        assert!(fs::read_dir(root.join(corpus))?.count() >= 4, "{corpus}");
        assert!(readme.contains(corpus), "fuzz/README.md does not name {corpus}");
    }
    Ok(())
}
