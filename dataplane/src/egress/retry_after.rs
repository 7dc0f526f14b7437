//! `Retry-After` (RFC 9110 §10.2.3): seconds, or a date in any of the three forms of §5.6.7.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use posthorn_domain::time::Time;

/// The wait that `Retry-After` asks for. A date counts from the answer's own `Date`, or else from `now`; one in the past is
/// zero. What cannot be read is `None`.
pub(super) fn retry_after(value: &[u8], date: Option<&[u8]>, now: Time) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let until = http_date(text)?;
    let from = date.and_then(|date| http_date(std::str::from_utf8(date).ok()?.trim()));
    let from = from.unwrap_or_else(|| i64::try_from(now.unix_seconds()).unwrap_or(i64::MAX));
    Some(Duration::from_secs(u64::try_from(until.saturating_sub(from)).unwrap_or(0)))
}

/// Seconds since the epoch. Weekdays are not compared with their dates; senders get them wrong.
fn http_date(text: &str) -> Option<i64> {
    let forms = ["%d %b %Y %H:%M:%S GMT", "%d-%b-%y %H:%M:%S GMT", "%b %e %H:%M:%S %Y"];
    let rest = text.split_once(' ')?.1.trim_start();
    let read = |form: &&str| strtime::parse(form, rest).ok()?.to_datetime().ok();
    let civil: DateTime = forms.iter().find_map(read)?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(value: &str, date: Option<&str>) -> Option<Duration> {
        retry_after(value.as_bytes(), date.map(str::as_bytes), Time::from_millis(784_111_777_000))
    }

    #[test]
    fn reads_both_forms() {
        assert_eq!(wait("120", None), Some(Duration::from_secs(120)));
        for date in ["Sun, 06 Nov 1994 08:49:47 GMT", "Sunday, 06-Nov-94 08:49:47 GMT", "Sun Nov  6 08:49:47 1994"] {
            assert_eq!(wait(date, None), Some(Duration::from_secs(10)), "{date}");
        }
        let (until, date) = ("Sun, 06 Nov 1994 09:49:37 GMT", "Sun, 06 Nov 1994 09:49:30 GMT");
        assert_eq!(wait(until, Some(date)), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1993 08:49:47 GMT", None), Some(Duration::ZERO));
    }

    #[test]
    fn ignores_garbage() {
        for text in ["", "-1", "1.5", "soon", "Sun, 99 Nov 1994 08:49:47 GMT"] {
            assert_eq!(wait(text, None), None, "{text}");
        }
    }
}
