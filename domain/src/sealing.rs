//! Encryption of secrets at rest (I11): AES-256-GCM (NIST SP 800-38D) under one key of the installation.
//!
//! ```text
//! sealed = version u8 (1) · key id (first 4 bytes of SHA-256 of the key) · nonce (12, random) · ciphertext · tag (16)
//! ```

use std::fmt;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const ID_LEN: usize = 4;
const HEADER: usize = 1 + ID_LEN + NONCE_LEN;
const KEY_LEN: usize = 32;

/// The key that seals and opens. `Debug` shows its id only.
pub struct SealingKey {
    bytes: Zeroizing<[u8; KEY_LEN]>,
    cipher: LessSafeKey,
    id: [u8; ID_LEN],
}

/// Why a key was not taken, or something was not sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealingError {
    /// The text is neither base64 nor hex of 32 bytes.
    #[error("the sealing key must be 32 bytes as hex (64 digits) or base64; make one with `openssl rand -base64 32`")]
    KeyText,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random,
    /// Too short to be sealed, or written by a newer version.
    #[error("the stored value is not a sealed one, or a newer version wrote it")]
    Format,
    /// Sealed with another key.
    #[error("the value was sealed with key {found}, this node has key {ours}: give the key that sealed it")]
    OtherKey {
        /// The id of the key that sealed, in hex.
        found: String,
        /// The id of this key, in hex.
        ours: String,
    },
    /// Changed since it was sealed, or moved to another place.
    #[error("the sealed value is damaged or does not belong where it was found")]
    Damaged,
}

impl SealingKey {
    /// From its 32 bytes; the caller's copy is wiped when it drops.
    pub fn from_bytes(bytes: Zeroizing<[u8; KEY_LEN]>) -> Self {
        let unbound = UnboundKey::new(&AES_256_GCM, &bytes[..]).expect("the length is that of AES-256");
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes[..]);
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&digest.as_ref()[..ID_LEN]);
        Self { cipher: LessSafeKey::new(unbound), bytes, id }
    }

    /// A new random key.
    pub fn generate() -> Result<Self, SealingError> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        SystemRandom::new().fill(&mut bytes[..]).map_err(|_| SealingError::Random)?;
        Ok(Self::from_bytes(bytes))
    }

    /// From text, as an environment variable or a key file has it: hex or base64 (either alphabet, padded or not).
    pub fn from_text(text: &str) -> Result<Self, SealingError> {
        let text = text.trim();
        let decoded = Zeroizing::new(decode_hex(text).or_else(|| decode_base64(text)).ok_or(SealingError::KeyText)?);
        let bytes: [u8; KEY_LEN] = decoded.as_slice().try_into().map_err(|_| SealingError::KeyText)?;
        Ok(Self::from_bytes(Zeroizing::new(bytes)))
    }

    /// The key as base64, for the file that keeps it; wiped when it drops.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64_STANDARD.encode(&self.bytes[..]))
    }

    /// The key's id in hex; no secret.
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// Seals `plain`. `place` (the row's key, say) must be the same when it is opened, so that values cannot be swapped.
    pub fn seal(&self, plain: &[u8], place: &[u8]) -> Result<Vec<u8>, SealingError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealingError::Random)?;
        let mut out = Vec::with_capacity(HEADER + plain.len() + AES_256_GCM.tag_len());
        out.push(VERSION);
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.cipher.seal_in_place_separate_tag(nonce, Aad::from(place), &mut out[HEADER..]).map_err(|_| SealingError::Format)?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Opens what [`SealingKey::seal`] made for the same `place`; the plain bytes are wiped when they drop.
    pub fn open(&self, sealed: &[u8], place: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        let (header, body) = sealed.split_at_checked(HEADER).ok_or(SealingError::Format)?;
        if header[0] != VERSION || body.len() < AES_256_GCM.tag_len() {
            return Err(SealingError::Format);
        }
        let (found, nonce) = header[1..].split_at(ID_LEN);
        if found != self.id {
            return Err(SealingError::OtherKey { found: hex(found), ours: self.id() });
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealingError::Format)?;
        let mut buffer = Zeroizing::new(body.to_vec());
        let plain = self.cipher.open_in_place(nonce, Aad::from(place), &mut buffer).map_err(|_| SealingError::Damaged)?.len();
        buffer.truncate(plain);
        Ok(buffer)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 2 * KEY_LEN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    [BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD].iter().find_map(|engine| engine.decode(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_values_open_only_unchanged_and_in_their_place() {
        let key = SealingKey::generate().unwrap();
        let sealed = key.seal(b"whsec", b"sub_1/secret").unwrap();
        assert_eq!(sealed.len(), HEADER + 5 + 16);
        assert_eq!(&key.open(&sealed, b"sub_1/secret").unwrap()[..], b"whsec");
        assert_eq!(key.open(&sealed, b"sub_2/secret").err(), Some(SealingError::Damaged));
        assert_ne!(key.seal(b"whsec", b"sub_1/secret").unwrap(), sealed, "a fresh nonce each time");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&changed, b"sub_1/secret").is_err(), "{at}");
            assert!(key.open(&sealed[..at], b"sub_1/secret").is_err(), "{at}");
        }
    }

    #[test]
    fn another_key_is_named() {
        let (one, two) = (SealingKey::generate().unwrap(), SealingKey::generate().unwrap());
        let sealed = one.seal(b"", b"").unwrap();
        assert_eq!(two.open(&sealed, b"").err(), Some(SealingError::OtherKey { found: one.id(), ours: two.id() }));
    }

    #[test]
    fn text_forms_are_read_and_never_shown() {
        let bytes = [0xfb; KEY_LEN];
        for text in [hex(&bytes), BASE64_STANDARD.encode(bytes), BASE64_URL_SAFE_NO_PAD.encode(bytes) + "\n"] {
            let key = SealingKey::from_text(&text).unwrap();
            assert_eq!(*key.bytes, bytes);
            assert!(!format!("{key:?}").contains(text.trim()));
        }
        for text in ["", "abc", "zz", &hex(&bytes[1..]), &BASE64_STANDARD.encode([0; 31])] {
            assert_eq!(SealingKey::from_text(text).err(), Some(SealingError::KeyText), "{text}");
        }
    }
}
