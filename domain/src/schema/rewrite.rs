//! Finds and rewrites the references of one document, wherever in it they stand.

use std::collections::BTreeSet;

use jsonschema::Draft;
use serde_json::Value;
use url::Url;

use super::bundle::is_reference;
use super::draft;
use super::references::{MAPS, anonymous};
use crate::json::escaped;

/// Keywords that hold data, in which nothing is a reference.
const DATA: [&str; 4] = ["enum", "const", "default", "examples"];

/// One document with the names that it gives itself.
pub(super) struct Walk<'s> {
    schema: &'s Value,
    draft: Draft,
    /// What the references of the document's root start from.
    base: Url,
    /// Its own URIs, the root's among them.
    ids: BTreeSet<String>,
}

/// A reference.
pub(super) struct Found {
    /// What it leads to, absolute, without the fragment.
    pub(super) document: String,
    /// Where it stands.
    pub(super) pointer: String,
}

impl<'s> Walk<'s> {
    pub(super) fn over(schema: &'s Value, draft: Draft) -> Self {
        let base = based(schema, draft, &anonymous());
        let mut ids = BTreeSet::from([anonymous().to_string(), base.to_string()]);
        each(schema, draft, &base, false, &mut String::new(), &mut |_, own, _| {
            ids.insert(own.to_string());
        });
        Self { schema, draft, base, ids }
    }

    /// Whether the URI names this document or a part of it.
    pub(super) fn owns(&self, uri: &str) -> bool {
        self.ids.contains(uri)
    }

    /// The URIs of its parts.
    pub(super) fn embedded(&self) -> impl Iterator<Item = &str> {
        let root = [anonymous().to_string(), self.base.to_string()];
        self.ids.iter().map(String::as_str).filter(move |id| !root.iter().any(|own| own == id))
    }

    /// Every reference with a URI that can be resolved; others are the graph's to refuse.
    pub(super) fn references(&self, take: &mut impl FnMut(Found)) {
        each(self.schema, self.draft, &anonymous(), false, &mut String::new(), &mut |keywords, base, at| {
            for (keyword, value) in keywords {
                let Some(mut uri) = value.as_str().filter(|_| is_reference(keyword)).and_then(|text| base.join(text).ok()) else {
                    continue;
                };
                uri.set_fragment(None);
                take(Found { document: uri.into(), pointer: format!("{at}/{keyword}") });
            }
        });
    }

    /// Rewrites the references in `copy`, a copy of the document: those to a URI for which `pinned` knows another, and, when
    /// the document gets the URI `own`, all others too, so that none needs its former `$id`.
    pub(super) fn rewrite(&self, copy: &mut Value, pinned: impl Fn(&str) -> Option<String>, own: Option<&str>) {
        let rewritten = |base: &Url, text: &str| -> Option<String> {
            let uri = base.join(text).ok()?;
            let mut document = uri.clone();
            document.set_fragment(None);
            let to = match own.filter(|_| document == self.base || document == anonymous()) {
                Some(own) => Some(own.to_owned()),
                None if self.owns(document.as_str()) => own.map(|_| document.to_string()),
                None => pinned(document.as_str()).or_else(|| own.map(|_| document.to_string())),
            }?;
            Some(match uri.fragment() {
                Some(fragment) => format!("{to}#{fragment}"),
                None => to,
            })
        };
        let id = draft::id_keyword(self.draft);
        change(copy, self.draft, &anonymous(), false, &mut |keywords, outer, base| {
            for (keyword, value) in keywords.iter_mut() {
                let Some(text) = value.as_str() else { continue };
                if keyword == id && own.is_some() {
                    // An anchor of the old drafts stays one.
                    if !text.starts_with('#')
                        && let Ok(absolute) = outer.join(text)
                    {
                        *value = Value::String(absolute.into());
                    }
                } else if is_reference(keyword)
                    && keyword != "$recursiveRef"
                    && let Some(text) = rewritten(base, text)
                {
                    *value = Value::String(text);
                }
            }
        });
    }
}

type Keywords = serde_json::Map<String, Value>;

/// The base of the references in a subschema.
fn based(schema: &Value, draft: Draft, outer: &Url) -> Url {
    let id = schema.get(draft::id_keyword(draft)).and_then(Value::as_str).filter(|id| !id.starts_with('#'));
    let mut own = id.and_then(|id| outer.join(id).ok()).unwrap_or_else(|| outer.clone());
    own.set_fragment(None);
    own
}

/// Every object that may be a subschema, with the base of its references and its place.
fn each<'v>(value: &'v Value, draft: Draft, outer: &Url, map: bool, at: &mut String, look: &mut impl FnMut(&'v Keywords, &Url, &str)) {
    let length = at.len();
    match value {
        Value::Object(members) => {
            let base = if map { outer.clone() } else { based(value, draft, outer) };
            if !map {
                look(members, &base, at);
            }
            for (name, member) in members.iter().filter(|(name, _)| map || !DATA.contains(&name.as_str())) {
                at.push('/');
                at.push_str(&escaped(name));
                each(member, draft, &base, !map && MAPS.contains(&name.as_str()), at, look);
                at.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at.push_str(&format!("/{index}"));
                each(item, draft, outer, false, at, look);
                at.truncate(length);
            }
        }
        _ => {}
    }
}

/// The same, to be changed; with the base outside and inside.
fn change(value: &mut Value, draft: Draft, outer: &Url, map: bool, edit: &mut impl FnMut(&mut Keywords, &Url, &Url)) {
    let base = if map { outer.clone() } else { based(value, draft, outer) };
    match value {
        Value::Object(members) => {
            if !map {
                edit(members, outer, &base);
            }
            for (name, member) in members.iter_mut().filter(|(name, _)| map || !DATA.contains(&name.as_str())) {
                change(member, draft, &base, !map && MAPS.contains(&name.as_str()), edit);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| change(item, draft, outer, false, edit)),
        _ => {}
    }
}
