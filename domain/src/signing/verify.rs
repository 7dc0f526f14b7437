//! Keys that verify, and the check a receiver makes.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{ED25519, KeyPair as _, UnparsedPublicKey};

use super::key::{hmac_key, key_pair};
use super::text::{self, KeyError};

/// How far a timestamp may be off either way, as the reference libraries have it.
pub const TOLERANCE_SECONDS: u64 = 300;

/// More entries in one header are not looked at; rotation needs two.
const MAX_ENTRIES: usize = 32;

/// A key, prepared to verify: `whsec_…`, `whpk_…`, or a `whsk_…` of which the public half is taken.
pub enum VerifyingKey {
    /// Verifies `v1`.
    Hmac(hmac::Key),
    /// Verifies `v1a`.
    Ed25519([u8; 32]),
}

/// Why a message is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The timestamp is not a whole number of Unix seconds.
    #[error("webhook-timestamp is not a number of Unix seconds")]
    Timestamp,
    /// The timestamp is further in the past than is tolerated.
    #[error("webhook-timestamp is too old")]
    TooOld,
    /// The timestamp is further in the future than is tolerated.
    #[error("webhook-timestamp is too far in the future")]
    TooNew,
    /// No entry verifies with any of the keys.
    #[error("no entry of webhook-signature verifies")]
    Signature,
}

/// Checks one message (Standard Webhooks 1.0.0, "Verifying webhook authenticity"). `timestamp` and `header` are the
/// headers' texts; `now` and `tolerance` are in seconds. Entries of versions that are not known are skipped.
///
/// # Errors
///
/// [`VerifyError`], whose text may be shown to the sender. The comparisons take the same time wherever they fail.
pub fn verify(
    keys: &[VerifyingKey],
    id: &str,
    timestamp: &str,
    header: &str,
    body: &[u8],
    now: u64,
    tolerance: u64,
) -> Result<(), VerifyError> {
    // Digits only: `parse` alone would take a sign too.
    let digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let sent: u64 = timestamp.parse().ok().filter(|_| digits).ok_or(VerifyError::Timestamp)?;
    if now.saturating_sub(sent) > tolerance {
        return Err(VerifyError::TooOld);
    }
    if sent.saturating_sub(now) > tolerance {
        return Err(VerifyError::TooNew);
    }
    let content = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    let verified = header.split(' ').take(MAX_ENTRIES).filter_map(|entry| entry.split_once(',')).any(|(version, signature)| {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        keys.iter().any(|key| key.verifies(version, &content, &signature))
    });
    if verified { Ok(()) } else { Err(VerifyError::Signature) }
}

impl VerifyingKey {
    fn verifies(&self, version: &str, content: &[u8], signature: &[u8]) -> bool {
        match (self, version) {
            (Self::Hmac(key), "v1") => hmac::verify(key, content, signature).is_ok(),
            (Self::Ed25519(public), "v1a") => UnparsedPublicKey::new(&ED25519, public).verify(content, signature).is_ok(),
            _ => false,
        }
    }
}

impl FromStr for VerifyingKey {
    type Err = KeyError;

    fn from_str(key: &str) -> Result<Self, KeyError> {
        if let Some(bytes) = text::decode(key, text::HMAC) {
            return hmac_key(&bytes?).map(Self::Hmac);
        }
        if let Some(bytes) = text::decode(key, text::ED25519_PUBLIC) {
            let bytes = bytes?;
            return <[u8; 32]>::try_from(&bytes[..]).map(Self::Ed25519).map_err(|_| KeyError::PublicLength(bytes.len()));
        }
        if let Some(bytes) = text::decode(key, text::ED25519_SECRET) {
            let pair = key_pair(&bytes?)?;
            return Ok(Self::Ed25519(pair.public_key().as_ref().try_into().expect("a public key has 32 bytes")));
        }
        Err(KeyError::Prefix("`whsec_`, `whpk_` or `whsk_`"))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hmac(_) => "VerifyingKey::Hmac(…)",
            Self::Ed25519(_) => "VerifyingKey::Ed25519(…)",
        })
    }
}
