use bytes::Bytes;

use super::*;

const HMAC: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
const SEED: &str = "whsk_J40BUySb5HSSMVAD5xVQJaLStqjw2r73uU3lwu3iD/M=";

fn key(text: &str) -> SigningKey {
    text.parse().expect("a key")
}

#[test]
fn a_body_in_pieces_signs_as_the_whole() {
    let pieces = [Bytes::from_static(b"{\"a\""), Bytes::new(), Bytes::from_static(b":1}")];
    let whole = [Bytes::from_static(b"{\"a\":1}")];
    for text in [HMAC, SEED] {
        assert_eq!(signature_header([&key(text)], "m", 7, &pieces), signature_header([&key(text)], "m", 7, &whole));
    }
    assert_eq!(signature_header([], "m", 7, &whole), "");
}

#[test]
fn new_keys_work_and_differ() {
    let (secret, public) = generate_ed25519();
    assert_eq!(key(&secret).public_key(), Some(public.clone()));
    assert_eq!(key(&generate_hmac()).public_key(), None);
    assert_ne!(generate_hmac(), generate_hmac());
    assert_ne!(generate_ed25519(), (secret.clone(), public.clone()));
    let header = signature_header([&key(&secret)], "m", 1000, &[Bytes::from_static(b"x")]);
    for text in [&public, &secret] {
        assert_eq!(verify(&[text.parse().expect("a key")], "m", "1000", &header, b"x", 1000, 0), Ok(()));
    }
}

#[test]
fn what_is_no_key_is_said_without_the_key() {
    let cases = [
        ("", KeyError::Prefix("`whsec_` or `whsk_`")),
        ("AQIDBAUGBwgJCgsMDQ4PEBES", KeyError::Prefix("`whsec_` or `whsk_`")),
        ("whpk_PuHZtvLobVYaDkIlNTi7dIP0UCowZfPf2XO4hhh3hdw=", KeyError::Prefix("`whsec_` or `whsk_`")),
        ("whsec_!!!!", KeyError::Base64),
        ("whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA", KeyError::Base64),
        ("whsec_AQIDBAUG", KeyError::HmacLength(6)),
        ("whsk_AQIDBAUG", KeyError::SecretLength(6)),
    ];
    for (text, error) in cases {
        let refused = text.parse::<SigningKey>().expect_err(text);
        assert_eq!(refused, error, "{text}");
        assert!(!refused.to_string().contains("AQID"));
    }
    let mixed = format!("whsk_{}", super::text::encode("", &[7; 64]));
    assert_eq!(mixed.parse::<SigningKey>().expect_err("halves"), KeyError::Mismatch);
    assert_eq!("whpk_AQID".parse::<VerifyingKey>().expect_err("short"), KeyError::PublicLength(3));
    for length in [23, 24, 64, 65] {
        let parsed = super::text::encode("whsec_", &vec![1; length]).parse::<SigningKey>();
        assert_eq!(parsed.is_ok(), (24..=64).contains(&length), "{length}");
    }
}

#[test]
fn keys_do_not_show() {
    let shown = format!("{:?} {:?} {:?}", key(HMAC), key(SEED), HMAC.parse::<VerifyingKey>());
    assert_eq!(shown, "SigningKey::Hmac(…) SigningKey::Ed25519(…) Ok(VerifyingKey::Hmac(…))");
}

#[test]
fn time_is_tolerated_both_ways() {
    let keys = [HMAC.parse().expect("a key")];
    let header = signature_header([&key(HMAC)], "m", 10_000, &[]);
    for (now, expected) in [
        (10_300, Ok(())),
        (9_700, Ok(())),
        (10_301, Err(VerifyError::TooOld)),
        (9_699, Err(VerifyError::TooNew)),
        (u64::MAX, Err(VerifyError::TooOld)),
    ] {
        assert_eq!(verify(&keys, "m", "10000", &header, b"", now, TOLERANCE_SECONDS), expected, "{now}");
    }
    for timestamp in ["", "+10000", "-1", "1e4", "10000.0", " 10000", "99999999999999999999999"] {
        assert_eq!(verify(&keys, "m", timestamp, &header, b"", 10_000, 300), Err(VerifyError::Timestamp), "{timestamp}");
    }
    // The text counts, not the number.
    assert_eq!(verify(&keys, "m", "010000", &header, b"", 10_000, 300), Err(VerifyError::Signature));
    assert_eq!(verify(&[], "m", "10000", &header, b"", 10_000, 300), Err(VerifyError::Signature));
}
