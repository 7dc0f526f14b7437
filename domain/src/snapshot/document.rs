//! A resource's content as the text that it travels as: a tenth of what the same takes as a tree, so it can be held by the hundred
//! thousand. Made by the control plane, read by data planes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// JSON text. Cloning shares it.
#[derive(Clone, PartialEq, Eq)]
pub struct Document(Arc<str>);

/// A pointer into the document, and the secret that stands there.
type Placed = (Box<str>, Box<str>);

/// Secrets by the JSON pointer of their place in a document. Cloning shares them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Option<Arc<[Placed]>>);

impl Document {
    /// The text of a value.
    ///
    /// # Panics
    /// When the value has maps with keys that are no text; resources have none.
    pub fn of(value: &impl Serialize) -> Self {
        Self(serde_json::to_string(value).expect("resources have string keys and finite numbers only").into())
    }

    /// Of text that [`Document::as_str`] gave.
    pub(crate) fn kept(text: &str) -> Self {
        Self(text.into())
    }

    /// The content.
    ///
    /// # Errors
    /// JSON that is nested too deeply, or has numbers out of range.
    pub fn read(&self) -> serde_json::Result<Value> {
        serde_json::from_str(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(deserializer)?.get().into()))
    }
}

impl Secrets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Pointers and secrets.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|secrets| secrets.iter()).map(|(at, secret)| (&**at, &**secret))
    }
}

impl<A: Into<Box<str>>, S: Into<Box<str>>> FromIterator<(A, S)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (A, S)>>(secrets: I) -> Self {
        let all: Vec<Placed> = secrets.into_iter().map(|(at, secret)| (at.into(), secret.into())).collect();
        Self(if all.is_empty() { None } else { Some(all.into()) })
    }
}

impl Serialize for Secrets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What does not fit is not quoted: it may be a secret.
        let secrets = BTreeMap::<String, String>::deserialize(deserializer);
        secrets.map(|secrets| secrets.into_iter().collect()).map_err(|_| D::Error::custom("secrets are text by JSON pointer"))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(at, _)| at)).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Resource;

    #[test]
    fn it_travels_as_the_json_that_it_is() {
        let written = json!({"revision": 2, "incarnation": 1, "document": {"a": [1, null], "s": "********"}, "secrets": {"/s": "open"}});
        let text = written.to_string();
        let resource: Resource = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_value(&resource).unwrap(), written);
        assert_eq!(resource.revealed().unwrap(), json!({"a": [1, null], "s": "open"}));
        assert!(!format!("{resource:?} {:?}", resource.secrets).contains("open"));
    }

    #[test]
    fn what_cannot_be_a_tree_is_an_error_when_it_is_read() {
        let deep = format!("{{\"revision\":1,\"incarnation\":1,\"document\":{}{}}}", "[".repeat(500), "]".repeat(500));
        let resource: Resource = serde_json::from_str(&deep).unwrap();
        assert!(resource.revealed().is_err());
    }
}
