//! A schema document together with the registered documents that its references lead to.
//!
//! A reference names a version as `posthorn:schema/{name}/{version}` or by the `$id` of its document. Which version that
//! is, is settled once, at registration ([`pins`]), and written beside the version. In a bundle every such reference is
//! rewritten to the version's own URI, so that two versions with one `$id` can stand in one bundle. Nothing is ever fetched.

use std::collections::HashSet;

use jsonschema::Draft;
use serde_json::Value;
use url::Url;

use super::complexity::check_size;
use super::draft;
use super::references::{Graph, REFERENCES, Source};
use super::rewrite::{Found, Walk};
use crate::json::fragment;
use crate::names::{References, SchemaRef};
use crate::problem::Fault;

/// At most so many registered documents in one bundle, whatever way they are reached.
pub const MAX_DOCUMENTS: usize = 64;
/// At most so many bytes of registered documents in one bundle.
const MAX_BYTES: usize = 4 << 20;

/// A registered version's document.
#[derive(Clone, Copy, Debug)]
pub struct Registered<'a> {
    /// As its owner wrote it.
    pub schema: &'a Value,
    /// What its references mean.
    pub references: &'a References,
}

/// Registered versions, by name and number.
pub trait Library {
    /// The version, if it is there.
    fn registered(&self, reference: &SchemaRef) -> Option<Registered<'_>>;
}

/// Nothing is registered.
impl Library for () {
    fn registered(&self, _: &SchemaRef) -> Option<Registered<'_>> {
        None
    }
}

