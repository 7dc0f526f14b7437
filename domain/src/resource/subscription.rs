//! Subscriptions: the contract between an owner and Posthorn.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::endpoint::durations;
use super::{Auth, Endpoint, Meta, SERVER_OWNED, WrittenFilters};
use crate::fields::{Faults, Fields, FromJson, pointer};
use crate::filter::Filter;
use crate::guard::Guard;
use crate::ids::SubscriptionId;
use crate::problem::Problem;
use crate::qos::{DeadLetter, Durability, Ordering};
use crate::secret::Secret;
use crate::signing;
use crate::time::Time;
use crate::units::Dur;

/// A subscription as the control plane keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// What its owner wrote.
    #[serde(flatten)]
    pub spec: SubscriptionSpec,
    /// Why it has the status it has, when somebody or something changed it.
    pub status_reason: Option<String>,
    /// What the control plane knows of it.
    #[serde(flatten)]
    pub meta: Meta,
}

/// What the owner of a subscription decides.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SubscriptionSpec {
    /// A name for people.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// All must hold. As written; [`SubscriptionSpec::compile_filters`] gives their meaning.
    #[schema(value_type = Vec<Object>)]
    pub filters: WrittenFilters,
    /// Take filters that can never match by the schemas of today.
    pub allow_unknown: bool,
    /// Where it delivers.
    pub endpoint: Endpoint,
    /// How requests are signed; at least one.
    pub signing: Vec<Signing>,
    /// What it demands.
    pub qos: Qos,
    /// When a failed delivery is tried again.
    pub retry: RetryPolicy,
    /// What its endpoint may be asked to bear.
    pub limits: Limits,
    /// Where it starts to read when it is made.
    pub start: Start,
    /// Whether it delivers.
    pub status: Status,
    /// Whether its events are pushed to the endpoint or pulled at `/v1/readers/{id}`.
    pub mode: Mode,
}

/// One way of signing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Signing {
    /// The scheme.
    pub scheme: Scheme,
    /// Which kind of key.
    pub key: Key,
    /// `whsec_…` or `whsk_…`.
    pub secret: Secret,
    /// `whpk_…` of an Ed25519 key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Secrets that were rotated out and still sign until they expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<OldSecret>,
}

/// A secret that was rotated out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct OldSecret {
    /// `whsec_…` or `whsk_…`.
    pub secret: Secret,
    /// Until when it signs beside the new one.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Time,
}

/// Signature schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Standard Webhooks 1.0.0.
    StandardWebhooks,
}

/// Kinds of signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// HMAC-SHA256, `v1`.
    HmacSha256,
    /// Ed25519, `v1a`.
    Ed25519,
}

/// What a subscription demands (DESIGN §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Qos {
    /// The least durability of the events that it gets.
    pub durability: Option<Durability>,
    /// Whether what cannot be delivered is kept.
    pub dead_letter: DeadLetter,
    /// In which order it sees events.
    pub ordering: Ordering,
}

/// When a failed delivery is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RetryPolicy {
    /// Delays between attempts: n delays make n + 1 attempts.
    pub schedule: Vec<Dur>,
    /// Each delay is lengthened or shortened by up to this share, 0 to 1.
    pub jitter: f64,
    /// No attempt later than this after the first.
    pub max_age: Dur,
}

/// What an endpoint may be asked to bear.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Limits {
    /// Requests at the same time.
    pub in_flight: u32,
    /// Deliveries a second, with a burst of one second's worth; unlimited when absent.
    pub rate: Option<f64>,
}

/// Where a subscription starts to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest event that is kept.
    Earliest,
    /// With the next event.
    Latest,
    /// With the first event taken in at or after this time.
    At(Time),
}

/// How the events of a subscription get to its owner; both go on from the same place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are sent to the endpoint.
    #[default]
    Push,
    /// They wait at `/v1/readers/{id}/events`; nothing is sent.
    Pull,
}

