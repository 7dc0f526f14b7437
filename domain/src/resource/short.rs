//! A subscription's JSON without what is the default, as [`super::Packed`] has it.

use std::sync::LazyLock;

use serde::Serialize;

use super::{Auth, BatchLimits, Endpoint, Format, Key, Limits, Mode, OldSecret, Qos, RetryPolicy, Signing, Start, Status, Subscription};
use crate::time::Time;
use crate::units::Dur;

/// All of it but its filters, numbers and id.
#[derive(Serialize)]
pub(super) struct Short<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    owner: &'a str,
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
    expires_at: Time,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_usual(retry: &RetryPolicy) -> bool {
    static USUAL: LazyLock<RetryPolicy> = LazyLock::new(RetryPolicy::default);
    *retry == *USUAL
}

impl<'a> Short<'a> {
    pub(super) fn of(Subscription { spec, status_reason, .. }: &'a Subscription) -> Self {
        let Endpoint { url, format, headers, query, timeout, auth, batch } = &spec.endpoint;
        let auth = auth.iter().map(|Auth::Basic { username, password }| ShortAuth::Basic { username, password: password.expose() });
        let endpoint = ShortEndpoint { url, format: *format, headers, query, timeout: *timeout, auth: auth.collect(), batch: *batch };
        Self {
            name: &spec.name,
            owner: &spec.owner,
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
