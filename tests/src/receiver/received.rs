//! One recorded request, and what can be asked of it.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cloudevents::{AttributesReader, Event};
use http::HeaderMap;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The method.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// The query without `?`, empty when there was none.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// When the last byte had arrived.
    pub at: Instant,
    /// Which connection it came over, counted from 0.
    pub connection: u64,
}

impl Received {
    /// A header's value, empty when it is missing or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// `webhook-id`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// Checks the Standard Webhooks signature (`v1`) with the reference library. The body must be text for it.
    ///
    /// # Errors
    /// When a header is missing, the time is off by more than 5 minutes, or the signature does not fit.
    pub fn verify(&self, secret: &str) -> Result<()> {
        let webhook = standardwebhooks::Webhook::new(secret).context("the secret")?;
        webhook.verify(&self.body, &self.headers).context("the signature")
    }

    /// Reads the CloudEvent (binary or structured) with the CloudEvents SDK. Note that the SDK leaves percent-encoded
    /// header values as they are.
    ///
    /// # Errors
    /// When it is none.
    pub fn event(&self) -> Result<Event> {
        cloudevents::binding::http::to_event(&self.headers, self.body.to_vec()).context("not a CloudEvent")
    }

    /// Reads a batch with the CloudEvents SDK.
    ///
    /// # Errors
    /// When the content type or an event is wrong.
    pub fn batch(&self) -> Result<Vec<Event>> {
        let kind = self.header("content-type");
        ensure!(kind.starts_with("application/cloudevents-batch+json"), "content type {kind}");
        serde_json::from_slice(&self.body).context("not a batch")
    }

    /// The `id` of the CloudEvent.
    ///
    /// # Errors
    /// As [`Received::event`].
    pub fn event_id(&self) -> Result<String> {
        Ok(self.event()?.id().to_owned())
    }
}

/// A fresh Standard Webhooks secret (`whsec_`, 24 bytes).
///
/// # Errors
/// When the system has no randomness.
pub fn new_secret() -> Result<String> {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).ok().context("no randomness")?;
    Ok(format!("whsec_{}", STANDARD.encode(bytes)))
}
