//! Media types (RFC 9110 §8.3.1) as far as they decide something here: the mode, and how data is carried.

use crate::event::{DataKind, is_json_type};

/// Whether the text is a media type: `type/subtype` and parameters.
pub fn is_media_type(text: &str) -> bool {
    let (essence, parameters) = text.split_once(';').map_or((text, ""), |(essence, rest)| (essence, rest));
    let Some((ty, subtype)) = essence.trim_matches([' ', '\t']).split_once('/') else { return false };
    is_token(ty) && is_token(subtype) && parameters_hold(parameters)
}

/// How data of this content type is carried (CloudEvents JSON format §3.1.1), for bodies that come as bytes.
///
/// Text is only what is UTF-8 and does not claim another charset, so that it can stand in a JSON string unchanged.
pub fn data_kind(content_type: Option<&str>, data: &[u8]) -> DataKind {
    match content_type {
        _ if data.is_empty() => DataKind::None,
        Some(ty) if is_json_type(ty) => DataKind::Json,
        Some(ty) if is_text(ty) && is_unicode(ty) && std::str::from_utf8(data).is_ok() => DataKind::Text,
        _ => DataKind::Binary,
    }
}

/// `type/subtype` without parameters.
pub(super) fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// The parameter `charset`, without quotes.
pub(super) fn charset(media_type: &str) -> Option<&str> {
    media_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

pub(super) fn starts_with_ignore_case(text: &str, prefix: &str) -> bool {
    text.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

fn is_text(media_type: &str) -> bool {
    let essence = essence(media_type);
    let Some((_, subtype)) = essence.split_once('/') else { return false };
    let tail = subtype.rsplit('+').next().unwrap_or_default();
    starts_with_ignore_case(essence, "text/") || tail.eq_ignore_ascii_case("xml")
}

fn is_unicode(media_type: &str) -> bool {
    charset(media_type).is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii"))
}

fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// `*( OWS ";" OWS [ name "=" ( token / quoted-string ) ] )`, the first `;` already taken.
fn parameters_hold(text: &str) -> bool {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some((name, tail)) = rest.split_once(['=', ';']).filter(|(name, _)| rest.as_bytes().get(name.len()) == Some(&b'=')) {
            if !is_token(name) {
                return false;
            }
            let Some(len) = value_len(tail) else { return false };
            rest = tail[len..].trim_start_matches([' ', '\t']);
        }
        match rest.strip_prefix(';') {
            Some(tail) => rest = tail,
            None => return rest.is_empty(),
        }
    }
}

fn value_len(text: &str) -> Option<usize> {
    if !text.starts_with('"') {
        let end = text.find([' ', '\t', ';']).unwrap_or(text.len());
        return is_token(&text[..end]).then_some(end);
    }
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}
