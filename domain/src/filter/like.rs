//! Patterns of CESQL's `LIKE` (§3.4.3): `%` is any text, `_` one character, `\%` and `\_` are themselves.

use memchr::memmem::Finder;

use super::steps::{Spent, Steps};

/// A pattern, split at its `%`. The first piece stands at the start of the text, the last at its end.
#[derive(Clone, Debug)]
pub(super) struct LikePattern {
    first: Piece,
    /// Pieces after the first `%`; empty when the pattern has none.
    rest: Vec<Piece>,
}

/// What stands between two `%`.
#[derive(Clone, Debug, Default)]
struct Piece {
    parts: Vec<Part>,
    /// Finds the first text.
    finder: Option<Finder<'static>>,
    /// Steps of trying the piece at one place.
    weight: usize,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Box<str>),
    /// So many characters.
    Any(usize),
}

impl LikePattern {
    pub(super) fn new(pattern: &str) -> Self {
        let mut pieces = vec![Piece::default()];
        let mut chars = pattern.chars();
        let mut text = String::new();
        while let Some(char) = chars.next() {
            let piece = pieces.last_mut().expect("there is always one");
            match char {
                '%' => {
                    piece.close(&mut text);
                    pieces.push(Piece::default());
                }
                '_' => {
                    piece.close(&mut text);
                    piece.any();
                }
                '\\' if chars.as_str().starts_with(['%', '_']) => text.extend(chars.next()),
                char => text.push(char),
            }
        }
        pieces.last_mut().expect("there is always one").close(&mut text);
        pieces.iter_mut().for_each(Piece::prepare);
        let rest = pieces.split_off(1);
        Self { first: pieces.remove(0), rest }
    }

    /// Whether the whole text fits.
    pub(super) fn matches(&self, text: &str, steps: &mut Steps) -> Result<bool, Spent> {
        steps.take_bytes(text.len())?;
        let Some(left) = self.first.strip(text) else { return Ok(false) };
        let Some((last, middle)) = self.rest.split_last() else { return Ok(left.is_empty()) };
        let mut left = left;
        for piece in middle {
            match piece.find(left, steps)? {
                Some(after) => left = after,
                None => return Ok(false),
            }
        }
        Ok(last.ends(left))
    }

    /// The text with which all that fits starts; with `true` when nothing but that fits.
    pub(super) fn literal_start(&self) -> (&str, bool) {
        match self.first.parts.as_slice() {
            [] => ("", self.rest.is_empty()),
            [Part::Text(text)] => (text, self.rest.is_empty()),
            [Part::Text(text), ..] => (text, false),
            [Part::Any(_), ..] => ("", false),
        }
    }

    /// The text with which all that fits ends, where a `%` leaves the start open.
    pub(super) fn literal_end(&self) -> &str {
        match self.rest.last().and_then(|piece| piece.parts.last()) {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }
}

impl Piece {
    fn close(&mut self, text: &mut String) {
        if !text.is_empty() {
            self.parts.push(Part::Text(std::mem::take(text).into()));
        }
    }

    fn any(&mut self) {
        match self.parts.last_mut() {
            Some(Part::Any(count)) => *count += 1,
            _ => self.parts.push(Part::Any(1)),
        }
    }

    fn prepare(&mut self) {
        self.weight = self.parts.iter().map(Part::weight).sum();
        self.finder = self.parts.iter().find_map(|part| match part {
            Part::Text(text) => Some(Finder::new(text.as_bytes()).into_owned()),
            Part::Any(_) => None,
        });
    }

    /// What follows the piece at the start of the text.
    fn strip<'t>(&self, text: &'t str) -> Option<&'t str> {
        strip(&self.parts, text)
    }

    /// What follows the first place where the piece fits.
    fn find<'t>(&self, text: &'t str, steps: &mut Steps) -> Result<Option<&'t str>, Spent> {
        // What any characters start with has room wherever there are enough of them.
        let (text, parts) = match self.parts.split_first() {
            Some((Part::Any(count), parts)) => match skip(text, *count) {
                Some(text) => (text, parts),
                None => return Ok(None),
            },
            _ => (text, self.parts.as_slice()),
        };
        let (Some(finder), false) = (&self.finder, parts.is_empty()) else { return Ok(Some(text)) };
        let mut from = text;
        while let Some(at) = finder.find(from.as_bytes()) {
            steps.take(self.weight)?;
            if let Some(after) = strip(parts, &from[at..]) {
                return Ok(Some(after));
            }
            let Some(next) = skip(&from[at..], 1) else { break };
            from = next;
        }
        Ok(None)
    }

    /// Whether the text ends so. A piece takes a fixed number of characters.
    fn ends(&self, text: &str) -> bool {
        if let [Part::Text(wanted)] = self.parts.as_slice() {
            return text.ends_with(&**wanted);
        }
        let length: usize = self.parts.iter().map(Part::chars).sum();
        let Some(back) = length.checked_sub(1) else { return true };
        let start = text.char_indices().rev().nth(back).map(|(at, _)| at);
        start.and_then(|at| self.strip(&text[at..])).is_some_and(str::is_empty)
    }
}

fn strip<'t>(parts: &[Part], text: &'t str) -> Option<&'t str> {
    parts.iter().try_fold(text, |text, part| match part {
        Part::Text(wanted) => text.strip_prefix(&**wanted),
        Part::Any(count) => skip(text, *count),
    })
}

impl Part {
    fn weight(&self) -> usize {
        match self {
            Self::Text(text) => 1 + text.len() / 64,
            Self::Any(count) => 1 + count / 4,
        }
    }

    fn chars(&self) -> usize {
        match self {
            Self::Text(text) => text.chars().count(),
            Self::Any(count) => *count,
        }
    }
}

/// The text without its first characters.
fn skip(text: &str, count: usize) -> Option<&str> {
    if count == 0 {
        return Some(text);
    }
    let (at, char) = text.char_indices().nth(count - 1)?;
    Some(&text[at + char.len_utf8()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        LikePattern::new(pattern).matches(text, &mut Steps::new(0)).expect("short")
    }

    #[test]
    fn patterns_of_every_shape() {
        for (pattern, text, wanted) in [
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("%%", "é", true),
            ("_", "é", true),
            ("_", "ab", false),
            ("a%", "ba", false),
            ("%a", "ba", true),
            ("%a_", "xaab", true),
            ("%_a", "a", false),
            ("a%b", "ab", true),
            ("ab%bc", "abc", false),
            ("%b_d%", "abcde", true),
            ("%__%", "é", false),
            (r"a\b", r"a\b", true),
            (r"\\%", r"\%", true),
            (r"\\%", r"\x", false),
            (r"50\%", "50%", true),
            (r"a\", r"a\", true),
        ] {
            assert_eq!(fits(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_runs_out_of_steps() {
        let pattern = LikePattern::new(&format!("%{}b%", "a_".repeat(2000)));
        assert_eq!(pattern.matches(&"a".repeat(1 << 20), &mut Steps::new(0)), Err(Spent));
        assert!(fits(&format!("%{}%", "a%".repeat(2000)), &"a".repeat(1 << 16)));
    }
}
