//! Signing secrets: made, kept from before, rotated.

use std::collections::BTreeMap;

use posthorn_domain::fields::{Faults, pointer};
use posthorn_domain::resource::{Auth, Key, OldSecret, Signing, SubscriptionSpec};
use posthorn_domain::secret::Secret;
use posthorn_domain::signing::{generate_ed25519, generate_hmac};
use posthorn_domain::time::Time;

/// Secrets that are shown once, by JSON pointer into the document.
pub(crate) type Shown = BTreeMap<String, Secret>;

/// What a replacement left out and is therefore kept as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keep {
    /// `signing`.
    pub(crate) signing: bool,
    /// `start`.
    pub(crate) start: bool,
    /// `status`.
    pub(crate) status: bool,
}

/// So many old secrets may sign beside the new one.
const MAX_PREVIOUS: usize = 4;

/// Makes the secrets that are still to be made.
pub(super) fn make_missing(spec: &mut SubscriptionSpec) -> Shown {
    let mut shown = Shown::new();
    for (n, signing) in spec.signing.iter_mut().enumerate() {
        if signing.secret.expose().is_empty() {
            fresh(signing);
            shown.insert(format!("/signing/{n}/secret"), signing.secret.clone());
        }
    }
    shown
}

fn fresh(signing: &mut Signing) {
    match signing.key {
        Key::HmacSha256 => signing.secret = Secret::new(generate_hmac()),
        Key::Ed25519 => {
            let (secret, public) = generate_ed25519();
            signing.secret = Secret::new(secret);
            signing.public_key = Some(public);
        }
    }
}

/// Puts the stored secrets where the document has the placeholder or leaves a secret out; `before` is what was stored.
pub(super) fn keep_stored(spec: &mut SubscriptionSpec, before: Option<&SubscriptionSpec>, faults: &mut Faults) {
    for (n, signing) in spec.signing.iter_mut().enumerate() {
        let at = pointer("/signing", n);
        let stored = before.and_then(|before| before.signing.get(n));
        keep_signing(signing, stored, &at, faults);
    }
    let stored: Vec<&Secret> =
        before.iter().flat_map(|before| &before.endpoint.auth).map(|Auth::Basic { password, .. }| password).collect();
    for (n, Auth::Basic { password, .. }) in spec.endpoint.auth.iter_mut().enumerate() {
        if password.is_placeholder() {
            match stored.get(n) {
                Some(secret) => *password = (*secret).clone(),
                None => nothing_stored(&format!("/endpoint/auth/{n}/password"), faults),
            }
        }
    }
}

fn keep_signing(signing: &mut Signing, stored: Option<&Signing>, at: &str, faults: &mut Faults) {
    let placeholder = signing.secret.is_placeholder();
    if placeholder || signing.secret.expose().is_empty() {
        match stored {
            // The placeholder says nothing of the kind of key; leaving the secret out asks for the kind that is named.
            Some(stored) if placeholder || stored.key == signing.key => {
                signing.key = stored.key;
                signing.secret = stored.secret.clone();
                signing.public_key.clone_from(&stored.public_key);
                if signing.previous.is_empty() {
                    signing.previous.clone_from(&stored.previous);
                }
            }
            _ if placeholder => nothing_stored(&pointer(at, "secret"), faults),
            _ => {}
        }
    }
    for (m, old) in signing.previous.iter_mut().enumerate() {
        if old.secret.is_placeholder() {
            match stored.and_then(|stored| stored.previous.get(m)) {
                Some(kept) => old.secret = kept.secret.clone(),
                None => nothing_stored(&format!("{at}/previous/{m}/secret"), faults),
            }
        }
    }
    if signing.previous.len() > MAX_PREVIOUS {
        faults.meaning(&pointer(at, "previous"), format!("at most {MAX_PREVIOUS} old secrets"));
    }
}

fn nothing_stored(at: &str, faults: &mut Faults) {
    faults.meaning(at, "is the placeholder for a stored secret, but none is stored here; give the secret itself");
}

/// A new secret for every entry; the old ones sign until `until`. Expired ones go.
pub(super) fn rotate(spec: &mut SubscriptionSpec, until: Time, now: Time) -> Shown {
    let mut shown = Shown::new();
    for (n, signing) in spec.signing.iter_mut().enumerate() {
        if until > now {
            signing.previous.insert(0, OldSecret { secret: signing.secret.clone(), expires_at: until });
        } else {
            signing.previous.clear();
        }
        signing.previous.truncate(MAX_PREVIOUS);
        fresh(signing);
        shown.insert(format!("/signing/{n}/secret"), signing.secret.clone());
    }
    prune(spec, now);
    shown
}

/// Drops the old secrets that have expired.
pub(super) fn prune(spec: &mut SubscriptionSpec, now: Time) {
    for signing in &mut spec.signing {
        signing.previous.retain(|old| old.expires_at > now);
    }
}
