//! What the values of attributes must look like (CloudEvents §Type System). Each check answers with what to do instead.

use super::media::is_media_type;

/// What a check answers: nothing, or the rest of a sentence that begins with the attribute's name.
pub(super) type Verdict = Result<(), &'static str>;

/// The rules that hold for this attribute whatever door it came through.
pub(super) fn check(name: &str, value: &str) -> Verdict {
    check_characters(value)?;
    match name {
        "specversion" if value != "1.0" => Err("must be \"1.0\": that is the version of CloudEvents spoken here"),
        "id" | "type" | "subject" if value.is_empty() => Err("must not be empty; leave it out or give it a value"),
        "source" => check_reference(value),
        "dataschema" => check_uri(value),
        "datacontenttype" if !is_media_type(value) => Err("must be a media type such as application/json"),
        "time" | "expirytime" if !is_rfc3339(value) => Err("must be an RFC 3339 time such as 2026-01-31T12:00:00Z"),
        _ => Ok(()),
    }
}

/// Whether this attribute's type is one that is written as a string, so that JSON must give it as one.
pub(super) fn is_stringly(name: &str) -> bool {
    matches!(name, "specversion" | "id" | "source" | "type" | "datacontenttype" | "dataschema" | "subject" | "time" | "expirytime")
}

/// Lower-case letters and digits (§Naming Conventions). `data` is what the JSON format calls the payload.
pub(super) fn check_name(name: &str) -> Verdict {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err("is not an attribute name: use lower-case letters a-z and digits only");
    }
    match name {
        "data" => Err("is the payload and cannot be an attribute"),
        _ if name.len() > 255 => Err("is longer than the 255 characters that an attribute name may have"),
        _ => Ok(()),
    }
}

fn check_characters(value: &str) -> Verdict {
    let plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if plain || !value.chars().any(is_forbidden) { Ok(()) } else { Err("has a control character or a Unicode noncharacter; remove it") }
}

fn is_forbidden(char: char) -> bool {
    let code = u32::from(char);
    code < 0x20 || (0x7f..0xa0).contains(&code) || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

/// RFC 3986 §4.1, leniently: a scheme is not demanded, and characters beyond ASCII pass.
fn check_reference(value: &str) -> Verdict {
    match value {
        "" => Err("must not be empty: give a URI or a path that names the origin"),
        _ if value.contains(char::is_whitespace) => Err("must be a URI reference without blanks; write %20 for a blank"),
        _ => Ok(()),
    }
}

/// A scheme and something after it. A fragment passes although RFC 3986 §4.3 has none: `$id`s in use end in `#`.
fn check_uri(value: &str) -> Verdict {
    let absolute = value.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && !rest.is_empty()
    });
    if absolute && !value.contains(char::is_whitespace) {
        Ok(())
    } else {
        Err("must be an absolute URI such as https://example.com/order/1")
    }
}

/// Whether the text is an RFC 3339 §5.6 `date-time`, in any year, with any offset; seconds may be 60.
pub fn is_rfc3339(text: &str) -> bool {
    let Some((fixed, rest)) = text.as_bytes().split_at_checked(19) else { return false };
    let shaped = fixed.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 => *byte == b'-',
        10 => matches!(byte, b'T' | b't'),
        13 | 16 => *byte == b':',
        _ => byte.is_ascii_digit(),
    });
    shaped
        && date_holds(fixed)
        && number(&fixed[11..13]) < 24
        && number(&fixed[14..16]) < 60
        && number(&fixed[17..]) <= 60
        && zone_holds(rest)
}

fn date_holds(fixed: &[u8]) -> bool {
    let (year, month, day) = (number(&fixed[..4]), number(&fixed[5..7]), number(&fixed[8..10]));
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// An optional fraction, then `Z` or an offset.
fn zone_holds(rest: &[u8]) -> bool {
    let rest = match rest {
        [b'.', tail @ ..] => {
            let digits = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            &tail[digits..]
        }
        other => other,
    };
    match rest {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()) => {
            number(&[*h1, *h2]) < 24 && number(&[*m1, *m2]) < 60
        }
        _ => false,
    }
}

fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
}
