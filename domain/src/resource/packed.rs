//! A subscription in little room: as text without what is the default. Most of those that a control plane or a node holds are seldom
//! looked at, and there may be a hundred thousand.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::Serialize;
use zeroize::Zeroize as _;

use super::quick::Text;
use super::{Auth, BatchLimits, Endpoint, Format, Key, Limits, Meta, Mode, OldSecret, Qos, RetryPolicy, Signing, Start, Status};
use super::{Subscription, WrittenFilters};
use crate::ids::SubscriptionId;
use crate::units::Dur;

/// The subscription, secrets included; wiped with its last clone. Cloning shares it. For memory only: the text leaves out what is the
/// default in this version.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed {
    text: Arc<[u8]>,
    meta: Meta,
}

#[derive(Serialize)]
struct Short<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    owner: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    filters: Option<&'a WrittenFilters>,
    #[serde(skip_serializing_if = "is_default")]
    allow_unknown: bool,
    endpoint: ShortEndpoint<'a>,
    signing: Vec<ShortSigning<'a>>,
    #[serde(skip_serializing_if = "is_default")]
    qos: Qos,
    #[serde(skip_serializing_if = "is_usual")]
    retry: &'a RetryPolicy,
    #[serde(skip_serializing_if = "is_default")]
    limits: Limits,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Start>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "is_default")]
    mode: Mode,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct ShortEndpoint<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    format: Format,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "super::endpoint::as_object")]
    headers: &'a [(String, String)],
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "super::endpoint::as_object")]
    query: &'a [(String, String)],
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Dur>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    auth: Vec<ShortAuth<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<BatchLimits>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ShortAuth<'a> {
    Basic { username: &'a str, password: &'a str },
}

#[derive(Serialize)]
struct ShortSigning<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    secret: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    previous: Vec<ShortOld<'a>>,
}

#[derive(Serialize)]
struct ShortOld<'a> {
    secret: &'a str,
    expires_at: crate::time::Time,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_usual(retry: &RetryPolicy) -> bool {
    static USUAL: LazyLock<RetryPolicy> = LazyLock::new(RetryPolicy::default);
    *retry == *USUAL
}

impl Packed {
    /// Packs it.
    pub fn of(subscription: &Subscription) -> Self {
        let short = Short::of(subscription);
        let mut text = serde_json::to_vec(&short).expect("resources have string keys and finite numbers only");
        let packed = Self { text: text.as_slice().into(), meta: subscription.meta };
        text.zeroize();
        packed
    }

    /// The subscription `id` that was packed.
    ///
    /// # Panics
    /// Never: what [`Packed::of`] wrote can be read.
    pub fn read(&self, id: SubscriptionId) -> Subscription {
        let text: Text<'_> = serde_json::from_slice(&self.text).expect("it was written by this process");
        let status_reason = text.status_reason();
        let spec = text.spec().expect("it was written by this process");
        Subscription { id, spec, status_reason, meta: self.meta }
    }

    /// Its revision and times.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Whether these bytes are anywhere in its text: a cheap way to pass over most, when only those that say it are looked for.
    pub fn mentions(&self, wanted: &memchr::memmem::Finder<'_>) -> bool {
        wanted.find(&self.text).is_some()
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        if let Some(text) = Arc::get_mut(&mut self.text) {
            text.zeroize();
        }
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a subscription of revision {}", self.meta.revision)
    }
}

impl<'a> Short<'a> {
    fn of(Subscription { spec, status_reason, .. }: &'a Subscription) -> Self {
        let Endpoint { url, format, headers, query, timeout, auth, batch } = &spec.endpoint;
        let auth = auth.iter().map(|Auth::Basic { username, password }| ShortAuth::Basic { username, password: password.expose() });
        let endpoint = ShortEndpoint { url, format: *format, headers, query, timeout: *timeout, auth: auth.collect(), batch: *batch };
        Self {
            name: &spec.name,
            owner: &spec.owner,
            filters: Some(&spec.filters).filter(|filters| **filters != WrittenFilters::default()),
            allow_unknown: spec.allow_unknown,
            endpoint,
            signing: spec.signing.iter().map(ShortSigning::of).collect(),
            qos: spec.qos,
            retry: &spec.retry,
            limits: spec.limits,
            start: Some(spec.start).filter(|start| *start != Start::Latest),
            status: Some(spec.status).filter(|status| *status != Status::Active),
            mode: spec.mode,
            status_reason: status_reason.as_deref(),
        }
    }
}

impl<'a> ShortSigning<'a> {
    fn of(signing: &'a Signing) -> Self {
        let old = |OldSecret { secret, expires_at }: &'a OldSecret| ShortOld { secret: secret.expose(), expires_at: *expires_at };
        Self {
            key: Some(signing.key).filter(|key| *key != Key::HmacSha256),
            secret: signing.secret.expose(),
            public_key: signing.public_key.as_deref(),
            previous: signing.previous.iter().map(old).collect(),
        }
    }
}
