//! Regular expressions of schemas: whether a text fits, and whether all texts of one fit another.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};

use regex::Regex;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::util::{primitives::StateID, syntax};
use regex_automata::{Anchored, Input};

/// Bytes that one expression may take while it is compiled and when it is.
const MAX_BYTES: usize = 256 << 10;
/// Pairs of states that are looked at before it is given up.
const MAX_STATES: usize = 50_000;
/// Every text, so that the search keeps to UTF-8.
const TEXT: &str = r"\A(?s:.)*\z";

/// Compiled expressions, kept for one comparison.
#[derive(Default)]
pub(super) struct Patterns(RefCell<HashMap<String, Option<Regex>>>);

/// Whether the texts of some expressions all fit another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Within {
    Yes,
    /// This one does not.
    Not(String),
    Unknown,
}

impl Patterns {
    /// Whether the text fits, as a validator sees it.
    pub(super) fn fits(&self, pattern: &str, text: &str) -> bool {
        let mut known = self.0.borrow_mut();
        if !known.contains_key(pattern) {
            known.insert(pattern.to_owned(), compiled(pattern));
        }
        known.get(pattern).and_then(Option::as_ref).is_some_and(|regex| regex.is_match(text))
    }
}

fn compiled(pattern: &str) -> Option<Regex> {
    let translated = jsonschema_regex::to_rust_regex(pattern).ok()?;
    regex::RegexBuilder::new(&translated).size_limit(MAX_BYTES).build().ok()
}

/// A text of exactly these lengths, as an expression. `None` when that would be too large.
pub(super) fn of_length(min: u64, max: Option<u64>) -> Option<String> {
    const LONGEST: u64 = 128;
    if min > LONGEST || max.is_some_and(|max| max > LONGEST) {
        return None;
    }
    let max = max.map(|max| max.to_string()).unwrap_or_default();
    Some(format!(r"^[\s\S]{{{min},{max}}}$"))
}

/// Whether every text that fits all of `narrow` fits `wide` too.
pub(super) fn within(narrow: &[&str], wide: &str) -> Within {
    search(narrow, wide).unwrap_or(Within::Unknown)
}

fn search(narrow: &[&str], wide: &str) -> Option<Within> {
    let mut automata: Vec<dense::DFA<Vec<u32>>> = vec![automaton(TEXT)?];
    for pattern in narrow.iter().copied().chain([wide]) {
        automata.push(automaton(&jsonschema_regex::to_rust_regex(pattern).ok()?)?);
    }
    let input = Input::new("").anchored(Anchored::No);
    let start = automata.iter().map(|dfa| dfa.start_state_forward(&input).ok()).collect::<Option<Vec<StateID>>>()?;
    let mut seen = HashSet::from([start.clone()]);
    let mut reached: Vec<(Vec<StateID>, usize, u8)> = vec![(start, usize::MAX, 0)];
    let mut pending = VecDeque::from([0]);
    while let Some(at) = pending.pop_front() {
        let states = reached[at].0.clone();
        if ends(&automata, &states) {
            return Some(Within::Not(text(&reached, at)?));
        }
        if seen.len() > MAX_STATES {
            return None;
        }
        for byte in bytes(&automata) {
            let next: Vec<StateID> = automata.iter().zip(&states).map(|(dfa, state)| dfa.next_state(*state, byte)).collect();
            if automata.iter().zip(&next).any(|(dfa, state)| dfa.is_quit_state(*state)) {
                return None;
            }
            // All but the last must still be able to match.
            let lost = automata.iter().zip(&next).rev().skip(1).any(|(dfa, state)| dfa.is_dead_state(*state));
            if !lost && seen.insert(next.clone()) {
                reached.push((next, at, byte));
                pending.push_back(reached.len() - 1);
            }
        }
    }
    Some(Within::Yes)
}

fn automaton(pattern: &str) -> Option<dense::DFA<Vec<u32>>> {
    let config = dense::Config::new()
        .start_kind(StartKind::Unanchored)
        .dfa_size_limit(Some(MAX_BYTES))
        .determinize_size_limit(Some(4 * MAX_BYTES))
        // A state that has matched stays so only when the search does not stop at the first match.
        .match_kind(regex_automata::MatchKind::All);
    // Matching is by bytes of UTF-8; everything after the match is free, which `(?s:.*)` says.
    let whole = format!(r"(?s-u:.)*?(?:{pattern})(?s-u:.)*\z");
    let whole = if pattern == TEXT { TEXT.to_owned() } else { whole };
    let anchored = format!(r"\A(?:{whole})");
    dense::Builder::new().syntax(syntax::Config::new().utf8(false)).configure(config).build(&anchored).ok()
}

/// Whether the text may end here, fitting all but the last.
fn ends(automata: &[dense::DFA<Vec<u32>>], states: &[StateID]) -> bool {
    let matched: Vec<bool> = automata.iter().zip(states).map(|(dfa, state)| dfa.is_match_state(dfa.next_eoi_state(*state))).collect();
    matched.split_last().is_some_and(|(wide, narrow)| !wide && narrow.iter().all(|fits| *fits))
}

/// One byte of each kind that some automaton tells apart; plain letters first, so that found texts are readable.
fn bytes(automata: &[dense::DFA<Vec<u32>>]) -> Vec<u8> {
    let order = (b'a'..=b'z').chain(b'0'..=b'9').chain(b'A'..=b'Z').chain(0..=255);
    let mut kinds = HashSet::new();
    order.filter(|byte| kinds.insert(automata.iter().map(|dfa| dfa.byte_classes().get(*byte)).collect::<Vec<u8>>())).collect()
}

fn text(reached: &[(Vec<StateID>, usize, u8)], end: usize) -> Option<String> {
    let (mut at, mut bytes) = (end, Vec::new());
    while let Some((_, before, byte)) = reached.get(at).filter(|(_, before, _)| *before != usize::MAX) {
        bytes.push(*byte);
        at = *before;
    }
    bytes.reverse();
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_one_fit_the_other_or_one_is_shown() {
        for (narrow, wide) in [
            ("^[a-z]+$", "^[a-z0-9]+$"),
            ("^abc", "b"),
            ("^a{2,4}$", "^a+$"),
            (r"^\d{3}$", r"^[0-9]*$"),
            ("^(foo|bar)$", "^[abfor]{3}$"),
            ("^é$", r"^[\s\S]{1,1}$"),
            ("x", ""),
        ] {
            assert_eq!(within(&[narrow], wide), Within::Yes, "{narrow} in {wide}");
        }
        for (narrow, wide) in [("^[a-z]+$", "^[a-y]+$"), ("b", "^b"), ("^a*$", "^a+$"), ("", "a"), ("^.$", "^[ -~]$"), ("^a.c", "^abc")] {
            let Within::Not(text) = within(&[narrow], wide) else { panic!("{narrow} is not in {wide}") };
            let fits = |pattern| Patterns::default().fits(pattern, &text);
            assert!(fits(narrow) && !fits(wide), "{text:?} of {narrow} in {wide}");
        }
        assert_eq!(within(&["^[a-z]+$", "^.{3}$"], "^[a-z]{3}$"), Within::Yes);
    }
}
