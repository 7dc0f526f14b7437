//! No text makes a parser or an evaluation panic, or breaks what `fuzz::filters` asserts.

use posthorn_domain::filter::fuzz;

use super::Random;

const ROUNDS: usize = 1000;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz-corpus/filters");

const PIECES: [&str; 32] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "\\",
    ",",
    ".",
    "!",
    "-",
    "NOT ",
    " IN (",
    " AND ",
    " OR ",
    "&&",
    "||",
    " ? ",
    ":",
    "==",
    "data",
    "event.",
    ".all(x, ",
    "%",
    "_",
    "9223372036854775808",
    "0x",
    "1e308",
    "é",
    "has(",
];

fn mutate(text: &mut Vec<char>, random: &mut Random) {
    let at = random.below(text.len() + 1);
    match random.below(6) {
        0 if at < text.len() => text[at] = char::from_u32(random.below(0x250) as u32).unwrap_or('x'),
        1 if at < text.len() => drop(text.remove(at)),
        2 => {
            let end = (at + random.below(30)).min(text.len());
            text.drain(at..end);
        }
        3 => {
            let end = (at + random.below(40)).min(text.len());
            let part = text[at..end].to_vec();
            let to = random.below(text.len() + 1);
            text.splice(to..to, part);
        }
        4 => {
            let piece: Vec<char> = random.pick(&PIECES).chars().collect();
            for _ in 0..random.below(40) {
                text.splice(at..at, piece.iter().copied());
            }
        }
        _ => {
            let piece = random.pick(&PIECES);
            text.splice(at..at, piece.chars());
        }
    }
}

#[test]
fn nothing_breaks_the_filters() {
    let mut seeds: Vec<_> = std::fs::read_dir(CORPUS).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(seeds.len() >= 14);
    let mut random = Random(11);
    for seed in seeds {
        let seed = std::fs::read_to_string(seed).unwrap();
        fuzz::filters(seed.as_bytes());
        for _ in 0..ROUNDS {
            let mut text: Vec<char> = seed.chars().collect();
            for _ in 0..=random.below(3) {
                mutate(&mut text, &mut random);
            }
            fuzz::filters(text.into_iter().collect::<String>().as_bytes());
        }
    }
}