/// Whether a subscription delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It delivers.
    Active,
    /// Its owner paused it; it keeps its place.
    Paused,
    /// It was disabled, by a person or by a 410; it keeps its place.
    Disabled,
}

impl SubscriptionSpec {
    /// Reads what a user wrote. Secrets may be left out (one is made by the control plane) or be [`crate::secret::REDACTED`]
    /// (the stored one is kept): [`Signing::secret`] is then empty or the placeholder, and the caller fills it in.
    pub fn parse(document: &Value, guard: &Guard) -> Result<Self, Problem> {
        Self::parse_and_compile(document, guard).map(|(spec, _)| spec)
    }

    /// The same, with the filters' meaning, which checking them has given.
    ///
    /// # Errors
    /// As [`SubscriptionSpec::parse`].
    pub fn parse_and_compile(document: &Value, guard: &Guard) -> Result<(Self, Vec<Filter>), Problem> {
        let mut faults = Faults::default();
        let mut compiled = Vec::new();
        let spec = Self::read(document, guard, Some(&mut compiled), &mut faults);
        faults.result("the subscription", spec.map(|spec| (spec, compiled)))
    }

    /// Reads what was checked before it was kept: the filters' meaning is not looked at again.
    ///
    /// # Errors
    /// As [`SubscriptionSpec::parse`], but for the filters.
    pub fn parse_kept(document: &Value, guard: &Guard) -> Result<Self, Problem> {
        let mut faults = Faults::default();
        let spec = Self::read(document, guard, None, &mut faults);
        faults.result("the subscription", spec)
    }

    fn read(document: &Value, guard: &Guard, compiled: Option<&mut Vec<Filter>>, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::of(document, "", faults);
        fields.ignore(&SERVER_OWNED);
        fields.ignore(&["status_reason", "state", "warnings"]);
        let filters: Option<Vec<Value>> = fields.need("filters", faults);
        let allow_unknown = fields.or("allow_unknown", false, faults);
        let endpoint = match fields.raw("endpoint") {
            Some(value) => Endpoint::parse(value, "/endpoint", guard, faults),
            None => {
                faults.shape("/endpoint", "is required: a subscription has exactly one endpoint");
                None
            }
        };
        let name: String = fields.or("name", String::new(), faults);
        let owner: String = fields.or("owner", String::new(), faults);
        let signing: Vec<Signing> = fields.or("signing", vec![Signing::to_be_made(Key::HmacSha256)], faults);
        let qos = Qos::read(&mut fields, faults);
        let retry = RetryPolicy::read(&mut fields, faults);
        let limits = Limits::read(&mut fields, faults);
        let start = fields.or("start", Start::Latest, faults);
        let status = fields.or("status", Status::Active, faults);
        let mode = fields.or("mode", Mode::Push, faults);
        fields.done(faults);
        if let (Some(compiled), Some(filters)) = (compiled, &filters) {
            *compiled = compile(filters, faults);
        }
        for (at, text) in [("/name", &name), ("/owner", &owner)] {
            if text.len() > 200 || text.chars().any(char::is_control) {
                faults.meaning(at, "must be at most 200 bytes without control characters");
            }
        }
        if signing.is_empty() || signing.len() > 4 {
            faults.meaning("/signing", "must have 1 to 4 entries; leave it out to have a secret made");
        }
        let (filters, endpoint) = (WrittenFilters::of(&filters?), endpoint?);
        Some(Self { name, owner, filters, allow_unknown, endpoint, signing, qos, retry, limits, start, status, mode })
    }

    /// The filters' meaning. They were checked when they were read, so a fault here means that the rules changed since.
    pub fn compile_filters(&self) -> Result<Vec<Filter>, Problem> {
        self.filters.compile()
    }