/// What a reference that leaves its document names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// This version.
    Version(&'a SchemaRef),
    /// The newest version whose document has this `$id`.
    Id(&'a str),
}

/// A document and what its references lead to, ready to be compiled.
#[derive(Debug)]
pub struct Bundle {
    root: Value,
    draft: Draft,
    others: Vec<(Url, Value, Draft)>,
}

/// The URI of a version, by which documents refer to it.
pub fn uri_of(reference: &SchemaRef) -> String {
    format!("posthorn:schema/{}/{}", reference.name, reference.version)
}

/// Settles what the references of `schema` that leave it mean.
///
/// # Errors
///
/// A fault for each reference to what `find` does not know.
pub fn pins(schema: &Value, find: impl Fn(Wanted<'_>) -> Option<SchemaRef>) -> Result<References, Vec<Fault>> {
    check_size(schema).map_err(|fault| vec![fault])?;
    let (mut pinned, mut faults) = (References::new(), Vec::new());
    for found in outward(schema, known_draft(schema)?) {
        if pinned.contains_key(&found.document) {
            continue;
        }
        match meaning(&found.document, &find) {
            Ok(reference) => drop(pinned.insert(found.document, reference)),
            Err(detail) => faults.push(Fault { schema: None, pointer: fragment(&found.pointer), detail }),
        }
    }
    if pinned.len() > MAX_DOCUMENTS {
        faults.push(too_many());
    }
    faults.truncate(super::errors::MAX_FAULTS);
    if faults.is_empty() { Ok(pinned) } else { Err(faults) }
}

fn meaning(uri: &str, find: &impl Fn(Wanted<'_>) -> Option<SchemaRef>) -> Result<SchemaRef, String> {
    let Some(path) = uri.strip_prefix("posthorn:") else {
        return find(Wanted::Id(uri)).ok_or_else(|| {
            format!(
                "the reference leaves the document and no registered version has the `$id` `{}`: register it first, refer to a version \
                 as `posthorn:schema/{{name}}/{{version}}`, or put what it refers to into `$defs`",
                super::errors::shortened(uri)
            )
        });
    };
    let parsed = path.strip_prefix("schema/").and_then(|path| path.split_once('/'));
    let reference = parsed.and_then(|(name, version)| {
        let plain = version.bytes().all(|byte| byte.is_ascii_digit()) && !version.starts_with('0');
        Some(SchemaRef { name: name.parse().ok()?, version: version.parse().ok().filter(|_| plain)? })
    });
    let reference =
        reference.ok_or("a registered version is referred to as `posthorn:schema/{name}/{version}`, such as `posthorn:schema/order/3`")?;
    find(Wanted::Version(&reference)).ok_or_else(|| format!("`{reference}` is not registered; references lead to versions that there are"))
}

fn known_draft(schema: &Value) -> Result<Draft, Vec<Fault>> {
    draft::of(schema).ok_or_else(|| {
        vec![Fault {
            schema: None,
            pointer: "#/$schema".into(),
            detail: "the draft is not known; drafts 4, 6, 7, 2019-09 and 2020-12 are".into(),
        }]
    })
}

/// The references that lead out of the document and to no metaschema.
fn outward(schema: &Value, draft: Draft) -> Vec<Found> {
    let mut found = Vec::new();
    let walk = Walk::over(schema, draft);
    walk.references(&mut |reference| {
        if !walk.owns(&reference.document) && !draft::is_metaschema(&reference.document, draft) {
            found.push(reference);
        }
    });
    found
}

impl Bundle {
    /// The document with what its references lead to, through as many documents as it takes.
    ///
    /// # Errors
    ///
    /// Faults with pointers into the document: it is too large or of no known draft, or a pinned version is not there.
    pub fn new(schema: &Value, references: &References, library: &dyn Library) -> Result<Self, Vec<Fault>> {
        check_size(schema).map_err(|fault| vec![fault])?;
        let draft = known_draft(schema)?;
        if references.is_empty() {
            return Ok(Self { root: schema.clone(), draft, others: Vec::new() });
        }
        let mut root = schema.clone();
        Walk::over(schema, draft).rewrite(&mut root, |uri| references.get(uri).map(uri_of), None);
        let others = gather(references, library).map_err(|fault| vec![fault])?;
        Ok(Self { root, draft, others })
    }

    /// The document's subschemas and where their references lead.
    ///
    /// # Errors
    ///
    /// A fault for each reference that leads nowhere.
    pub fn graph(&self) -> Result<Graph<'_>, Vec<Fault>> {
        let others: Vec<Source<'_>> = self.others.iter().map(|(uri, document, draft)| Source { uri, document, draft: *draft }).collect();
        Graph::of(&self.root, self.draft, &others)
    }

    /// The document itself, its references rewritten.
    pub fn root(&self) -> &Value {
        &self.root
    }

    pub(super) fn draft(&self) -> Draft {
        self.draft
    }

    /// All documents, its own first.
    pub(super) fn documents(&self) -> impl Iterator<Item = &Value> {
        std::iter::once(&self.root).chain(self.others())
    }

    /// The documents that references lead to.
    pub(super) fn others(&self) -> impl Iterator<Item = &Value> {
        self.others.iter().map(|(_, document, _)| document)
    }

    pub(super) fn registered(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.others.iter().map(|(uri, document, _)| (uri.as_str(), document))
    }
}

fn gather(references: &References, library: &dyn Library) -> Result<Vec<(Url, Value, Draft)>, Fault> {
    let mut pending: Vec<SchemaRef> = references.values().cloned().collect();
    let mut seen: HashSet<SchemaRef> = pending.iter().cloned().collect();
    let (mut others, mut bytes, mut ids) = (Vec::new(), 0, HashSet::new());
    while let Some(reference) = pending.pop() {
        let version = library.registered(&reference).ok_or_else(|| whole(format!("`{reference}`, to which it refers, is not there")))?;
        let (uri, document, draft) = standalone(&reference, version).ok_or_else(|| whole(format!("`{reference}` is of no known draft")))?;
        bytes += document.to_string().len();
        if others.len() >= MAX_DOCUMENTS {
            return Err(too_many());
        }
        if bytes > MAX_BYTES {
            return Err(whole(format!("the documents that it refers to have more than {MAX_BYTES} bytes together")));
        }
        let base = Walk::over(&document, draft);
        if let Some(twice) = base.embedded().find(|id| !ids.insert((*id).to_owned())) {
            return Err(whole(format!("two of the documents that it refers to embed the `$id` `{}`", super::errors::shortened(twice))));
        }
        pending.extend(version.references.values().filter(|next| seen.insert((*next).clone())).cloned());
        others.push((uri, document, draft));
    }
    Ok(others)
}

/// The version's document under its own URI: no `$id` of its own, and no reference that needs one.
fn standalone(reference: &SchemaRef, version: Registered<'_>) -> Option<(Url, Value, Draft)> {
    let own = uri_of(reference);
    let draft = draft::of(version.schema)?;
    let mut document = version.schema.clone();
    let walk = Walk::over(version.schema, draft);
    walk.rewrite(&mut document, |uri| version.references.get(uri).map(uri_of), Some(&own));
    if let Some(keywords) = document.as_object_mut() {
        keywords.remove(draft::id_keyword(draft));
        if !keywords.contains_key("$schema") {
            keywords.insert("$schema".into(), draft::DEFAULT_URI.into());
        }
    }
    Some((own.parse().ok()?, document, draft))
}

fn too_many() -> Fault {
    whole(format!("more than {MAX_DOCUMENTS} registered documents are reached by references"))
}

fn whole(detail: String) -> Fault {
    Fault { schema: None, pointer: "#".into(), detail }
}

/// Whether the keyword holds a reference.
pub(super) fn is_reference(keyword: &str) -> bool {
    REFERENCES.contains(&keyword)
}
