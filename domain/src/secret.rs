//! Text that must never be shown: a newtype whose `Debug` and `Serialize` are redacted (I11).

use std::fmt;

use serde::{Serialize, Serializer};
use zeroize::Zeroize;

/// What stands for a secret in every answer. Written back, it keeps the stored one.
pub const REDACTED: &str = "********";

/// A secret text, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text. Every use is a place to look at for leaks.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether this is the placeholder that a reader was shown.
    pub fn is_placeholder(&self) -> bool {
        self.0 == REDACTED
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl utoipa::PartialSchema for Secret {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("Write-only: reads show `********`, and writing that back keeps the stored one."))
            .into()
    }
}

impl utoipa::ToSchema for Secret {}
