//! No text makes a parser or an evaluation panic, or breaks what `fuzz::filters` asserts.

use posthorn_domain::filter::fuzz;

use super::Random;

const ROUNDS: usize = 1500;

const SEEDS: [&str; 14] = [
    "type = 'order.created' AND subject LIKE '1%_' AND NOT n > -8",
    "INT(subject) + n * 2 % 3 IN (1, '2', n) OR CONCAT_WS(',', id, source, flag) = 'x'",
    "EXISTS time AND SUBSTRING(type, -7, 3) <> UPPER('cre') XOR ABS(-2147483648) = 1",
    "\"a\\\"b\" NOT IN ('a', LEFT(id, 2)) AND 1 / 0 = 0",
    "event.type.startsWith('order.') && data.n > 6.5 && (data.s in ['abc', 1] || !has(data.x))",
    "data.list.exists(x, x == 2.5) && data.m.a.b + 1.0 == 0.0 ? data['t'] : data.list[3].k[0] == 1u",
    "data.list.all(x, [1, x].exists_one(y, y == x || size(string(y)) > 0)) && {'a': 1}['a'] == 1",
    "timestamp(event.time) - duration('1h30m') < timestamp('2026-08-22T10:00:00Z') && event.n % 2 == -1",
    "data.s.matches('^[a-c]+$') && b'\\xff' != b'' && -9223372036854775808 < 0 && int('7') == 7",
    r#"{"data": {"/n": {"gt": 1, "in": [7, "x"]}, "/list/3/k/0": {"eq": 1}, "/m": {"ne": {"a": null}}, "/x": {"exists": false}}}"#,
    r#"{"any": [{"sql": "n = -7"}, {"cel": "data.z == null"}, {"not": {"exact": {"type": "x"}}}]}"#,
    r#"{"all": [{"prefix": {"type": "order."}}, {"data": {"/s": {"regex": "b+", "suffix": "c"}}}, {"topic": "**"}]}"#,
    "'é𝄞' LIKE '_%\\_%' OR LENGTH('é𝄞') = 2",
    "event.exists(k, event[k] == 'orders') && data.exists(k, k == '0') && type(data.n) == double",
];

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
    let mut random = Random(11);
    for seed in SEEDS {
        fuzz::filters(seed);
        for _ in 0..ROUNDS {
            let mut text: Vec<char> = seed.chars().collect();
            for _ in 0..=random.below(3) {
                mutate(&mut text, &mut random);
            }
            fuzz::filters(&text.into_iter().collect::<String>());
        }
    }
}
