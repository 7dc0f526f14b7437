//! Where a subscription's deliveries go, prepared once per subscription.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, header};
use posthorn_domain::guard::{Scheme, TargetUrl};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use url::Host;

/// A target, ready to be sent to.
#[derive(Clone, Debug)]
pub struct Target {
    pub(super) key: Arc<Key>,
    pub(super) literal: Option<IpAddr>,
    pub(super) server_name: Option<ServerName<'static>>,
    pub(super) tls: Option<TlsIdentity>,
    origin: Uri,
    absolute: Uri,
    host_header: HeaderValue,
}

/// What connections may be shared by.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) scheme: Scheme,
    pub(super) host: String,
    pub(super) port: u16,
    identity: String,
    destination: String,
}

/// A client certificate that connections are made with.
#[derive(Clone)]
pub struct TlsIdentity {
    name: Arc<str>,
    pub(super) config: Arc<ClientConfig>,
}

/// A URL that no request can be made to.
#[derive(Debug, thiserror::Error)]
#[error("no request can be made to this URL: {0}")]
pub struct InvalidTarget(String);

impl TlsIdentity {
    /// `name` tells identities apart: connections of two names are never shared.
    pub fn new(name: impl Into<Arc<str>>, config: Arc<ClientConfig>) -> Self {
        Self { name: name.into(), config }
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsIdentity({})", self.name)
    }
}

impl Target {
    /// `query` is added to the URL's own; connections are shared among targets of the same `destination` only.
    ///
    /// # Errors
    /// [`InvalidTarget`] when the URL cannot be written as a request.
    pub fn new(url: &TargetUrl, query: &[(String, String)], destination: &str, tls: Option<TlsIdentity>) -> Result<Self, InvalidTarget> {
        let mut full = url.url().clone();
        if !query.is_empty() {
            full.query_pairs_mut().extend_pairs(query);
        }
        let invalid = |error: &dyn fmt::Display| InvalidTarget(error.to_string());
        let path = full.query().map_or_else(|| full.path().to_owned(), |query| format!("{}?{query}", full.path()));
        let path: PathAndQuery = path.parse().map_err(|error| invalid(&error))?;
        let authority = &full[url::Position::BeforeHost..url::Position::AfterPort];
        let scheme = full.scheme();
        let absolute = Uri::builder().scheme(scheme).authority(authority).path_and_query(path.clone()).build();
        let host = match url.host() {
            Host::Domain(name) => name.strip_suffix('.').unwrap_or(name).to_owned(),
            Host::Ipv4(v4) => v4.to_string(),
            Host::Ipv6(v6) => v6.to_string(),
        };
        let literal = host.parse().ok();
        let server_name = match url.scheme() {
            Scheme::Http => None,
            Scheme::Https => Some(ServerName::try_from(host.clone()).map_err(|error| invalid(&error))?),
        };
        let identity = tls.as_ref().map(|tls| tls.name.to_string()).unwrap_or_default();
        Ok(Self {
            absolute: absolute.map_err(|error| invalid(&error))?,
            origin: Uri::from(path),
            host_header: HeaderValue::from_str(authority).map_err(|error| invalid(&error))?,
            key: Arc::new(Key { scheme: url.scheme(), host, port: url.port(), identity, destination: destination.to_owned() }),
            literal,
            server_name,
            tls,
        })
    }

    /// The URI and the headers as HTTP/1.1 (`Host`, path only) or HTTP/2 (no `Host`, all in the URI) has them. Framing
    /// is hyper's own, so headers that could contradict it are taken out.
    pub(super) fn fit(&self, headers: &mut HeaderMap, h2: bool) -> Uri {
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE] {
            headers.remove(name);
        }
        if h2 {
            headers.remove(header::HOST);
            return self.absolute.clone();
        }
        headers.insert(header::HOST, self.host_header.clone());
        self.origin.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(url: &str, query: &[(&str, &str)], h2: bool) -> (String, Option<String>) {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let target = Target::new(&TargetUrl::parse(url).unwrap(), &query, "", None).unwrap();
        let mut headers = HeaderMap::from_iter([(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))]);
        let uri = target.fit(&mut headers, h2).to_string();
        assert!(!headers.contains_key(header::TRANSFER_ENCODING));
        (uri, headers.get(header::HOST).map(|host| host.to_str().unwrap().to_owned()))
    }

    #[test]
    fn requests_name_path_query_and_host() {
        let [plain, own] = ["https://Hook.Example/a?b=c", "http://[::1]:8080"];
        assert_eq!(fitted(plain, &[("d e", "&")], false), ("/a?b=c&d+e=%26".into(), Some("hook.example".into())));
        assert_eq!(fitted(plain, &[], true), ("https://hook.example/a?b=c".into(), None));
        assert_eq!(fitted(own, &[], false), ("/".into(), Some("[::1]:8080".into())));
    }
}
