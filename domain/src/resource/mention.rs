//! Looking for a string in the shortened JSON of many subscriptions.

use memchr::memmem::Finder;
use serde_json::Value;

use super::words;

/// A string that is looked for.
pub struct Mention {
    /// As JSON has it, quotes included.
    said: Finder<'static>,
    /// Its end, as far as no word can have swallowed it: all but few are passed over by it, and only those few are expanded.
    end: Finder<'static>,
}

impl Mention {
    /// Of this string.
    pub fn of(text: &str) -> Self {
        let said = Value::from(text).to_string();
        let inner = &said[1..said.len() - 1];
        // A word that begins in a string does so with a quote, and has none but the first of these before the string's end, as another quote
        // would be escaped; one that ends in a string, with its beginning, ends with one of the last two.
        let end = inner.rsplit(['"', '}', ']', '{', '[', ',', ':', '/', '_']).next().unwrap_or_default();
        Self { said: Finder::new(said.as_bytes()).into_owned(), end: Finder::new(end.as_bytes()).into_owned() }
    }

    pub(super) fn is_in(&self, short: &[u8]) -> bool {
        self.end.find(short).is_some() && self.said.find(&words::expand(short)).is_some()
    }
}
