//! Regular expressions of filters: RE2's syntax and meaning as far as the `regex` crate has it, found anywhere in the text.
//! Matching is linear, and its price is known before: a pattern of many states may look at each byte many times.

use regex::{Regex, RegexBuilder};

use super::steps::{Spent, Steps};

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 1 << 10;
/// What a compiled pattern may take, smallest first; the one that fits tells its price.
const SIZES: [usize; 4] = [4 << 10, 16 << 10, 64 << 10, 256 << 10];
/// Compiled bytes that cost a step for each byte of text, as if every pattern were a hostile one.
const BYTES_A_STEP: usize = 4 << 10;
/// Deepest nesting of groups.
const MAX_NESTING: u32 = 32;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Regexp {
    regex: Regex,
    weight: usize,
}

impl Regexp {
    /// Compiles; else says why not.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MAX_PATTERN {
            return Err(format!("a regular expression has at most {MAX_PATTERN} bytes"));
        }
        let ascii = ascii_classes(pattern);
        for size in SIZES {
            match RegexBuilder::new(&ascii).size_limit(size).dfa_size_limit(SIZES[3]).nest_limit(MAX_NESTING).build() {
                Ok(regex) => return Ok(Self { regex, weight: size / BYTES_A_STEP }),
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(error) => return Err(format!("not a regular expression: {}", reason(&error))),
            }
        }
        Err(format!("the regular expression takes more than {} KiB when compiled", SIZES[3] >> 10))
    }

    /// Whether it is found in the text.
    pub(super) fn is_match(&self, text: &str, steps: &mut Steps) -> Result<bool, Spent> {
        steps.take(1 + text.len().saturating_mul(self.weight))?;
        Ok(self.regex.is_match(text))
    }
}

/// The last line of the error says what is wrong; the lines before draw it.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// In RE2 `\w \d \s \b` are about ASCII, in the regex crate about Unicode, which also takes much more memory.
fn ascii_classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => out.push_str(r"[\t\n\f\r ]"),
                Some('S') => out.push_str(r"[^\t\n\f\r ]"),
                Some('b') if !in_class => out.push_str(r"(?-u:\b)"),
                Some('z') => out.push_str(r"\z"),
                escaped => {
                    out.push('\\');
                    out.extend(escaped);
                }
            },
            '[' if in_class && !chars.as_str().starts_with(':') => out.push_str(r"\["),
            '[' if in_class => {
                // A POSIX class: `[:alpha:]`.
                out.push('[');
                for inner in chars.by_ref() {
                    out.push(inner);
                    if inner == ']' {
                        break;
                    }
                }
            }
            '[' => {
                in_class = true;
                out.push('[');
                if chars.as_str().starts_with('^') {
                    out.extend(chars.next());
                }
                if chars.as_str().starts_with(']') {
                    chars.next();
                    out.push_str(r"\]");
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            // Set operations are the regex crate's own; RE2 takes these characters as they are.
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(char);
            }
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &str) -> bool {
        Regexp::new(pattern).expect("valid").is_match(text, &mut Steps::new(0)).expect("short")
    }

    #[test]
    fn patterns_mean_what_re2_says() {
        for (pattern, text, wanted) in [
            ("b+", "abba", true),
            ("^b+$", "abba", false),
            (r"^\d+$", "123", true),
            (r"^\d+$", "١٢٣", false),
            (r"^[\w-]+$", "a-b_9", true),
            (r"^\w+$", "é", false),
            (r"\bcat\b", "a cat", true),
            ("^[[:alpha:]]+$", "ab", true),
            ("[]a]", "]", true),
            ("^[[a]$", "[", true),
            ("^[a&&b]+$", "&", true),
            (r"\\d", r"\d", true),
            ("(?i)ABC", "abc", true),
            (r"\pL", "é", true),
        ] {
            assert_eq!(found(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn hostile_patterns_are_refused_or_run_out_of_steps() {
        for pattern in ["(", r"(a)\1", "(?=a)", "a{1000}{1000}", "((((a{9}){9}){9}){9}){9}", &"(".repeat(500), &"a".repeat(2000)] {
            assert!(Regexp::new(pattern).is_err(), "{pattern}");
        }
        let heavy = Regexp::new("[ab]*a[ab]{300}c").expect("fits");
        assert_eq!(heavy.is_match(&"a".repeat(1 << 22), &mut Steps::new(0)), Err(Spent));
    }
}
