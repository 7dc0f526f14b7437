//! The configuration file of a Posthorn under test.

use std::path::Path;

use serde_json::{Map, Value, json};

/// A configuration, written as JSON (which is YAML). By default every door is on a free loopback port and loopback
/// targets are allowed.
#[derive(Debug, Clone)]
pub struct Config(Value);

impl Default for Config {
    fn default() -> Self {
        Self(json!({
            "http": {"listen": "127.0.0.1:0"},
            "control": {"listen": "127.0.0.1:0"},
            "broker": {"listen": "127.0.0.1:0"},
            "admin": {"listen": "127.0.0.1:0"},
            "delivery": {"allow_cidrs": ["127.0.0.0/8", "::1/128"]},
        }))
    }
}

impl Config {
    /// The defaults above with the members of `more` laid over them, level by level.
    #[must_use]
    pub fn with(more: Value) -> Self {
        let mut config = Self::default();
        lay_over(&mut config.0, more);
        config
    }

    /// An empty configuration, for tests of the configuration itself.
    #[must_use]
    pub fn empty() -> Self {
        Self(Value::Object(Map::new()))
    }

    /// Sets the key at a dotted path: `delivery.max_response_bytes`.
    #[must_use]
    pub fn set(mut self, path: &str, value: Value) -> Self {
        self.put(path, value);
        self
    }

    /// Takes the key at a dotted path out, if it is there.
    #[must_use]
    pub fn unset(mut self, path: &str) -> Self {
        let pointer = path.rsplit_once('.').map_or((String::new(), path), |(head, last)| (format!("/{}", head.replace('.', "/")), last));
        if let Some(Value::Object(parent)) = self.0.pointer_mut(&pointer.0) {
            parent.remove(pointer.1);
        }
        self
    }

    /// What will be written.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.0
    }

    pub(crate) fn put(&mut self, path: &str, value: Value) {
        let nested = path.rsplit('.').fold(value, |inner, key| json!({ key: inner }));
        lay_over(&mut self.0, nested);
    }

    pub(crate) fn write(&self, file: &Path) -> std::io::Result<()> {
        std::fs::write(file, format!("{:#}\n", self.0))
    }
}

pub(crate) fn lay_over(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_reaches_into_levels_and_keeps_the_rest() {
        let config = Config::default().set("delivery.max_response_bytes", json!(10)).unset("broker.listen");
        assert_eq!(config.as_json()["delivery"]["max_response_bytes"], 10);
        assert_eq!(config.as_json()["delivery"]["allow_cidrs"][0], "127.0.0.0/8");
        assert_eq!(config.as_json()["broker"], json!({}));
        assert_eq!(Config::with(json!({"log": {"segment_bytes": 1}})).as_json()["log"]["segment_bytes"], 1);
    }
}
