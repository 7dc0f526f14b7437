//! Topic patterns: names with `*` for one dot-separated segment and `**` for any number of them, also none (interfaces §12).

use std::fmt;
use std::str::FromStr;

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
        let pattern: Vec<&str> = self.text.split('.').collect();
        let name: Vec<&str> = topic.split('.').collect();
        fits(&pattern, &name)
    }

    /// The topic that it names, when it is no pattern.
    pub fn as_exact(&self) -> Option<&str> {
        (!self.wild).then_some(self.text.as_str())
    }
}

/// Greedy matching with one step back to the last `**`, as for globs: linear in pattern times name.
fn fits(pattern: &[&str], name: &[&str]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(&"**") => {
                back = Some((p, n));
                p += 1;
            }
            Some(segment) if *segment == "*" || *segment == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    p = star + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|segment| *segment == "**")
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
        }
        for text in ["", "a b", "*x y", ".*.x/"] {
            assert!(text.parse::<TopicPattern>().is_err(), "{text}");
        }
    }
}
