//! How events are gathered into one request (`endpoint.batch`, for `format: batch`).

use serde::Serialize;
use serde_json::Value;

use crate::fields::{Faults, Fields, FromJson, pointer};
use crate::units::{Dur, Size};

/// Events of one batch, at most.
pub const MAX_BATCH_EVENTS: u64 = 1000;
/// Bytes of one batch, at most.
pub const MAX_BATCH_BYTES: Size = Size::from_mib(8);
/// How long a batch may be gathered, at most.
pub const MAX_BATCH_WAIT: Dur = Dur::from_secs(60);

/// When a batch goes out: it is full by count or by bytes, or its oldest event has waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BatchLimits {
    /// Events of one request.
    pub max_events: u64,
    /// Bytes of their attributes and data together; one event is always sent.
    pub max_bytes: Size,
    /// From the time at which its oldest event was taken in.
    pub max_wait: Dur,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { max_events: 100, max_bytes: Size::from_mib(1), max_wait: Dur::from_millis(0) }
    }
}

impl FromJson for BatchLimits {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let default = Self::default();
        let mut fields = Fields::of(value, at, faults);
        let limits = Self {
            max_events: fields.or("max_events", default.max_events, faults),
            max_bytes: fields.or("max_bytes", default.max_bytes, faults),
            max_wait: fields.or("max_wait", default.max_wait, faults),
        };
        fields.done(faults);
        if !(1..=MAX_BATCH_EVENTS).contains(&limits.max_events) {
            faults.meaning(&pointer(at, "max_events"), format!("must be from 1 to {MAX_BATCH_EVENTS}"));
        }
        if !(Size::from_bytes(1)..=MAX_BATCH_BYTES).contains(&limits.max_bytes) {
            faults.meaning(&pointer(at, "max_bytes"), format!("must be from 1 byte to {MAX_BATCH_BYTES}"));
        }
        if limits.max_wait > MAX_BATCH_WAIT {
            faults.meaning(&pointer(at, "max_wait"), format!("must be at most {MAX_BATCH_WAIT}"));
        }
        Some(limits)
    }
}