    /// Every secret with the JSON pointer at which the document shows it redacted.
    pub fn secrets(&self) -> Vec<(String, &Secret)> {
        let mut found = Vec::new();
        for (n, signing) in self.signing.iter().enumerate() {
            found.push((format!("/signing/{n}/secret"), &signing.secret));
            for (m, old) in signing.previous.iter().enumerate() {
                found.push((format!("/signing/{n}/previous/{m}/secret"), &old.secret));
            }
        }
        for (n, Auth::Basic { password, .. }) in self.endpoint.auth.iter().enumerate() {
            found.push((format!("/endpoint/auth/{n}/password"), password));
        }
        found
    }
}

pub(super) fn compile(filters: &[Value], faults: &mut Faults) -> Vec<Filter> {
    if filters.is_empty() || filters.len() > 32 {
        faults.meaning("/filters", "must have 1 to 32 entries; `[{\"topic\": \"**\"}]` takes every event");
    }
    filters.iter().enumerate().filter_map(|(n, filter)| Filter::parse(filter, &pointer("/filters", n), faults)).collect()
}

impl Signing {
    /// An entry whose key the control plane is still to make.
    pub fn to_be_made(key: Key) -> Self {
        Self { scheme: Scheme::StandardWebhooks, key, secret: Secret::new(""), public_key: None, previous: Vec::new() }
    }
}

impl FromJson for Signing {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::of(value, at, faults);
        let scheme: Option<String> = fields.need("scheme", faults);
        let key: Option<String> = fields.get("key", faults);
        let secret: Option<Secret> = fields.get("secret", faults);
        let previous: Vec<OldSecret> = fields.or("previous", Vec::new(), faults);
        fields.ignore(&["public_key"]);
        fields.done(faults);
        if scheme? != "standard-webhooks" {
            faults.meaning(&pointer(at, "scheme"), "only `standard-webhooks` is supported by this version");
            return None;
        }
        let named = match key.as_deref() {
            None => None,
            Some("ed25519") => Some(Key::Ed25519),
            Some("hmac-sha256") => Some(Key::HmacSha256),
            Some(other) => {
                faults.meaning(&pointer(at, "key"), format!("`{other}` is not one of hmac-sha256, ed25519"));
                return None;
            }
        };
        let Some(secret) = secret else { return Some(Self::to_be_made(named.unwrap_or(Key::HmacSha256))) };
        if secret.is_placeholder() {
            return Some(Self { secret, previous, ..Self::to_be_made(named.unwrap_or(Key::HmacSha256)) });
        }
        let parsed = secret.expose().parse::<signing::SigningKey>();
        let parsed = parsed.map_err(|error| faults.meaning(&pointer(at, "secret"), error.to_string())).ok()?;
        let public_key = parsed.public_key();
        let key = if public_key.is_some() { Key::Ed25519 } else { Key::HmacSha256 };
        if named.is_some_and(|named| named != key) {
            faults.meaning(&pointer(at, "key"), "does not fit the secret: `whsec_…` is hmac-sha256, `whsk_…` is ed25519");
        }
        Some(Self { scheme: Scheme::StandardWebhooks, key, secret, public_key, previous })
    }
}

impl FromJson for OldSecret {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::of(value, at, faults);
        let secret: Option<Secret> = fields.need("secret", faults);
        let expires_at: Option<Time> = fields.need("expires_at", faults);
        fields.done(faults);
        Some(Self { secret: secret?, expires_at: expires_at? })
    }
}

impl FromJson for Time {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let text = String::from_json(value, at, faults)?;
        Self::parse(&text).or_else(|| {
            faults.shape(at, format!("`{text}` is not an RFC 3339 time such as 2026-01-01T00:00:00Z"));
            None
        })
    }
}

impl Default for Qos {
    fn default() -> Self {
        Self { durability: None, dead_letter: DeadLetter::Allow, ordering: Ordering::None }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_flight: 16, rate: None }
    }
}

