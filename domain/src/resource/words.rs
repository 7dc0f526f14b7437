//! Words that most subscriptions have in common, a byte each. JSON has no control characters, so those stand for words: no dictionary
//! travels, nothing has to be learnt, and any text can be written and read by itself.

use zeroize::Zeroizing;

/// The words of form 2, by the byte that stands for them, from 1 on. What begins with another comes before it.
const WORDS: [&str; 31] = [
    // All but the filters, in the order in which it is written.
    "{\"endpoint\":{\"url\":\"https://",
    "{\"endpoint\":{\"url\":\"http://",
    "{\"name\":\"",
    "\",\"owner\":\"",
    "\",\"endpoint\":{\"url\":\"https://",
    "\",\"endpoint\":{\"url\":\"http://",
    "\",\"format\":\"",
    "\",\"timeout\":\"",
    "\"},\"signing\":[{\"secret\":\"whsec_",
    "\"},\"signing\":[{\"key\":\"ed25519\",\"secret\":\"whsk_",
    "\",\"public_key\":\"whpk_",
    "\",\"previous\":[{\"secret\":\"whsec_",
    "\",\"expires_at\":\"",
    "\"}],\"limits\":{\"in_flight\":",
    ",\"limits\":{\"in_flight\":",
    ",\"rate\":null}",
    "\"}],\"retry\":{\"schedule\":[\"",
    "\"],\"jitter\":0.2,\"max_age\":\"",
    "\"}],\"qos\":{\"durability\":",
    ",\"dead_letter\":\"",
    "\",\"ordering\":\"",
    // Filters.
    "[{\"topic\":\"",
    "\"},{\"exact\":{\"type\":\"",
    "[{\"exact\":{\"type\":\"",
    "\"},{\"",
    "\"}}]",
    // Both.
    "\"}]}",
    "\"}]",
    "\":{\"",
    "\":\"",
    "\",\"",
];

/// Before a control character that is one.
const ITSELF: u8 = 0;
/// Bytes below this one are words, or [`ITSELF`].
const TEXT: u8 = 0x20;

/// Appends `text`, shortened.
pub(super) fn shorten(text: &[u8], short: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        match word_of(rest) {
            Some((code, length)) => {
                short.push(code);
                rest = &rest[length..];
            }
            None => {
                if byte < TEXT {
                    short.push(ITSELF);
                }
                short.push(byte);
                rest = &rest[1..];
            }
        }
    }
}

/// The text that was shortened. It may have secrets.
pub(super) fn expand(short: &[u8]) -> Zeroizing<Vec<u8>> {
    // Words have eleven bytes in the mean, and few texts are half words.
    let mut text = Zeroizing::new(Vec::with_capacity(4 * short.len() + 64));
    let mut bytes = short.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            ITSELF => text.extend(bytes.next()),
            TEXT.. => text.push(byte),
            word => text.extend_from_slice(WORDS[usize::from(word) - 1].as_bytes()),
        }
    }
    text
}

/// The word that the text begins with: what stands for it, and its length.
fn word_of(text: &[u8]) -> Option<(u8, usize)> {
    if !matches!(text.first()?, b'"' | b'{' | b'[' | b',') {
        return None;
    }
    WORDS.iter().zip(1..).find(|(word, _)| text.starts_with(word.as_bytes())).map(|(word, code)| (code, word.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn comes_back(text: &[u8]) -> usize {
        let mut short = Vec::new();
        shorten(text, &mut short);
        assert_eq!(*expand(&short), text);
        short.len()
    }

    /// Texts in this form are on disks. When this fails because a word has changed, the form must be another.
    #[test]
    fn every_word_is_a_byte_and_stays_the_one_it_is() {
        for (word, code) in WORDS.iter().zip(1_u8..) {
            let mut short = Vec::new();
            shorten(word.as_bytes(), &mut short);
            assert_eq!(short, [code], "{word}");
        }
        let all: Vec<u8> = (1..TEXT).collect();
        let known = concat!(
            r#"{"endpoint":{"url":"https://{"endpoint":{"url":"http://{"name":"","owner":"","endpoint":{"url":"https://"#,
            r#"","endpoint":{"url":"http://","format":"","timeout":""},"signing":[{"secret":"whsec_"#,
            r#""},"signing":[{"key":"ed25519","secret":"whsk_","public_key":"whpk_","previous":[{"secret":"whsec_","expires_at":""#,
            r#""}],"limits":{"in_flight":,"limits":{"in_flight":,"rate":null}"}],"retry":{"schedule":[""#,
            r#""],"jitter":0.2,"max_age":""}],"qos":{"durability":,"dead_letter":"","ordering":""#,
            r#"[{"topic":""},{"exact":{"type":"[{"exact":{"type":""},{""}}]"}]}"}]":{"":"",""#,
        );
        assert_eq!(std::str::from_utf8(&expand(&all)), Ok(known));
    }

    #[test]
    fn a_usual_subscription_is_less_than_half_as_long() {
        let filters = r#"[{"topic":"orders"},{"exact":{"type":"order.created"}}]"#;
        let rest = r#"{"name":"one","owner":"acme","endpoint":{"url":"https://a.example/"},"signing":[{"secret":"whsec_AQIDBAUGBwgJCgsMDQ4PEBES"}]}"#;
        assert_eq!((comes_back(filters.as_bytes()), comes_back(rest.as_bytes())), (22, 46));
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(text: Vec<u8>) {
            comes_back(&text);
        }

        #[test]
        fn words_among_others_come_back(parts in proptest::collection::vec((0..WORDS.len(), 0..30_usize, any::<u8>()), 0..20)) {
            let text: Vec<u8> = parts.iter().flat_map(|(word, length, byte)| [&WORDS[*word].as_bytes()[..WORDS[*word].len().min(*length)], &[*byte]].concat()).collect();
            comes_back(&text);
        }
    }
}
