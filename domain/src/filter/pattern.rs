//! Topic patterns: names with `*` for one dot-separated segment and `**` for any number of them, also none (interfaces §12).

use std::fmt;
use std::str::{FromStr, Split};

/// A pattern over topic names.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TopicPattern {
    text: String,
    wild: bool,
}

/// Text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a topic or pattern: segments of letters, digits, `_` and `-` (or `*`, `**`) separated by dots, at most 200 bytes")]
pub struct InvalidPattern(String);

impl TopicPattern {
    /// Whether the topic's name fits.
    pub fn matches(&self, topic: &str) -> bool {
        if !self.wild {
            return self.text == topic;
        }
        fits(self.text.split('.'), topic.split('.'))
    }

    /// The topic that it names, when it is no pattern.
    pub fn as_exact(&self) -> Option<&str> {
        (!self.wild).then_some(self.text.as_str())
    }

    /// How every topic begins that fits.
    pub(super) fn literal_start(&self) -> &str {
        let mut length = 0;
        for segment in self.text.split('.') {
            match segment {
                "*" => break,
                // It may stand for no segment at all, and then the dot before it is missing too.
                "**" => return &self.text[..length.max(1) - 1],
                _ => length += segment.len() + 1,
            }
        }
        &self.text[..length.min(self.text.len())]
    }
}

/// Greedy matching with one step back to the last `**`, as for globs: linear in pattern times name.
fn fits(mut pattern: Split<'_, char>, mut name: Split<'_, char>) -> bool {
    let mut back: Option<(Split<'_, char>, Split<'_, char>)> = None;
    loop {
        let (mut after, mut rest) = (pattern.clone(), name.clone());
        let Some(segment) = rest.next() else { break };
        match after.next() {
            Some("**") => {
                back = Some((after.clone(), name.clone()));
                pattern = after;
            }
            Some(wanted) if wanted == "*" || wanted == segment => (pattern, name) = (after, rest),
            _ => {
                let Some((star, from)) = &mut back else { return false };
                // The last `**` takes one segment more.
                from.next();
                (pattern, name) = (star.clone(), from.clone());
            }
        }
    }
    pattern.all(|segment| segment == "**")
}

impl FromStr for TopicPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let wild = text.split('.').any(|segment| segment == "*" || segment == "**");
        let valid = if wild {
            text.len() <= 200
                && text.split('.').all(|segment| {
                    segment == "*" || segment == "**" || segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
                })
        } else {
            crate::names::Name::is_valid(text)
        };
        if valid { Ok(Self { text: text.to_owned(), wild }) } else { Err(InvalidPattern(text.chars().take(220).collect())) }
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_matched_whole() {
        for (pattern, topic, fits) in [
            ("orders", "orders", true),
            ("orders", "orders.eu", false),
            ("orders.*", "orders.eu", true),
            ("orders.*", "orders", false),
            ("orders.*", "orders.eu.no", false),
            ("orders.**", "orders", true),
            ("orders.**", "orders.eu.no", true),
            ("**", "anything.at.all", true),
            ("**.created", "a.b.created", true),
            ("a.**.b.**.c", "a.x.b.b.y.c", true),
            ("a.**.b.**.c", "a.x.b.y.d", false),
        ] {
            let parsed: TopicPattern = pattern.parse().expect("valid");
            assert_eq!(parsed.matches(topic), fits, "{pattern} {topic}");
            assert!(!fits || topic.starts_with(parsed.literal_start()), "{pattern} {topic}");
        }
        for (pattern, start) in [("a.b", "a.b"), ("a.*.b", "a."), ("a.**", "a"), ("a.b.**.c", "a.b"), ("*.a", ""), ("**", ""), ("*", "")] {
            assert_eq!(pattern.parse::<TopicPattern>().expect("valid").literal_start(), start, "{pattern}");
        }
        for text in ["", "a b", "*x y", ".*.x/"] {
            assert!(text.parse::<TopicPattern>().is_err(), "{text}");
        }
    }
}
