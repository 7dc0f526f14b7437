//! Where a subscription's deliveries go, prepared once per subscription.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use http::uri::{PathAndQuery, Uri};
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
    /// As HTTP/2 names it.
    pub(super) absolute: Uri,
    /// As HTTP/1.1 names it.
    pub(super) path: PathAndQuery,
    pub(super) authority: String,
}

/// Whose connections those are: the origin's that endpoints share, and the subscription's caps on them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) origin: Arc<OriginKey>,
    destination: String,
    /// Of the rest; made once, because the key is looked up for each delivery.
    hash: u64,
}

/// What connections may be shared by.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OriginKey {
    pub(super) scheme: Scheme,
    pub(super) host: String,
    pub(super) port: u16,
    identity: String,
}

impl Key {
    fn new(origin: OriginKey, destination: &str) -> Self {
        let hash = foldhash::quality::FixedState::default().hash_one((&origin, destination));
        Self { origin: Arc::new(origin), destination: destination.to_owned(), hash }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
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
    /// `query` is added to the URL's own. Targets of one `destination` share its caps; connections are shared by all at one origin.
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
            path,
            authority: authority.to_owned(),
            key: Arc::new(Key::new(OriginKey { scheme: url.scheme(), host, port: url.port(), identity }, destination)),
            literal,
            server_name,
            tls,
        })
    }
}
