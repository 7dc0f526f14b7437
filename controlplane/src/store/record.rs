//! One stored resource: a subscription packed and sealed whole to its key; of the others the document with its secrets redacted, and
//! the secrets sealed to the place where they stand. Subscriptions were stored like the others once and are still read.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use posthorn_domain::guard::Guard;
use posthorn_domain::names::Name;
use posthorn_domain::problem::Problem;
use posthorn_domain::resource::{Compatibility, Meta, Packed, SchemaSpec, SchemaVersion, Subscription, SubscriptionSpec, Topic, TopicSpec};
use posthorn_domain::sealing::{SealingError, SealingKey};
use posthorn_domain::snapshot::{Document, Resource, ResourceKey, Secrets};
use posthorn_domain::time::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::registry::{Entry, Published, Schema};

/// The first byte of a row with a packed subscription; others begin with a brace.
const PACKED: u8 = 1;

/// Why a stored resource cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Its secrets do not open.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// It is not the JSON that this version writes.
    #[error("it is not the JSON that was written: {0}")]
    Json(#[from] serde_json::Error),
    /// Its content breaks a rule.
    #[error("{0}")]
    Rule(Problem),
    /// A member that the control plane adds is missing.
    #[error("`{0}` is missing or not readable")]
    Member(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Record {
    incarnation: u64,
    document: Document,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sealed: BTreeMap<String, String>,
}

/// The resource as it travels to data planes.
pub(crate) fn resource(entry: &Entry) -> Resource {
    let (document, meta, secrets) = match entry {
        Entry::Topic(topic) => (Document::of(&**topic), topic.meta, Secrets::default()),
        Entry::Version(version) => (Document::of(&**version), version.meta, Secrets::default()),
        Entry::Schema(schema) => (Document::of(&schema_document(schema)), schema.meta, Secrets::default()),
        Entry::Subscription(subscription) => return Resource::of_subscription(subscription),
    };
    Resource { revision: meta.revision, incarnation: meta.incarnation, document, secrets }
}

fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("resources have string keys and finite numbers only")
}

fn schema_document(schema: &Schema) -> Value {
    let mut document = to_value(&schema.meta);
    document["name"] = json!(schema.name);
    document["compatibility"] = to_value(&schema.compatibility);
    document["last_version"] = json!(schema.last_version);
    if schema.deleted {
        document["deleted"] = json!(true);
    }
    document
}

pub(super) fn encode(entry: &Entry, key: &ResourceKey, sealing: &SealingKey) -> Result<Vec<u8>, RecordError> {
    if let Entry::Subscription(subscription) = entry {
        let sealed = sealing.seal(Packed::of(subscription).as_bytes(), key.as_str().as_bytes())?;
        return Ok([&[PACKED][..], &sealed].concat());
    }
    let resource = resource(entry);
    let mut sealed = BTreeMap::new();
    for (at, secret) in resource.secrets.iter() {
        let bytes = sealing.seal(secret.as_bytes(), place(key.as_str(), at).as_bytes())?;
        sealed.insert(at.to_owned(), BASE64_STANDARD.encode(bytes));
    }
    let record = Record { incarnation: resource.incarnation, document: resource.document, sealed };
    Ok(serde_json::to_vec(&record)?)
}

pub(super) fn decode(key: &str, bytes: &[u8], sealing: &SealingKey) -> Result<Published, RecordError> {
    if let (Some((&PACKED, sealed)), Some(id)) = (bytes.split_first(), key.strip_prefix("subscriptions/")) {
        let id = id.parse().map_err(|_| RecordError::Member("id"))?;
        let packed = Packed::from_bytes(&sealing.open(sealed, key.as_bytes())?).ok_or(RecordError::Member("form"))?;
        return Ok(Published::Packed(id, packed));
    }
    let record: Record = serde_json::from_slice(bytes)?;
    let mut document = record.document.read()?;
    let meta = meta(&document, record.incarnation)?;
    for (at, sealed) in record.sealed {
        let plain = open(key, &at, &sealed, sealing)?;
        if let Some(place) = document.pointer_mut(&at) {
            *place = json!(String::from_utf8_lossy(&plain));
        }
    }
    entry(key, meta, &document).map(Published::Entry)
}

fn open(key: &str, at: &str, sealed: &str, sealing: &SealingKey) -> Result<Zeroizing<Vec<u8>>, RecordError> {
    let bytes = BASE64_STANDARD.decode(sealed).map_err(|_| RecordError::Member("sealed"))?;
    Ok(sealing.open(&bytes, place(key, at).as_bytes())?)
}

/// Values are sealed to this, so that none can be moved to another subscription or member.
fn place(key: &str, at: &str) -> String {
    format!("{key}#{at}")
}

fn meta(document: &Value, incarnation: u64) -> Result<Meta, RecordError> {
    let revision = document["revision"].as_u64().ok_or(RecordError::Member("revision"))?;
    let time = |member: &'static str| document[member].as_str().and_then(Time::parse).ok_or(RecordError::Member(member));
    Ok(Meta { revision, incarnation, created_at: time("created_at")?, updated_at: time("updated_at")? })
}

fn entry(key: &str, meta: Meta, document: &Value) -> Result<Entry, RecordError> {
    let mut parts = key.splitn(3, '/');
    let kind = parts.next();
    let name = parts.next().ok_or(RecordError::Member("name"))?;
    let parse_name = || name.parse::<Name>().map_err(|_| RecordError::Member("name"));
    match kind {
        Some("topics") => {
            let name = parse_name()?;
            let spec = TopicSpec::parse(document, &name).map_err(RecordError::Rule)?;
            Ok(Entry::Topic(Arc::new(Topic { name, spec, meta })))
        }
        Some("schemas") => {
            let version = parts.next().and_then(|text| text.parse().ok()).ok_or(RecordError::Member("version"))?;
            let spec = SchemaSpec::parse(document).map_err(RecordError::Rule)?;
            let (references, deprecated) = SchemaVersion::settled(document);
            Ok(Entry::Version(Arc::new(SchemaVersion { name: parse_name()?, version, spec, references, deprecated, meta })))
        }
        Some("schema-infos") => {
            let last_version = document["last_version"].as_u64().and_then(|number| u32::try_from(number).ok());
            let last_version = last_version.ok_or(RecordError::Member("last_version"))?;
            let mode = document["compatibility"].as_str().unwrap_or("none").parse();
            let compatibility: Compatibility = mode.map_err(|_| RecordError::Member("compatibility"))?;
            let deleted = document["deleted"].as_bool().unwrap_or(false);
            Ok(Entry::Schema(Arc::new(Schema { name: parse_name()?, compatibility, last_version, deleted, meta })))
        }
        Some("subscriptions") => {
            let id = name.parse().map_err(|_| RecordError::Member("id"))?;
            let spec = SubscriptionSpec::parse_kept(document, &ANYWHERE).map_err(RecordError::Rule)?;
            let status_reason = document["status_reason"].as_str().map(str::to_owned);
            Ok(Entry::Subscription(Arc::new(Subscription { id, spec, status_reason, meta })))
        }
        _ => Err(RecordError::Member("kind")),
    }
}

/// Targets were checked when the subscription was made and are checked at every connect (I10); a narrower configuration
/// since must not keep the control plane from starting.
static ANYWHERE: LazyLock<Guard> = LazyLock::new(|| {
    let all = ["0.0.0.0/0", "::/0"].iter().filter_map(|net| net.parse().ok()).collect();
    Guard::new(all, Some(true))
});
