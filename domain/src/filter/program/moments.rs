//! Timestamps and durations of CEL: from text, arithmetic, and parts of the date in UTC.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::value::Value;
use super::why::Why;
use crate::filter::expr::{Arithmetic, Function};

const NANOS: [(&str, i64); 7] =
    [("ns", 1), ("us", 1_000), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];

/// RFC 3339.
pub(super) fn timestamp(text: &str) -> Result<Timestamp, Why> {
    crate::time::rfc3339(text).ok_or(Why::Conversion)
}

/// A sum of decimal numbers with units: `1h30m`, `-1.5s`; units are `h m s ms us ns`.
pub(super) fn duration(text: &str) -> Result<i64, Why> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    let mut total: i64 = 0;
    if rest.is_empty() {
        return Err(Why::Conversion);
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|char: char| char.is_ascii_digit() || char == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, nanos) = NANOS.iter().find(|(name, _)| *name == unit).ok_or(Why::Conversion)?;
        total = total.checked_add(scaled(number, *nanos)?).ok_or(Why::Overflow)?;
        rest = tail;
    }
    Ok(if negative { -total } else { total })
}

/// A decimal number times a unit, cut to whole nanoseconds.
fn scaled(number: &str, nanos: i64) -> Result<i64, Why> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(Why::Conversion);
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| Why::Overflow)? };
    let mut unit = nanos;
    let mut parts: i64 = 0;
    for digit in fraction.bytes().map(|byte| i64::from(byte - b'0')) {
        // Units are multiples of ten as far as it matters: what is lost is below a nanosecond.
        parts += digit * unit / 10;
        unit /= 10;
    }
    whole.checked_mul(nanos).and_then(|whole| whole.checked_add(parts)).ok_or(Why::Overflow)
}

/// As CEL writes durations: seconds.
pub(super) fn write_duration(nanos: i64) -> String {
    let (seconds, rest) = (nanos / 1_000_000_000, (nanos % 1_000_000_000).abs());
    let sign = if nanos < 0 && seconds == 0 { "-" } else { "" };
    if rest == 0 {
        return format!("{seconds}s");
    }
    format!("{sign}{seconds}.{}s", format!("{rest:09}").trim_end_matches('0'))
}

/// `+` and `-` where a timestamp or a duration takes part.
pub(super) fn arithmetic<'a>(operator: Arithmetic, left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, Why> {
    match (operator, left, right) {
        (Arithmetic::Add, Value::Timestamp(time), Value::Duration(span))
        | (Arithmetic::Add, Value::Duration(span), Value::Timestamp(time)) => shifted(*time, *span),
        (Arithmetic::Subtract, Value::Timestamp(time), Value::Duration(span)) => shifted(*time, span.checked_neg().ok_or(Why::Overflow)?),
        (Arithmetic::Subtract, Value::Timestamp(left), Value::Timestamp(right)) => {
            let between = left.as_nanosecond() - right.as_nanosecond();
            i64::try_from(between).map(Value::Duration).map_err(|_| Why::Overflow)
        }
        (Arithmetic::Add, Value::Duration(left), Value::Duration(right)) => {
            left.checked_add(*right).map(Value::Duration).ok_or(Why::Overflow)
        }
        (Arithmetic::Subtract, Value::Duration(left), Value::Duration(right)) => {
            left.checked_sub(*right).map(Value::Duration).ok_or(Why::Overflow)
        }
        _ => Err(Why::NoOverload),
    }
}

fn shifted<'a>(time: Timestamp, nanos: i64) -> Result<Value<'a>, Why> {
    time.checked_add(SignedDuration::from_nanos(nanos)).map(Value::Timestamp).map_err(|_| Why::Overflow)
}

/// A part of a date, in UTC; of durations the whole span in that unit.
pub(super) fn part<'a>(function: Function, of: &Value<'_>) -> Result<Value<'a>, Why> {
    let part = match of {
        Value::Timestamp(time) => {
            let date = time.to_zoned(TimeZone::UTC);
            match function {
                Function::FullYear => date.year().into(),
                Function::Month => i64::from(date.month()) - 1,
                Function::DayOfMonth => i64::from(date.day()) - 1,
                Function::Date => date.day().into(),
                Function::DayOfWeek => date.weekday().to_sunday_zero_offset().into(),
                Function::DayOfYear => i64::from(date.day_of_year()) - 1,
                Function::Hours => date.hour().into(),
                Function::Minutes => date.minute().into(),
                Function::Seconds => date.second().into(),
                _ => date.millisecond().into(),
            }
        }
        Value::Duration(nanos) => match function {
            Function::Hours => nanos / 3_600_000_000_000,
            Function::Minutes => nanos / 60_000_000_000,
            Function::Seconds => nanos / 1_000_000_000,
            Function::Milliseconds => nanos % 1_000_000_000 / 1_000_000,
            _ => return Err(Why::NoOverload),
        },
        _ => return Err(Why::NoOverload),
    };
    Ok(Value::Int(part))
}
