//! The head of a request as HTTP/1.1 writes it, line by line (RFC 9112 §3, RFC 9110 §5). HTTP/2 is told the same lines as a map, so
//! there is one place that decides what is sent.

use std::fmt::{self, Write as _};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::target::Target;

/// Headers that say how the message is framed or where it goes; the client sets them itself.
const OWN: [&str; 8] = ["host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade", "te"];
/// A buffer that grew beyond this is not used again.
const MAX_REUSED: usize = 16 << 10;

/// A request line and header lines, each whole: no name or value can end its line early.
#[derive(Clone, Debug, Default)]
pub struct Head {
    text: String,
}

impl Head {
    /// A `POST` to `target`, with its `host`.
    pub fn new(target: &Target) -> Self {
        let mut head = Self { text: String::with_capacity(512) };
        head.write(format_args!("POST {} HTTP/1.1\r\nhost: {}\r\n", target.path, target.authority));
        head
    }

    /// Without a request line: for [`Head::into_text`].
    pub fn empty() -> Self {
        Self { text: String::with_capacity(384) }
    }

    /// With room for most requests.
    pub(super) fn roomy() -> Self {
        Self { text: String::with_capacity(1024) }
    }

    /// Becomes a copy of `base`, in the memory that it has.
    pub fn restart(&mut self, base: &Self) {
        self.text.clear();
        self.text.push_str(&base.text);
    }

    /// Adds a header. One that the client sets itself, whose name is no token or whose value is not visible ASCII with blanks and tabs
    /// is left out.
    pub fn push(&mut self, name: &str, value: &str) {
        if !OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            self.push_prefixed("", name, value);
        }
    }

    /// As [`Head::push`], under the name that `prefix` and `name` are together.
    pub fn push_prefixed(&mut self, prefix: &'static str, name: &str, value: &str) {
        if !is_token(name) || !is_value(value) {
            return;
        }
        self.text.push_str(prefix);
        let start = self.text.len();
        self.text.push_str(name);
        self.text[start..].make_ascii_lowercase();
        self.push_value(|text| text.push_str(value));
    }

    /// Adds a header of ours, whose value `write` appends: visible ASCII.
    pub fn push_with(&mut self, name: &'static str, write: impl FnOnce(&mut String)) {
        self.text.push_str(name);
        self.push_value(write);
    }

    /// Adds headers that another head has.
    pub fn push_lines(&mut self, lines: &str) {
        self.text.push_str(lines);
    }

    /// What was added to an empty head.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Adds the length of the body and what ends a head.
    pub(super) fn finish(&mut self, body_length: usize) {
        self.write(format_args!("content-length: {body_length}\r\n\r\n"));
    }

    /// As it goes over the wire, once finished.
    pub(super) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The headers as HTTP/2 has them: no `host`, and what frames the message is hyper's own.
    pub(super) fn to_map(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(24);
        for (name, value) in self.lines().skip(1).filter_map(|line| line.split_once(": ")) {
            let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else { continue };
            value.set_sensitive(name == header::AUTHORIZATION);
            if !OWN.contains(&name.as_str()) {
                headers.append(name, value);
            }
        }
        headers
    }

    /// Request line and headers so far, a line each.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines()
    }

    /// Whether its memory is worth keeping.
    pub(super) fn is_small(&self) -> bool {
        self.text.capacity() <= MAX_REUSED
    }

    fn push_value(&mut self, write: impl FnOnce(&mut String)) {
        self.text.push_str(": ");
        let start = self.text.len();
        write(&mut self.text);
        debug_assert!(is_value(&self.text[start..]), "checked, or our own");
        self.text.push_str("\r\n");
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("memory takes all that is written to it");
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_value(value: &str) -> bool {
    value.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte))
}

#[cfg(test)]
mod tests {
    use posthorn_domain::guard::TargetUrl;

    use super::*;

    fn head(url: &str, query: &[(&str, &str)]) -> (Head, Target) {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let target = Target::new(&TargetUrl::parse(url).unwrap(), &query, "", None).unwrap();
        (Head::new(&target), target)
    }

    fn text(mut head: Head) -> String {
        head.finish(7);
        head.text
    }

    #[test]
    fn requests_name_path_query_and_host() {
        let (plain, target) = head("https://Hook.Example/a?b=c", &[("d e", "&")]);
        assert_eq!(text(plain), "POST /a?b=c&d+e=%26 HTTP/1.1\r\nhost: hook.example\r\ncontent-length: 7\r\n\r\n");
        assert_eq!(target.absolute, "https://hook.example/a?b=c&d+e=%26");
        assert!(text(head("http://[::1]:8080", &[]).0).starts_with("POST / HTTP/1.1\r\nhost: [::1]:8080\r\n"));
        assert!(text(head("http://a.example:80/x%20y", &[]).0).starts_with("POST /x%20y HTTP/1.1\r\nhost: a.example\r\n"));
    }

    #[test]
    fn no_header_ends_its_line_early_or_frames_the_message() {
        let (mut head, _) = head("http://a.example/", &[]);
        for value in ["a\r\nb: c", "a\nb", "a\0", "ü", "a\u{7f}"] {
            head.push("x", value);
            head.push_prefixed("ce-", "x", value);
        }
        for name in ["a b", "a:", "", "ü", "a\r\nb", "Transfer-Encoding", "content-length", "HOST", "connection"] {
            head.push(name, "x");
        }
        assert_eq!(text(head), "POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 7\r\n\r\n");
    }

    #[test]
    fn http_2_is_told_the_same() {
        let (mut head, _) = head("https://a.example/", &[]);
        head.push("X-Own", "a\tb");
        head.push("x-own", "second");
        head.push("authorization", "Basic eA==");
        head.push_prefixed("ce-", "type", "");
        head.push_with("posthorn-attempt", |text| text.push('3'));
        head.finish(0);
        let map = head.to_map();
        let shown: Vec<_> = map.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        assert_eq!(shown.len(), 5, "{shown:?}");
        for line in ["x-own=a\tb", "x-own=second", "authorization=Basic eA==", "ce-type=", "posthorn-attempt=3"] {
            assert!(shown.iter().any(|own| own == line), "{line}: {shown:?}");
        }
        assert!(map["authorization"].is_sensitive());
    }
}
