//! Keys as text: a prefix that says what it is, and base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Prefix of a symmetric secret.
pub(super) const HMAC: &str = "whsec_";
/// Prefix of an Ed25519 secret key.
pub(super) const ED25519_SECRET: &str = "whsk_";
/// Prefix of an Ed25519 public key.
pub(super) const ED25519_PUBLIC: &str = "whpk_";

/// Why a text is no key. Never repeats the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Another prefix, or none.
    #[error("the key does not start with {0}")]
    Prefix(&'static str),
    /// What follows the prefix is not base64.
    #[error("the key is not base64 (standard alphabet, padded) after its prefix")]
    Base64,
    /// A `whsec_` key of a wrong size.
    #[error("a `whsec_` key has 24 to 64 bytes, this one has {0}")]
    HmacLength(usize),
    /// A `whsk_` key of a wrong size.
    #[error("a `whsk_` key has 32 bytes (the seed) or 64 (seed and public key), this one has {0}")]
    SecretLength(usize),
    /// A `whpk_` key of a wrong size.
    #[error("a `whpk_` key has 32 bytes, this one has {0}")]
    PublicLength(usize),
    /// The public half of a `whsk_` key belongs to another seed.
    #[error("the two halves of the `whsk_` key do not belong together")]
    Mismatch,
}

/// The bytes after `prefix`, wiped when dropped; `None` if the text has another prefix.
pub(super) fn decode(text: &str, prefix: &str) -> Option<Result<Zeroizing<Vec<u8>>, KeyError>> {
    let encoded = text.strip_prefix(prefix)?;
    Some(STANDARD.decode(encoded).map(Zeroizing::new).map_err(|_| KeyError::Base64))
}

pub(super) fn encode(prefix: &str, bytes: &[u8]) -> String {
    let mut text = prefix.to_owned();
    STANDARD.encode_string(bytes, &mut text);
    text
}
