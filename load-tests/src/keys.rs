//! The secrets of subscriptions, made from the path that they deliver to: whoever sets up a gateway and the receiver agree on
//! them without a word.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// Which secret a subscription signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secret {
    /// An HMAC key of its own.
    Each,
    /// One HMAC key for all of a group.
    Shared,
    /// One Ed25519 key for all of a group.
    Ed25519,
}

/// The HMAC key for a path, 32 bytes.
#[must_use]
pub fn hmac(name: &str) -> [u8; 32] {
    let hash = digest(&SHA256, format!("posthorn-load {name}").as_bytes());
    hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The HMAC key as configuration wants it: `whsec_…`.
#[must_use]
pub fn hmac_text(name: &str) -> String {
    format!("whsec_{}", STANDARD.encode(hmac(name)))
}

/// The Ed25519 key pair for a name.
///
/// # Errors
/// Never with a seed of this length.
pub fn ed25519(name: &str) -> Result<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(&hmac(name)).ok().context("a seed of 32 bytes")
}

/// The Ed25519 key as configuration wants it: `whsk_` and seed and public key.
///
/// # Errors
/// As [`ed25519`].
pub fn ed25519_text(name: &str) -> Result<String> {
    let pair = ed25519(name)?;
    Ok(format!("whsk_{}", STANDARD.encode([&hmac(name), pair.public_key().as_ref()].concat())))
}
