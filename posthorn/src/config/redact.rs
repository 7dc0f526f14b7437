//! Takes secrets out of a configuration before it is shown.

use serde_json::Value;

const MASK: &str = "********";

/// Puts a mask in place of every value whose name says that it is secret.
pub(super) fn redact(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(members) => {
            for (name, member) in members {
                let known = matches!((name.as_str(), &*member), ("key", Value::String(kind)) if kind == "ed25519");
                if is_sensitive(name) && !known && !matches!(member, Value::Null | Value::Bool(_)) {
                    mask(member);
                } else {
                    redact(member);
                }
            }
        }
        _ => {}
    }
}

fn is_sensitive(name: &str) -> bool {
    let name = name.to_lowercase();
    let parts = ["secret", "password", "token", "authorization", "api-key", "api_key", "apikey", "cookie", "seed", "assertion"];
    let telling = parts.iter().any(|part| name.contains(part)) || matches!(name.as_str(), "key" | "value" | "secrets");
    telling && !name.ends_with("_url") && !name.ends_with("_file")
}

fn mask(value: &mut Value) {
    match value {
        // The section `secrets` holds no secret but `key`; a list of secrets holds nothing else.
        Value::Object(_) => redact(value),
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => *value = MASK.into(),
    }
}
