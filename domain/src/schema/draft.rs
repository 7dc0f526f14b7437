//! Which draft a schema is written in.

use jsonschema::Draft;
use serde_json::Value;

/// `$schema` values without scheme and trailing `#`.
const DRAFTS: [(&str, Draft); 5] = [
    ("json-schema.org/draft-04/schema", Draft::Draft4),
    ("json-schema.org/draft-06/schema", Draft::Draft6),
    ("json-schema.org/draft-07/schema", Draft::Draft7),
    ("json-schema.org/draft/2019-09/schema", Draft::Draft201909),
    ("json-schema.org/draft/2020-12/schema", Draft::Draft202012),
];

/// The draft of a schema that names none.
pub(super) const DEFAULT_URI: &str = "https://json-schema.org/draft/2020-12/schema";

/// How keywords are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the drafts' own")]
pub enum Dialect {
    Draft4,
    Draft6,
    Draft7,
    Draft201909,
    Draft202012,
}

pub(super) fn dialect(draft: Draft) -> Dialect {
    match draft {
        Draft::Draft4 => Dialect::Draft4,
        Draft::Draft6 => Dialect::Draft6,
        Draft::Draft7 => Dialect::Draft7,
        Draft::Draft201909 => Dialect::Draft201909,
        _ => Dialect::Draft202012,
    }
}

/// The keyword by which a schema names itself.
pub(super) fn id_keyword(draft: Draft) -> &'static str {
    if draft == Draft::Draft4 { "id" } else { "$id" }
}

/// The draft that `$schema` names, 2020-12 without one. `None` if it names another.
pub(super) fn of(schema: &Value) -> Option<Draft> {
    match schema.get("$schema") {
        None => Some(Draft::Draft202012),
        Some(named) => by_uri(named.as_str()?),
    }
}

/// Whether a reference leads to the draft's own metaschema or a part of it, which are built in.
pub(super) fn is_metaschema(uri: &str, draft: Draft) -> bool {
    let (scheme, folder) = match draft {
        Draft::Draft201909 => ("https", Some("json-schema.org/draft/2019-09/meta/")),
        Draft::Draft202012 => ("https", Some("json-schema.org/draft/2020-12/meta/")),
        _ => ("http", None),
    };
    let uri = uri.split('#').next().unwrap_or(uri);
    let own = by_uri(uri) == Some(draft) || folder.is_some_and(|folder| without_scheme(uri).is_some_and(|rest| rest.starts_with(folder)));
    own && uri.split(':').next() == Some(scheme)
}

fn by_uri(uri: &str) -> Option<Draft> {
    let rest = without_scheme(uri.strip_suffix('#').unwrap_or(uri))?;
    DRAFTS.iter().find(|(name, _)| *name == rest).map(|(_, draft)| *draft)
}

fn without_scheme(uri: &str) -> Option<&str> {
    uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://"))
}
