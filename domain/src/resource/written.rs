//! A subscription's filters as their owner wrote them. Kept as text: as trees they take ten times as much, and most are only shown.

use std::fmt;
use std::sync::LazyLock;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::fields::Faults;
use crate::filter::Filter;
use crate::problem::Problem;
use crate::snapshot::Document;

/// The filters' JSON. Cloning shares it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct WrittenFilters(Document);

impl WrittenFilters {
    /// The text of these.
    pub fn of(filters: &[Value]) -> Self {
        Self(Document::of(&filters))
    }

    /// The text as it stands.
    pub(super) fn as_written(text: &RawValue) -> Self {
        Self(Document::of(&text))
    }

    /// As they were written down.
    pub(super) fn kept(text: &str) -> Self {
        Self(Document::kept(text))
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Their meaning.
    ///
    /// # Errors
    /// They were checked when they were read, so a fault means that the rules changed since.
    pub fn compile(&self) -> Result<Vec<Filter>, Problem> {
        let mut faults = Faults::default();
        let filters = super::subscription::compile(&self.values(), &mut faults);
        faults.result("the filters", Some(filters))
    }

    /// One tree each.
    pub fn values(&self) -> Vec<Value> {
        match self.0.read() {
            Ok(Value::Array(filters)) => filters,
            _ => Vec::new(),
        }
    }
}

impl Default for WrittenFilters {
    fn default() -> Self {
        static NONE: LazyLock<WrittenFilters> = LazyLock::new(|| WrittenFilters::of(&[]));
        NONE.clone()
    }
}

impl fmt::Debug for WrittenFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}
