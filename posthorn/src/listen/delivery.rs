//! One delivery as it came: verified, and as a line.

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use posthorn_domain::signing::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, TOLERANCE_SECONDS, VerifyingKey, verify as check};
use serde_json::{Map, Value, json};

use crate::cli::Output;

/// Headers that are printed, besides `ce-*`.
const SHOWN: [&str; 6] = ["content-type", ID_HEADER, TIMESTAMP_HEADER, "posthorn-delivery", "posthorn-attempt", "posthorn-replay"];

/// What verification found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verified {
    /// A key was given and fits.
    Good,
    /// None was given.
    Unchecked,
    /// Keys were given; why none fits.
    Bad(String),
}

/// Verifies by Standard Webhooks 1.0.0.
pub(super) fn verify(keys: &[VerifyingKey], headers: &HeaderMap, body: &[u8], now: u64) -> Verified {
    if keys.is_empty() {
        return Verified::Unchecked;
    }
    let texts = [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER].map(|name| headers.get(name).and_then(|value| value.to_str().ok()));
    let [Some(id), Some(timestamp), Some(signature)] = texts else { return Verified::Bad("a webhook-* header is missing".into()) };
    match check(keys, id, timestamp, signature, body, now, TOLERANCE_SECONDS) {
        Ok(()) => Verified::Good,
        Err(error) => Verified::Bad(error.to_string()),
    }
}

/// What is printed of a delivery.
pub(super) struct Delivery<'a> {
    pub(super) head: &'a Parts,
    pub(super) body: &'a Bytes,
    pub(super) verified: &'a Verified,
    pub(super) status: u16,
}

impl Delivery<'_> {
    /// One line; the body itself is in the JSON form only.
    pub(super) fn text(&self, format: Output) -> String {
        let headers: Map<String, Value> = self.headers().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let verification = match self.verified {
            Verified::Good => "verified".to_owned(),
            Verified::Unchecked => "unchecked (no --secret)".to_owned(),
            Verified::Bad(why) => format!("BAD ({why})"),
        };
        let (method, path, bytes, status) = (self.head.method.as_str(), self.head.uri.to_string(), self.body.len(), self.status);
        if format == Output::Json {
            let verified = (*self.verified != Verified::Unchecked).then_some(*self.verified == Verified::Good);
            let body = String::from_utf8_lossy(self.body);
            let line = json!({"method": method, "path": path, "headers": headers, "verified": verified, "verification": verification,
                "bytes": bytes, "status": status, "body": body});
            return line.to_string();
        }
        let pairs: Vec<_> = self.headers().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{method} {path}  {verification}  {bytes} bytes  answered {status}  {}", pairs.join(" "))
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.head.headers.iter().map(|(name, value)| (name.as_str(), value));
        let shown = all.filter(|(name, _)| SHOWN.contains(name) || name.starts_with("ce-"));
        shown.filter_map(|(name, value)| Some((name, value.to_str().ok()?)))
    }
}
