//! Checks the signatures of a sample of deliveries: HMAC ones with the `standardwebhooks` crate, as a partner would; Ed25519
//! ones with ring, since that crate knows none.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use ring::signature::{ED25519, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use standardwebhooks::Webhook;

use crate::keys;

/// One in so many deliveries is checked.
const EVERY: u64 = 64;

/// Checks and counts.
#[derive(Debug, Default)]
pub struct Verifier {
    seen: AtomicU64,
    checked: AtomicU64,
    wrong: AtomicU64,
    unsigned: AtomicU64,
    fault: Mutex<Option<String>>,
}

/// What was found so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signatures {
    /// Signatures that were checked.
    pub checked: u64,
    /// Those that were wrong.
    pub wrong: u64,
    /// Deliveries of the sample without a signature.
    pub unsigned: u64,
    /// What was wrong first.
    pub fault: Option<String>,
}

impl Verifier {
    /// Whether the next delivery belongs to the sample.
    pub fn wanted(&self) -> bool {
        self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY)
    }

    /// Checks one delivery to `/{group}/{path}`.
    pub fn check(&self, headers: &HeaderMap, body: &[u8], group: &str, path: u32) {
        if !headers.contains_key("webhook-signature") {
            self.unsigned.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.checked.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = verify(headers, body, group, path) {
            self.wrong.fetch_add(1, Ordering::Relaxed);
            let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
            fault.get_or_insert_with(|| format!("/{group}/{path}: {error:#}"));
        }
    }

    /// The counts.
    pub fn found(&self) -> Signatures {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Signatures { checked: count(&self.checked), wrong: count(&self.wrong), unsigned: count(&self.unsigned), fault }
    }
}

/// A signature by the path's own key or by the group's is right.
fn verify(headers: &HeaderMap, body: &[u8], group: &str, path: u32) -> Result<()> {
    if text(headers, "webhook-signature")?.starts_with("v1a,") {
        return verify_ed25519(headers, body, group);
    }
    let by = |name: &str| Webhook::new(&keys::hmac_text(name)).and_then(|webhook| webhook.verify(body, headers));
    by(&format!("/{group}/{path}")).or_else(|_| by(group)).context("the HMAC")
}

fn verify_ed25519(headers: &HeaderMap, body: &[u8], group: &str) -> Result<()> {
    let (id, timestamp) = (text(headers, "webhook-id")?, text(headers, "webhook-timestamp")?);
    let content = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    let pair = keys::ed25519(group)?;
    let key = UnparsedPublicKey::new(&ED25519, pair.public_key());
    for signature in text(headers, "webhook-signature")?.split(' ').filter_map(|s| s.strip_prefix("v1a,")) {
        if key.verify(&content, &STANDARD.decode(signature)?).is_ok() {
            return Ok(());
        }
    }
    bail!("no Ed25519 signature fits")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).with_context(|| format!("the header {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wall;

    fn signed(by: &str) -> HeaderMap {
        let now = wall::micros() / 1_000_000;
        let signature = Webhook::new(&keys::hmac_text(by)).unwrap().sign("msg_1", i64::try_from(now).unwrap(), b"{}").unwrap();
        let pairs = [("webhook-id", "msg_1".to_owned()), ("webhook-timestamp", now.to_string()), ("webhook-signature", signature)];
        pairs.into_iter().map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn right_wrong_and_missing_signatures_are_counted() {
        let verifier = Verifier::default();
        verifier.check(&signed("/ok/3"), b"{}", "ok", 3);
        verifier.check(&signed("ok"), b"{}", "ok", 3);
        assert_eq!(verifier.found(), Signatures { checked: 2, ..Signatures::default() });
        verifier.check(&signed("/ok/3"), b"{ }", "ok", 3);
        verifier.check(&signed("/ok/4"), b"{}", "ok", 3);
        verifier.check(&HeaderMap::new(), b"{}", "ok", 3);
        let found = verifier.found();
        assert_eq!((found.checked, found.wrong, found.unsigned), (4, 2, 1));
        assert!(found.fault.unwrap().starts_with("/ok/3: "));
        assert!(verifier.wanted() && !verifier.wanted());
    }

    #[test]
    fn ed25519_is_checked_with_the_groups_key() {
        let mut headers = signed("ok");
        let content = format!("msg_1.{}.{{}}", headers["webhook-timestamp"].to_str().unwrap());
        let signature = keys::ed25519("ok").unwrap().sign(content.as_bytes());
        headers.insert("webhook-signature", format!("v1a,{}", STANDARD.encode(signature)).parse().unwrap());
        assert!(verify(&headers, b"{}", "ok", 9).is_ok());
        assert!(verify(&headers, b"{}", "other", 9).is_err());
        assert!(verify(&headers, b"[]", "ok", 9).is_err());
    }
}