impl Qos {
    fn read(fields: &mut Fields<'_>, faults: &mut Faults) -> Self {
        let default = Self::default();
        let mut inner = fields.nested("qos", faults);
        let qos = Self {
            durability: inner.get("durability", faults),
            dead_letter: inner.or("dead_letter", default.dead_letter, faults),
            ordering: inner.or("ordering", default.ordering, faults),
        };
        inner.done(faults);
        qos
    }
}

impl Default for RetryPolicy {
    /// The example schedule of Standard Webhooks: 10 attempts over 75 hours.
    fn default() -> Self {
        let seconds = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
        Self { schedule: seconds.map(Dur::from_secs).into(), jitter: 0.2, max_age: Dur::from_secs(4 * 86_400) }
    }
}

impl RetryPolicy {
    fn read(fields: &mut Fields<'_>, faults: &mut Faults) -> Self {
        let default = Self::default();
        let mut inner = fields.nested("retry", faults);
        let schedule_at = pointer(&inner.at, "schedule");
        let schedule = inner.raw("schedule").and_then(|value| durations(value, &schedule_at, faults));
        let policy = Self {
            schedule: schedule.unwrap_or(default.schedule),
            jitter: inner.or("jitter", default.jitter, faults),
            max_age: inner.or("max_age", default.max_age, faults),
        };
        inner.done(faults);
        if policy.schedule.len() > 100 {
            faults.meaning("/retry/schedule", "at most 100 delays");
        }
        if !(0.0..=1.0).contains(&policy.jitter) {
            faults.meaning("/retry/jitter", "must be from 0 to 1");
        }
        if policy.max_age > Dur::from_secs(90 * 86_400) {
            faults.meaning("/retry/max_age", "must be at most 90d");
        }
        policy
    }
}

impl Limits {
    fn read(fields: &mut Fields<'_>, faults: &mut Faults) -> Self {
        let mut inner = fields.nested("limits", faults);
        let limits = Self { in_flight: inner.or("in_flight", Self::default().in_flight, faults), rate: inner.get("rate", faults) };
        inner.done(faults);
        if !(1..=1000).contains(&limits.in_flight) {
            faults.meaning("/limits/in_flight", "must be from 1 to 1000");
        }
        if limits.rate.is_some_and(|rate| !(0.001..=1_000_000.0).contains(&rate)) {
            faults.meaning("/limits/rate", "must be from 0.001 to 1000000 deliveries a second");
        }
        limits
    }
}

impl FromJson for Start {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let text = String::from_json(value, at, faults)?;
        match text.as_str() {
            "earliest" => Some(Self::Earliest),
            "latest" => Some(Self::Latest),
            other => other.strip_prefix("time:").and_then(Time::parse).map(Self::At).or_else(|| {
                faults.shape(at, format!("`{other}` is not `earliest`, `latest` or `time:` and an RFC 3339 time"));
                None
            }),
        }
    }
}

impl Serialize for Start {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Earliest => serializer.serialize_str("earliest"),
            Self::Latest => serializer.serialize_str("latest"),
            Self::At(time) => serializer.collect_str(&format_args!("time:{time}")),
        }
    }
}

impl utoipa::PartialSchema for Start {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("`earliest`, `latest`, or `time:` and an RFC 3339 time"))
            .into()
    }
}

impl utoipa::ToSchema for Start {}

impl FromJson for Status {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        match String::from_json(value, at, faults)?.as_str() {
            "active" => Some(Self::Active),
            "paused" => Some(Self::Paused),
            "disabled" => Some(Self::Disabled),
            other => {
                faults.shape(at, format!("`{other}` is not one of active, paused, disabled"));
                None
            }
        }
    }
}

impl FromJson for Mode {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        match String::from_json(value, at, faults)?.as_str() {
            "push" => Some(Self::Push),
            "pull" => Some(Self::Pull),
            other => {
                faults.shape(at, format!("`{other}` is not one of push, pull"));
                None
            }
        }
    }
}
