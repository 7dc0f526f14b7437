//! The mark that every event carries: which run it belongs to, its number there, and when it was due. It stands in the event's
//! id, or anywhere in a body, so that it survives any gateway.
//!
//! ```text
//! ld.{run}.{number}.{microseconds since 1970}.     run and number count from 0; the last dot ends it
//! ```

use memchr::memmem::Finder;

const START: &str = "ld.";

/// One event's mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The run of the generator.
    pub run: u32,
    /// The number of the event in the run.
    pub number: u64,
    /// When it was due, in microseconds since 1970.
    pub due: u64,
}

impl Mark {
    /// The mark at the start of `text`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.strip_prefix(START.as_bytes())?.splitn(4, |byte| *byte == b'.');
        let mut next = || number(parts.next()?);
        let mark = Self { run: u32::try_from(next()?).ok()?, number: next()?, due: next()? };
        parts.next().map(|_| mark)
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{START}{}.{}.{}.", self.run, self.number, self.due)
    }
}

/// Finds marks in bodies.
#[derive(Debug)]
pub struct Marks(Finder<'static>);

impl Default for Marks {
    fn default() -> Self {
        Self(Finder::new(START))
    }
}

impl Marks {
    /// All marks in a body. One that stands in it several times is given as often.
    pub fn all<'a>(&'a self, body: &'a [u8]) -> impl Iterator<Item = Mark> + 'a {
        self.0.find_iter(body).filter_map(|at| Mark::parse(&body[at..]))
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_from_an_id_and_from_a_body() {
        let mark = Mark { run: 3, number: 12_345, due: 1_764_039_412_345_678 };
        assert_eq!(mark.to_string(), "ld.3.12345.1764039412345678.");
        assert_eq!(Mark::parse(mark.to_string().as_bytes()), Some(mark));
        let other = Mark { number: 1, ..mark };
        let body = format!("[{{\"id\":\"{mark}\"}},{{\"id\":\"{other}\",\"text\":\"ld. is no mark\"}}]");
        assert_eq!(Marks::default().all(body.as_bytes()).collect::<Vec<_>>(), [mark, other]);
    }

    #[test]
    fn what_only_looks_like_a_mark_is_none() {
        for text in ["", "ld.", "ld.1.2", "ld.1.2.3", "ld..2.3.", "ld.1.x.3.", "xld.1.2.3.", "ld.99999999999.2.3.", "ld.1.-2.3."] {
            assert_eq!(Mark::parse(text.as_bytes()), None, "{text}");
        }
    }
}
