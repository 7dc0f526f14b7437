//! Signatures of Standard Webhooks 1.0.0: `v1` by HMAC-SHA256 and `v1a` by Ed25519.
//!
//! What is signed is `{id}.{timestamp}.{body}`. Delivery signs with [`SigningKey`]s that were prepared once; the command
//! line's `listen` and sources that speak the standard verify with [`VerifyingKey`]s. Keys show neither in `Debug` nor
//! in errors.

mod key;
mod text;
mod verify;

pub use key::{SigningKey, generate_ed25519, generate_hmac, signature_header};
pub use text::KeyError;
pub use verify::{TOLERANCE_SECONDS, VerifyError, VerifyingKey, verify};

/// Header with the event's identifier for the receiver, the same over retries.
pub const ID_HEADER: &str = "webhook-id";
/// Header with the attempt's time in Unix seconds.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// Header with the signatures.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

#[cfg(test)]
mod tests;
