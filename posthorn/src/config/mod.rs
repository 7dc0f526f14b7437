//! The configuration: one YAML file, every key also by environment, all faults at once.
//!
//! `gather` brings file and environment together key by key, `validate` checks what spans keys. Whoever starts a plane
//! calls [`load`] and builds from the sections of [`Config`].

mod declared;
mod delivery;
mod fault;
mod gather;
mod identity;
mod plane;
mod raw;
mod redact;
mod validate;

use std::ops::Deref;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use fault::{Fault, Faults, Origin};
pub use raw::{LogFormat, RawConfig};

/// A configuration that was found right. Its sections are those of [`RawConfig`]; `schemas[].file` has become `schema`.
#[derive(Clone, Debug)]
pub struct Config(RawConfig);

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The file; none is needed.
    pub file: Option<PathBuf>,
    /// Wins over `data_dir` of file and environment.
    pub data_dir: Option<PathBuf>,
    /// Allows to listen beyond loopback.
    pub insecure: bool,
    /// For a data plane on its own, which must know its control plane.
    pub data_plane_alone: bool,
}

/// Reads and checks the configuration. `environment` is all of it; only what starts with `POSTHORN_` is looked at.
pub fn load(given: &Given, environment: impl IntoIterator<Item = (String, String)>) -> Result<Config, Faults> {
    let mut faults = Vec::new();
    let mut environment: Vec<_> = environment.into_iter().filter(|(name, _)| name.starts_with("POSTHORN_")).collect();
    environment.sort();
    let text = given.file.as_deref().and_then(|path| read(path, &mut faults));
    let (mut raw, origins) = gather::gather(text.as_deref(), &environment, &mut faults);
    if let Some(data_dir) = &given.data_dir {
        raw.data_dir.clone_from(data_dir);
    }
    let base = given.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    validate::validate(&mut raw, base, given.insecure, &origins, &mut faults);
    if given.data_plane_alone && raw.control.url.is_none() {
        let detail = "is missing: a data plane on its own must know its control plane, such as http://127.0.0.1:8081".into();
        faults.push(Fault { key: "control.url".into(), origin: Origin::None, detail });
    }
    if faults.is_empty() { Ok(Config(raw)) } else { Err(Faults(faults)) }
}

/// The process's environment; variables that are not Unicode are passed over, none of ours can be.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The JSON Schema of the file.
pub fn schema() -> Value {
    schemars::schema_for!(RawConfig).to_value()
}

fn read(path: &Path, faults: &mut Vec<Fault>) -> Option<String> {
    let text = std::fs::read_to_string(path);
    text.map_err(|error| faults.push(Fault { key: String::new(), origin: Origin::None, detail: format!("{}: {error}", path.display()) }))
        .ok()
}

impl Config {
    /// The effective configuration with secrets masked.
    pub fn shown(&self) -> Value {
        let mut value = serde_json::to_value(&self.0).expect("the configuration is plain values");
        redact::redact(&mut value);
        value
    }

    /// Threads that ingest and deliver.
    pub fn shards(&self) -> usize {
        self.node.shards.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Where the key that encrypts secrets is kept.
    pub fn key_file(&self) -> PathBuf {
        self.secrets.key_file.clone().unwrap_or_else(|| self.data_dir.join("secret.key"))
    }
}

impl Deref for Config {
    type Target = RawConfig;

    fn deref(&self) -> &RawConfig {
        &self.0
    }
}
