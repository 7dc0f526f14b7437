//! Keys that sign.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use super::text::{self, KeyError};

/// A key, prepared to sign. Parse it once and keep it.
pub enum SigningKey {
    /// Signs `v1,…`; its text is `whsec_…`.
    Hmac(hmac::Key),
    /// Signs `v1a,…`; its text is `whsk_…`.
    Ed25519(Box<Ed25519KeyPair>),
}

impl FromStr for SigningKey {
    type Err = KeyError;

    fn from_str(secret: &str) -> Result<Self, KeyError> {
        if let Some(bytes) = text::decode(secret, text::HMAC) {
            return hmac_key(&bytes?).map(Self::Hmac);
        }
        if let Some(bytes) = text::decode(secret, text::ED25519_SECRET) {
            return key_pair(&bytes?).map(|pair| Self::Ed25519(Box::new(pair)));
        }
        Err(KeyError::Prefix("`whsec_` or `whsk_`"))
    }
}

impl SigningKey {
    /// Whether a key can be made of `secret`, without making one that costs more to make.
    ///
    /// # Errors
    /// As parsing it.
    pub fn check(secret: &str) -> Result<(), KeyError> {
        match text::decode(secret, text::HMAC) {
            Some(bytes) => hmac_length(&bytes?),
            None => secret.parse::<Self>().map(drop),
        }
    }

    /// Appends one entry, `v1,…` or `v1a,…`. `timestamp` is the attempt's time in Unix seconds; `body` is what goes over
    /// the wire, in pieces. Ed25519 reads what it signs twice, so there the pieces are joined.
    pub fn sign_into(&self, id: &str, timestamp: u64, body: &[Bytes], out: &mut String) {
        let mut digits = [0; 20];
        let prefix = [id.as_bytes(), b".", decimal(timestamp, &mut digits), b"."];
        match self {
            Self::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                prefix.iter().for_each(|part| context.update(part));
                body.iter().for_each(|piece| context.update(piece));
                out.push_str("v1,");
                STANDARD.encode_string(context.sign(), out);
            }
            Self::Ed25519(pair) => {
                let mut content = Vec::with_capacity(id.len() + 22 + body.iter().map(Bytes::len).sum::<usize>());
                prefix.iter().for_each(|part| content.extend_from_slice(part));
                body.iter().for_each(|piece| content.extend_from_slice(piece));
                out.push_str("v1a,");
                STANDARD.encode_string(pair.sign(&content), out);
            }
        }
    }

    /// The same for equal keys and, as far as anyone can find, for no others; says nothing of the key.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        match self {
            // Nothing that is signed looks like this: it has dots.
            Self::Hmac(key) => fingerprint.copy_from_slice(hmac::sign(key, b"posthorn key fingerprint").as_ref()),
            Self::Ed25519(pair) => fingerprint.copy_from_slice(pair.public_key().as_ref()),
        }
        fingerprint
    }

    /// The public half as `whpk_…`; `None` for a symmetric key.
    pub fn public_key(&self) -> Option<String> {
        match self {
            Self::Hmac(_) => None,
            Self::Ed25519(pair) => Some(text::encode(text::ED25519_PUBLIC, pair.public_key().as_ref())),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hmac(_) => "SigningKey::Hmac(…)",
            Self::Ed25519(_) => "SigningKey::Ed25519(…)",
        })
    }
}

/// The value of `webhook-signature`: an entry for each key, with one space between. While a key is being replaced both
/// sign, the new one first.
pub fn signature_header<'a>(keys: impl IntoIterator<Item = &'a SigningKey>, id: &str, timestamp: u64, body: &[Bytes]) -> String {
    let mut header = String::with_capacity(96);
    for key in keys {
        if !header.is_empty() {
            header.push(' ');
        }
        key.sign_into(id, timestamp, body, &mut header);
    }
    header
}

/// The number in decimal, written at the end of `room`.
fn decimal(mut number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut start = room.len();
    loop {
        start -= 1;
        room[start] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            return &room[start..];
        }
    }
}

/// A new symmetric secret, `whsec_…` with 32 random bytes.
pub fn generate_hmac() -> String {
    text::encode(text::HMAC, &*random())
}

/// A new Ed25519 key: the secret `whsk_…` (seed and public key) and the public `whpk_…`.
pub fn generate_ed25519() -> (String, String) {
    let seed = random();
    let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).expect("any 32 bytes are a seed");
    let public = pair.public_key().as_ref();
    let mut both = Zeroizing::new([0; 64]);
    both[..32].copy_from_slice(&*seed);
    both[32..].copy_from_slice(public);
    (text::encode(text::ED25519_SECRET, &*both), text::encode(text::ED25519_PUBLIC, public))
}

pub(super) fn hmac_key(bytes: &[u8]) -> Result<hmac::Key, KeyError> {
    hmac_length(bytes).map(|()| hmac::Key::new(hmac::HMAC_SHA256, bytes))
}

fn hmac_length(bytes: &[u8]) -> Result<(), KeyError> {
    if (24..=64).contains(&bytes.len()) { Ok(()) } else { Err(KeyError::HmacLength(bytes.len())) }
}

pub(super) fn key_pair(bytes: &[u8]) -> Result<Ed25519KeyPair, KeyError> {
    let pair = match bytes.len() {
        32 => Ed25519KeyPair::from_seed_unchecked(bytes),
        64 => Ed25519KeyPair::from_seed_and_public_key(&bytes[..32], &bytes[32..]),
        length => return Err(KeyError::SecretLength(length)),
    };
    pair.map_err(|_| KeyError::Mismatch)
}

fn random() -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *bytes).expect("the operating system gives random bytes");
    bytes
}
