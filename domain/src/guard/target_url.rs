//! A URL that can be delivered to, read as browsers read it (WHATWG), so that every spelling of an address is one.

use std::fmt;

use serde::Serialize;
use url::{Host, Url};

/// The longest URL taken, in bytes.
const MAX_URL: usize = 2048;
/// The longest host name (RFC 1035 §2.3.4), in bytes without the final dot.
const MAX_NAME: usize = 253;

/// How a target is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// An `http` or `https` URL without userinfo and fragment. Normalised: the host is what it means, not how it was spelled.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TargetUrl {
    url: Url,
    scheme: Scheme,
}

/// One thing that is wrong with a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct UrlFault {
    /// What is wrong and what to do.
    pub detail: String,
}

impl TargetUrl {
    /// Reads a URL by its form alone; which addresses are permitted is [`super::Guard`]'s to say.
    ///
    /// # Errors
    /// Everything that is wrong with its form.
    pub fn parse(text: &str) -> Result<Self, Vec<UrlFault>> {
        let fault = |detail: String| vec![UrlFault { detail }];
        if text.len() > MAX_URL {
            return Err(fault(format!("the URL is longer than {MAX_URL} bytes")));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(fault("a URL has no blanks and no control characters; percent-encode them".into()));
        }
        let url = Url::parse(text).map_err(|error| fault(format!("not a URL: {error}")))?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return Err(fault(format!("the scheme is `{}`; use https", clip(other)))),
        };
        let faults = faults_of(&url, text);
        if faults.is_empty() { Ok(Self { url, scheme }) } else { Err(faults) }
    }

    /// How it is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host: a name in lower case, or an address.
    pub fn host(&self) -> Host<&str> {
        self.url.host().expect("http and https URLs have hosts")
    }

    /// The port, given or the scheme's own.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().expect("http and https have default ports")
    }

    /// The URL as the `url` crate has it.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The URL in its normal form.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetUrl({})", self.as_str())
    }
}

impl Serialize for TargetUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

fn faults_of(url: &Url, text: &str) -> Vec<UrlFault> {
    let mut faults = Vec::new();
    let mut say = |wrong: bool, detail: &str| {
        if wrong {
            faults.push(UrlFault { detail: detail.to_owned() });
        }
    };
    say(!url.username().is_empty() || url.password().is_some() || has_at(text), "a URL carries no user and no password; set `auth`");
    say(url.fragment().is_some(), "a fragment is never sent; leave `#…` away");
    say(url.port() == Some(0), "port 0 cannot be connected to");
    let long = |name: &str| name.strip_suffix('.').unwrap_or(name).len() > MAX_NAME;
    say(matches!(url.host(), Some(Host::Domain(name)) if long(name)), "the host name is longer than 253 bytes");
    say(url.as_str().len() > 2 * MAX_URL, "the URL is too long once it is percent-encoded");
    faults
}

/// Whether the authority has an `@`, empty userinfo (`https://@host/`) included, which the parser drops in silence.
fn has_at(text: &str) -> bool {
    let after = text.split_once(':').map_or("", |(_, rest)| rest).trim_start_matches(['/', '\\']);
    after.split(['/', '\\', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

fn clip(text: &str) -> String {
    text.chars().take(32).collect()
}
