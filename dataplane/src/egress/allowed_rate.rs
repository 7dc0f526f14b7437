//! `WebHook-Allowed-Rate` (CloudEvents webhooks §4): how many requests a minute a receiver allows.

use std::num::NonZeroU32;

/// What a receiver allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowedRate {
    /// So many requests a minute.
    PerMinute(NonZeroU32),
    /// Any number: `*`.
    Unlimited,
}

impl AllowedRate {
    /// Of a header's value: a positive integer or `*`. What cannot be read is `None`.
    pub fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.trim();
        if text == "*" {
            return Some(Self::Unlimited);
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        NonZeroU32::new(text.parse().unwrap_or(u32::MAX)).map(Self::PerMinute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_and_the_star() {
        let rate = |text: &str| AllowedRate::read(text.as_bytes());
        assert_eq!(rate("*"), Some(AllowedRate::Unlimited));
        for (text, count) in [("1", 1), (" 120 ", 120), ("99999999999999999999", u32::MAX)] {
            assert_eq!(rate(text), NonZeroU32::new(count).map(AllowedRate::PerMinute), "{text}");
        }
        for text in ["", "0", "-1", "1.5", "**", "many"] {
            assert_eq!(rate(text), None, "{text}");
        }
    }
}
