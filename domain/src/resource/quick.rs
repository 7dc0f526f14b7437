//! Reading a subscription that was checked before it was kept: straight from its text, with no tree between. Whoever starts reads
//! them by the hundred thousand.
//!
//! It may fail where [`SubscriptionSpec::parse_kept`] does not, and never gives anything else: who gets nothing here asks there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Auth, BatchLimits, Endpoint, Format, Key, Limits, Meta, Mode, OldSecret, Qos, RetryPolicy, Scheme, Signing, Start, Status,
    Subscription, SubscriptionSpec, WrittenFilters,
};
use crate::ids::SubscriptionId;
use crate::qos::{DeadLetter, Durability, Ordering};
use crate::secret::Secret;
use crate::time::Time;
use crate::units::{Dur, Size};

/// A subscription as it is written; members that are missing have their defaults.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text<'a> {
    id: Option<SubscriptionId>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    owner: Cow<'a, str>,
    #[serde(borrow)]
    filters: Option<&'a RawValue>,
    #[serde(default)]
    allow_unknown: bool,
    #[serde(borrow)]
    endpoint: EndpointText<'a>,
    #[serde(borrow)]
    signing: Vec<SigningText<'a>>,
    qos: Option<QosText>,
    retry: Option<RetryText>,
    limits: Option<LimitsText>,
    #[serde(borrow)]
    start: Option<Cow<'a, str>>,
    status: Option<Status>,
    mode: Option<Mode>,
    status_reason: Option<String>,
    revision: Option<u64>,
    created_at: Option<Time>,
    updated_at: Option<Time>,
}

