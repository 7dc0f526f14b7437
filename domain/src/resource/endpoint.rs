//! The endpoint of a subscription: where it delivers, in which form, with what beside the event.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::batch::BatchLimits;
use crate::fields::{Faults, Fields, FromJson, parsed, pointer};
use crate::guard::Guard;
use crate::secret::Secret;
use crate::units::Dur;

/// Where a subscription delivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Endpoint {
    /// `https`, or `http` where the operator allows it.
    pub url: String,
    /// How the event is written into the request.
    pub format: Format,
    /// Headers of every request.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    #[serde(serialize_with = "as_object")]
    pub headers: Vec<(String, String)>,
    /// Query parameters of every request, added to those of the URL.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    #[serde(serialize_with = "as_object")]
    pub query: Vec<(String, String)>,
    /// From the look-up of the name to the last byte of the answer; the server's default when absent.
    pub timeout: Option<Dur>,
    /// Credentials, applied in order.
    pub auth: Vec<Auth>,
    /// How events are gathered, in the format `batch`; the defaults when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchLimits>,
}

/// How an event is written into a request (interfaces §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Data as the body, attributes as `ce-*` headers.
    #[default]
    Binary,
    /// One CloudEvent as JSON.
    Structured,
    /// Several CloudEvents as a JSON array.
    Batch,
    /// Data as the body, no `ce-*` headers.
    Data,
}

/// Credentials towards an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Auth {
    /// HTTP Basic (RFC 7617).
    Basic {
        /// The user-id; no colon.
        username: String,
        /// The password.
        password: Secret,
    },
}

pub(super) fn as_object<S: serde::Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

/// Headers that are Posthorn's own or the connection's.
const RESERVED: [&str; 14] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "proxy-connection",
    "expect",
    "user-agent",
    "posthorn-delivery",
    "posthorn-attempt",
];

impl Endpoint {
    /// Reads the member `endpoint`; `guard` refuses forbidden targets.
    pub fn parse(value: &Value, at: &str, guard: &Guard, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::of(value, at, faults);
        let url: Option<String> = fields.need("url", faults);
        let endpoint = Self {
            url: url.clone().unwrap_or_default(),
            format: fields.or("format", Format::Binary, faults),
            headers: fields.or("headers", Vec::new(), faults),
            query: fields.or("query", Vec::new(), faults),
            timeout: fields.get("timeout", faults),
            auth: fields.or("auth", Vec::new(), faults),
            batch: fields.get("batch", faults),
        };
        fields.done(faults);
        if let Err(refusals) = guard.check_url(url.as_deref()?) {
            for refusal in refusals {
                faults.meaning(&pointer(at, "url"), refusal.detail);
            }
        }
        endpoint.check(at, faults);
        Some(endpoint)
    }

    fn check(&self, at: &str, faults: &mut Faults) {
        let headers_at = pointer(at, "headers");
        if self.headers.len() > 32 {
            faults.meaning(&headers_at, "at most 32 headers");
        }
        for (name, value) in &self.headers {
            let at = pointer(&headers_at, name);
            let lower = name.to_ascii_lowercase();
            let token =
                !name.is_empty() && name.len() <= 100 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
            if !token {
                faults.meaning(&at, "is not a header name (RFC 9110 §5.1)");
            } else if RESERVED.contains(&lower.as_str())
                || lower.starts_with("ce-")
                || lower.starts_with("webhook-")
                || lower.starts_with("posthorn-")
            {
                faults.meaning(&at, "is a header that Posthorn or the connection sets");
            }
            if value.len() > 4096 || !value.bytes().all(|b| b == b'\t' || (0x20..0x7f).contains(&b)) {
                faults.meaning(&at, "must be at most 4096 visible ASCII characters, blanks and tabs");
            }
        }
        if self.query.len() > 32 || self.query.iter().any(|(name, value)| name.is_empty() || name.len() + value.len() > 4096) {
            faults.meaning(&pointer(at, "query"), "at most 32 parameters of at most 4096 bytes, each with a name");
        }
        let timeout_ok = self.timeout.is_none_or(|timeout| (Dur::from_millis(10)..=Dur::from_secs(120)).contains(&timeout));
        if !timeout_ok {
            faults.meaning(&pointer(at, "timeout"), "must be from 10ms to 2m");
        }
        if self.batch.is_some() && self.format != Format::Batch {
            faults.meaning(&pointer(at, "batch"), "goes with the format `batch` only");
        }
        if self.auth.len() > 4 {
            faults.meaning(&pointer(at, "auth"), "at most 4 credentials");
        }
    }
}

impl FromJson for Format {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        match String::from_json(value, at, faults)?.as_str() {
            "binary" => Some(Self::Binary),
            "structured" => Some(Self::Structured),
            "batch" => Some(Self::Batch),
            "data" => Some(Self::Data),
            other => {
                faults.shape(at, format!("`{other}` is not one of binary, structured, batch, data"));
                None
            }
        }
    }
}

impl FromJson for Auth {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::of(value, at, faults);
        let kind: String = fields.need("type", faults)?;
        if kind != "basic" {
            faults.meaning(
                &pointer(at, "type"),
                format!("`{kind}` is not supported by this version; `basic` is, and fixed headers and query parameters"),
            );
            return None;
        }
        let username: Option<String> = fields.need("username", faults);
        let password: Option<Secret> = fields.need("password", faults);
        fields.done(faults);
        if username.as_ref().is_some_and(|name| name.contains(':')) {
            faults.meaning(&pointer(at, "username"), "must not contain a colon (RFC 7617 §2)");
        }
        Some(Self::Basic { username: username?, password: password? })
    }
}

impl FromJson for Secret {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let text = String::from_json(value, at, faults)?;
        if text.is_empty() || text.len() > 8192 {
            faults.meaning(at, "must be 1 to 8192 bytes");
            return None;
        }
        Some(Self::new(text))
    }
}

/// A duration list such as a retry schedule.
pub(super) fn durations(value: &Value, at: &str, faults: &mut Faults) -> Option<Vec<Dur>> {
    let texts: Vec<String> = FromJson::from_json(value, at, faults)?;
    let read: Vec<Option<Dur>> = texts.iter().enumerate().map(|(n, text)| parsed(text, &pointer(at, n), faults)).collect();
    read.into_iter().collect()
}
