//! Signatures against published vectors and against the standard's own library.

use bytes::Bytes;
use posthorn_domain::signing::{self, SigningKey, VerifyError, VerifyingKey, generate_hmac, signature_header, verify};
use serde_json::Value;

fn vectors() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/standard-webhooks.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the vectors")).expect("JSON")
}

fn text<'a>(vector: &'a Value, member: &str) -> &'a str {
    vector[member].as_str().unwrap_or_else(|| panic!("{member} in {vector}"))
}

fn check(key: &str, vector: &Value, header: &str) -> Result<(), VerifyError> {
    let timestamp = text(vector, "timestamp");
    let keys: [VerifyingKey; 1] = [key.parse().expect("a key")];
    let now = timestamp.parse().expect("a number");
    verify(&keys, text(vector, "id"), timestamp, header, text(vector, "body").as_bytes(), now, signing::TOLERANCE_SECONDS)
}

#[test]
fn every_vector_holds() {
    let members = ["secret_current", "secret_previous", "secret", "secret_key_seed_only"];
    let mut seen = 0;
    for vector in vectors() {
        seen += 1;
        if let Some(valid) = vector.get("expected_valid").and_then(Value::as_bool) {
            assert_eq!(check(text(&vector, "secret"), &vector, text(&vector, "header")).is_ok(), valid, "{}", vector["note"]);
            continue;
        }
        let secrets: Vec<&str> = members.iter().filter_map(|member| vector.get(member).and_then(Value::as_str)).collect();
        let keys: Vec<SigningKey> = secrets.iter().map(|secret| secret.parse().expect("a key")).collect();
        let body = [Bytes::from(text(&vector, "body").to_owned())];
        let timestamp = text(&vector, "timestamp").parse().expect("a number");
        let header = signature_header(&keys, text(&vector, "id"), timestamp, &body);
        assert_eq!(header, vector["expected"]["webhook-signature"]);
        for secret in secrets {
            assert_eq!(check(secret, &vector, &header), Ok(()));
        }
    }
    assert_eq!(seen, 8);
}

#[test]
fn both_forms_of_an_ed25519_key_are_one_key() {
    let vector = vectors().into_iter().find(|vector| vector["scheme"] == "standard-webhooks-v1a").expect("the vector");
    for form in ["secret_key_seed_only", "secret_key_seed_plus_public"] {
        let key: SigningKey = text(&vector, form).parse().expect("a key");
        assert_eq!(key.public_key().as_deref(), Some(text(&vector, "public_key")));
    }
    let expected = vector["expected"]["webhook-signature"].as_str().expect("a header");
    assert_eq!(check(text(&vector, "public_key"), &vector, expected), Ok(()));
    assert_eq!(check(text(&vector, "public_key"), &vector, &expected.replace("v1a,W", "v1a,X")), Err(VerifyError::Signature));
    assert_eq!(check(text(&vector, "public_key"), &vector, &expected.replace("v1a,", "v1,")), Err(VerifyError::Signature));
}

#[test]
fn the_standards_own_library_signs_the_same() {
    for body in ["", "{}", "{\"stasjon\":\"Bodø\"}", &"x".repeat(100_000)] {
        let secret = generate_hmac();
        let key: SigningKey = secret.parse().expect("a key");
        let theirs = standardwebhooks::Webhook::new(&secret).expect("a key").sign("msg_1", 1_767_225_600, body.as_bytes()).expect("signed");
        assert_eq!(signature_header([&key], "msg_1", 1_767_225_600, &[Bytes::from(body.to_owned())]), theirs);
    }
}