#[derive(Deserialize)]
struct ResourceText<'a> {
    incarnation: u64,
    #[serde(borrow)]
    document: Text<'a>,
    #[serde(borrow, default)]
    secrets: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointText<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    query: BTreeMap<String, String>,
    timeout: Option<Dur>,
    #[serde(default)]
    auth: Vec<AuthText>,
    batch: Option<BatchText>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum AuthText {
    Basic { username: String, password: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchText {
    max_events: u64,
    max_bytes: Size,
    max_wait: Dur,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SigningText<'a> {
    #[serde(default = "standard")]
    scheme: Scheme,
    #[serde(default = "symmetric")]
    key: Key,
    #[serde(borrow)]
    secret: Cow<'a, str>,
    public_key: Option<String>,
    #[serde(default)]
    previous: Vec<OldText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldText {
    secret: String,
    expires_at: Time,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QosText {
    durability: Option<Durability>,
    dead_letter: DeadLetter,
    ordering: Ordering,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryText {
    schedule: Vec<Dur>,
    jitter: f64,
    max_age: Dur,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsText {
    in_flight: u32,
    rate: Option<f64>,
}

fn standard() -> Scheme {
    Scheme::StandardWebhooks
}

fn symmetric() -> Key {
    Key::HmacSha256
}

impl Subscription {
    /// The subscription that a resource is, in the JSON that it travels as ([`crate::snapshot::Resource`]), when it can be read the
    /// quick way.
    pub fn quick(resource: &[u8]) -> Option<Self> {
        let ResourceText { incarnation, document, secrets, .. } = serde_json::from_slice(resource).ok()?;
        Self::of_text(document, incarnation, secrets.iter().map(|(at, secret)| (&**at, &**secret)))
    }

    /// The same from its document, with the secrets by the pointers of their places.
    pub fn quick_from<'s>(document: &str, incarnation: u64, secrets: impl Iterator<Item = (&'s str, &'s str)>) -> Option<Self> {
        Self::of_text(serde_json::from_str(document).ok()?, incarnation, secrets)
    }

    fn of_text<'s>(text: Text<'_>, incarnation: u64, secrets: impl Iterator<Item = (&'s str, &'s str)>) -> Option<Self> {
        text.filters?;
        let (revision, created_at, updated_at) = (text.revision?, text.created_at?, text.updated_at?);
        let (id, status_reason) = (text.id?, text.status_reason.clone());
        let mut spec = text.spec()?;
        for (at, secret) in secrets {
            *spec.secret_at(at)? = Secret::new(secret);
        }
        let placeholder = spec.secrets().iter().any(|(_, secret)| secret.is_placeholder() || secret.expose().is_empty());
        let meta = Meta { revision, incarnation, created_at, updated_at };
        (!placeholder).then_some(Self { id, spec, status_reason, meta })
    }
}

impl Text<'_> {
    /// Why it has its status.
    pub(super) fn status_reason(&self) -> Option<String> {
        self.status_reason.clone()
    }

    /// What its owner decided.
    pub(super) fn spec(self) -> Option<SubscriptionSpec> {
        let EndpointText { url, format, headers, query, timeout, auth, batch } = self.endpoint;
        let batch = batch.map(|BatchText { max_events, max_bytes, max_wait }| BatchLimits { max_events, max_bytes, max_wait });
        let auth = auth.into_iter().map(|AuthText::Basic { username, password }| Auth::Basic { username, password: Secret::new(password) });
        let (headers, query) = (headers.into_iter().collect(), query.into_iter().collect());
        let endpoint = Endpoint { url: url.into_owned(), format, headers, query, timeout, auth: auth.collect(), batch };
        let start = match self.start.as_deref() {
            None | Some("latest") => Start::Latest,
            Some("earliest") => Start::Earliest,
            Some(other) => Start::At(Time::parse(other.strip_prefix("time:")?)?),
        };
        let qos =
            self.qos.map_or_else(Qos::default, |QosText { durability, dead_letter, ordering }| Qos { durability, dead_letter, ordering });
        let retry = self.retry.map_or_else(RetryPolicy::default, |RetryText { schedule, jitter, max_age }| RetryPolicy {
            schedule,
            jitter,
            max_age,
        });
        let limits = self.limits.map_or_else(Limits::default, |LimitsText { in_flight, rate }| Limits { in_flight, rate });
        Some(SubscriptionSpec {
            name: self.name.into_owned(),
            owner: self.owner.into_owned(),
            filters: self.filters.map_or_else(WrittenFilters::default, WrittenFilters::as_written),
            allow_unknown: self.allow_unknown,
            endpoint,
            signing: self.signing.into_iter().map(SigningText::signing).collect(),
            qos,
            retry,
            limits,
            start,
            status: self.status.unwrap_or(Status::Active),
            mode: self.mode.unwrap_or(Mode::Push),
        })
    }
}

impl SigningText<'_> {
    fn signing(self) -> Signing {
        let old = |OldText { secret, expires_at }| OldSecret { secret: Secret::new(secret), expires_at };
        let previous = self.previous.into_iter().map(old).collect();
        Signing { scheme: self.scheme, key: self.key, secret: Secret::new(self.secret), public_key: self.public_key, previous }
    }
}

impl SubscriptionSpec {
    /// The secret that a pointer of [`SubscriptionSpec::secrets`] names.
    fn secret_at(&mut self, pointer: &str) -> Option<&mut Secret> {
        let mut parts = pointer.strip_prefix('/')?.split('/');
        let mut part = || parts.next();
        match (part()?, part()?, part()?, part(), part(), part()) {
            ("signing", n, "secret", None, ..) => Some(&mut self.signing.get_mut(n.parse::<usize>().ok()?)?.secret),
            ("signing", n, "previous", Some(m), Some("secret"), None) => {
                let signing = self.signing.get_mut(n.parse::<usize>().ok()?)?;
                Some(&mut signing.previous.get_mut(m.parse::<usize>().ok()?)?.secret)
            }
            ("endpoint", "auth", n, Some("password"), None, _) => {
                let Auth::Basic { password, .. } = self.endpoint.auth.get_mut(n.parse::<usize>().ok()?)?;
                Some(password)
            }
            _ => None,
        }
    }
}
