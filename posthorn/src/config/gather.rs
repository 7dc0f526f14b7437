//! Gathers the keys that the file and the environment give, each with its place, and checks every one on its own, so that
//! one bad value does not hide the next.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::fault::{Fault, Origin};
use super::raw::RawConfig;

/// Variables that start with `POSTHORN_` and are no keys.
const NOT_KEYS: [&str; 2] = ["POSTHORN_CONTROL_URL", "POSTHORN_DATA_URL"];

/// The tree of both, with environment over file over defaults. Faulty keys keep their default and are listed in `faults`.
pub(super) fn gather(file: Option<&str>, environment: &[(String, String)], faults: &mut Vec<Fault>) -> (RawConfig, Origins) {
    let known = serde_json::to_value(RawConfig::default()).expect("defaults are plain values");
    let mut gathering = Gathering { known, merged: Value::Object(Map::new()), origins: Origins::default(), faults };
    if let Some(text) = file.filter(|text| !text.trim().is_empty()) {
        gathering.file(text);
    }
    for (name, text) in environment.iter().filter(|(name, _)| is_key(name)) {
        gathering.variable(name, text);
    }
    let Gathering { merged, origins, faults, .. } = gathering;
    let raw = serde_json::from_value(merged).unwrap_or_else(|error| {
        faults.push(Fault { key: String::new(), origin: Origin::None, detail: error.to_string() });
        RawConfig::default()
    });
    (raw, origins)
}

/// Where each given key came from.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<String, Origin>);

impl Origins {
    pub(super) fn of(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or(Origin::None)
    }
}

/// Container platforms set `POSTHORN_PORT`, `POSTHORN_SERVICE_HOST`… for a service of that name; they are not meant for us.
fn is_key(name: &str) -> bool {
    let injected = !name.contains("__") && (name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.contains("_PORT"));
    name.starts_with("POSTHORN_") && !NOT_KEYS.contains(&name) && !injected
}

struct Gathering<'a> {
    known: Value,
    merged: Value,
    origins: Origins,
    faults: &'a mut Vec<Fault>,
}

impl Gathering<'_> {
    fn file(&mut self, text: &str) {
        match serde_saphyr::from_str::<Tree>(text) {
            Ok(Tree::Map(entries)) => self.entries(entries, "", None),
            Ok(Tree::Leaf(Value::Null)) => {}
            Ok(Tree::Leaf(_)) => self.fault("", Origin::File(1), "the file must hold a mapping of keys".into()),
            Err(error) => {
                let line = error.location().map_or(0, |location| location.line());
                let text = error.without_snippet().to_string();
                self.fault("", Origin::File(line), format!("not readable as YAML: {text}"));
            }
        }
    }

    fn variable(&mut self, name: &str, text: &str) {
        let key = name.trim_start_matches("POSTHORN_").to_lowercase().replace("__", ".");
        let origin = Origin::Environment(name.to_owned());
        let Some(default) = at(&self.known, &key) else { return self.fault(&key, origin, "unknown key".into()) };
        if text.is_empty() {
            return;
        }
        if default.is_array() && !text.trim_start().starts_with('[') {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            return self.leaf(&key, items.map(Value::from).collect(), origin);
        }
        match serde_saphyr::from_str::<Tree>(text) {
            Ok(Tree::Map(entries)) if default.is_object() => self.entries(entries, &key, Some(&origin)),
            // A name such as `17` is a number to YAML; what does not fit as such is taken as the text that it is.
            Ok(tree) if check(&key, &tree.clone().into_value()).is_ok() => self.leaf(&key, tree.into_value(), origin),
            _ => self.leaf(&key, text.into(), origin),
        }
    }

    fn entries(&mut self, entries: Vec<(Spanned<String>, Tree)>, prefix: &str, variable: Option<&Origin>) {
        for (name, tree) in entries {
            let key = if prefix.is_empty() { name.value.clone() } else { format!("{prefix}.{}", name.value) };
            let origin = variable.cloned().unwrap_or(Origin::File(name.referenced.line()));
            match (at(&self.known, &key), tree) {
                (None, _) => self.fault(&key, origin, "unknown key".into()),
                (Some(_), Tree::Leaf(Value::Null)) => {}
                (Some(Value::Object(_)), Tree::Map(entries)) => self.entries(entries, &key, variable),
                (Some(Value::Object(_)), Tree::Leaf(_)) => self.fault(&key, origin, "a mapping of keys is expected here".into()),
                (Some(_), tree) => self.leaf(&key, tree.into_value(), origin),
            }
        }
    }

    fn leaf(&mut self, key: &str, value: Value, origin: Origin) {
        if at(&self.known, key).is_some_and(Value::is_object) {
            return self.fault(key, origin, "a mapping of keys is expected here".into());
        }
        match check(key, &value) {
            Ok(()) => {
                self.origins.0.insert(key.to_owned(), origin);
                put(&mut self.merged, key, value);
            }
            Err(detail) => self.fault(key, origin, detail),
        }
    }

    fn fault(&mut self, key: &str, origin: Origin, detail: String) {
        self.faults.push(Fault { key: key.to_owned(), origin, detail });
    }
}

/// Whether the configuration takes this value, all else being default.
fn check(key: &str, value: &Value) -> Result<(), String> {
    let mut alone = Value::Object(Map::new());
    put(&mut alone, key, value.clone());
    serde_json::from_value::<RawConfig>(alone).map(drop).map_err(|error| error.to_string())
}

fn at<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(tree, |node, name| node.as_object()?.get(name))
}

fn put(tree: &mut Value, key: &str, value: Value) {
    let node = key.split('.').fold(tree, |node, name| {
        if !node.is_object() {
            *node = Value::Object(Map::new());
        }
        &mut node[name]
    });
    *node = value;
}

/// YAML with the places of its keys.
#[derive(Clone)]
enum Tree {
    Map(Vec<(Spanned<String>, Self)>),
    Leaf(Value),
}

impl Tree {
    fn into_value(self) -> Value {
        match self {
            Self::Leaf(value) => value,
            Self::Map(entries) => Value::Object(entries.into_iter().map(|(name, tree)| (name.value, tree.into_value())).collect()),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

macro_rules! leaves {
    ($($method:ident $ty:ty),+) => {
        $(fn $method<E>(self, value: $ty) -> Result<Tree, E> { Ok(Tree::Leaf(Value::from(value))) })+
    };
}

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    leaves!(visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64, visit_str &str);

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut values = Vec::new();
        while let Some(item) = items.next_element::<Tree>()? {
            values.push(item.into_value());
        }
        Ok(Tree::Leaf(values.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}
