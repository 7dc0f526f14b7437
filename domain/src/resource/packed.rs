//! A subscription in little room: as text without what is the default. Most of those that a control plane or a node holds are seldom
//! looked at, and there may be a hundred thousand. Both keep it in this form on the disk too (sealed), so that they start without
//! reading it.
//!
//! ```text
//! packed = form u8 (1) · revision, incarnation, made at, changed at: u64 LE each · JSON
//! ```
//! The defaults that the JSON leaves out are those of the form. When one changes, what was packed before must not change with it: then
//! there has to be another form.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::{Zeroize as _, Zeroizing};

use super::quick::Text;
use super::{Auth, BatchLimits, Endpoint, Format, Key, Limits, Meta, Mode, OldSecret, Qos, RetryPolicy, Signing, Start, Status};
use super::{Subscription, WrittenFilters};
use crate::ids::SubscriptionId;
use crate::time::Time;
use crate::units::Dur;

/// The subscription, secrets included; wiped with its last clone. Cloning shares it.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed(Arc<[u8]>);

/// Told apart from JSON, which begins with a brace.
const FORM: u8 = 1;
const HEAD: usize = 33;

/// What a node has to know of a subscription that rests.
#[derive(Clone, Debug, PartialEq)]
pub struct Glance {
    /// What it wants.
    pub filters: WrittenFilters,
    /// Whether it delivers.
    pub status: Status,
    /// How.
    pub mode: Mode,
}

#[derive(Deserialize)]
struct GlanceText<'a> {
    #[serde(borrow)]
    filters: Option<&'a RawValue>,
    status: Option<Status>,
    mode: Option<Mode>,
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
    expires_at: Time,
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
        let Meta { revision, incarnation, created_at, updated_at } = subscription.meta;
        let mut bytes = Zeroizing::new(Vec::with_capacity(512));
        bytes.push(FORM);
        [revision, incarnation, created_at.millis(), updated_at.millis()].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        serde_json::to_writer(&mut *bytes, &short).expect("resources have string keys and finite numbers only");
        Self(bytes.as_slice().into())
    }

    /// From [`Packed::as_bytes`], wherever they were kept; none when they are something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() > HEAD && bytes[0] == FORM).then(|| Self(bytes.into()))
    }

    /// To be kept where secrets may be.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The subscription `id` that was packed.
    ///
    /// # Panics
    /// Never: what [`Packed::of`] wrote can be read.
    pub fn read(&self, id: SubscriptionId) -> Subscription {
        let text: Text<'_> = serde_json::from_slice(&self.0[HEAD..]).expect("it is as it was packed");
        let status_reason = text.status_reason();
        let spec = text.spec().expect("it is as it was packed");
        Subscription { id, spec, status_reason, meta: self.meta() }
    }

    /// What there is to see without reading all; and the same without filters, for those who know what they mean.
    ///
    /// # Panics
    /// As [`Packed::read`].
    pub fn parted(&self) -> (Glance, Self) {
        let text = std::str::from_utf8(&self.0[HEAD..]).expect("it is as it was packed");
        let GlanceText { filters, status, mode } = serde_json::from_str(text).expect("it is as it was packed");
        let rest = filters.map_or_else(|| self.clone(), |filters| self.without(text, filters.get()));
        let filters = filters.map_or_else(WrittenFilters::default, WrittenFilters::as_written);
        (Glance { filters, status: status.unwrap_or(Status::Active), mode: mode.unwrap_or_default() }, rest)
    }

    /// Without the filters, which stand in its text.
    fn without(&self, text: &str, filters: &str) -> Self {
        const NAME: &str = "\"filters\":";
        let from = HEAD + (filters.as_ptr() as usize - text.as_ptr() as usize) - NAME.len();
        // Another member always follows.
        let to = from + NAME.len() + filters.len() + 1;
        Self([&self.0[..from], &self.0[to..]].concat().into())
    }

    /// Its revision and times.
    pub fn meta(&self) -> Meta {
        let number = |n: usize| u64::from_le_bytes(self.0[1 + 8 * n..9 + 8 * n].try_into().expect("eight bytes"));
        Meta {
            revision: number(0),
            incarnation: number(1),
            created_at: Time::from_millis(number(2)),
            updated_at: Time::from_millis(number(3)),
        }
    }

    /// Whether these bytes are anywhere in its text: a cheap way to pass over most, when only those that say it are looked for.
    pub fn mentions(&self, wanted: &memchr::memmem::Finder<'_>) -> bool {
        wanted.find(&self.0[HEAD..]).is_some()
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        if let Some(bytes) = Arc::get_mut(&mut self.0) {
            bytes.zeroize();
        }
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a subscription of revision {}", self.meta().revision)
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
