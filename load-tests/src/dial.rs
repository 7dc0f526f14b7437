//! Opens connections to any http or https URL.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

/// The protocol that requests are sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, one request at a time on a connection.
    H1,
    /// HTTP/2, with prior knowledge or by ALPN.
    H2,
}

/// A server: where it is and how it is spoken to.
#[derive(Clone)]
pub struct Server {
    host: String,
    port: u16,
    authority: String,
    tls: Option<TlsConnector>,
    /// How requests are sent.
    pub protocol: Protocol,
}

/// What a connection runs over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Server {
    /// The server of a URL; with a `ca` file its certificates are trusted beside the system's.
    ///
    /// # Errors
    /// When it is neither http nor https, or the file holds no certificates.
    pub fn of(url: &Url, protocol: Protocol, ca: Option<&Path>) -> Result<Self> {
        let host = url.host_str().context("a URL with a host")?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().context("a URL with a port")?;
        ensure!(matches!(url.scheme(), "http" | "https"), "{url} is neither http nor https");
        let tls = (url.scheme() == "https").then(|| tls(protocol, ca)).transpose()?;
        Ok(Self { host, port, authority: url.authority().to_owned(), tls, protocol })
    }

    /// `host:port` as the URL has it.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The URI of a request: HTTP/2 wants all of it, HTTP/1.1 the path.
    ///
    /// # Errors
    /// When the path is none.
    pub fn uri(&self, path: &str) -> Result<Uri> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match self.protocol {
            Protocol::H1 => path.parse().with_context(|| path.to_owned()),
            Protocol::H2 => format!("{scheme}://{}{path}", self.authority).parse().with_context(|| path.to_owned()),
        }
    }

    pub(crate) async fn open(&self) -> Result<TokioIo<Box<dyn Stream>>> {
        let socket =
            TcpStream::connect((self.host.as_str(), self.port)).await.with_context(|| format!("connecting to {}", self.authority))?;
        socket.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(TokioIo::new(Box::new(socket))) };
        let name = ServerName::try_from(self.host.clone()).context("a name for TLS")?;
        Ok(TokioIo::new(Box::new(tls.connect(name, socket).await.context("TLS")?)))
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.authority, self.protocol)
    }
}

fn tls(protocol: Protocol, ca: Option<&Path>) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca {
        for certificate in CertificateDer::pem_file_iter(file).with_context(|| file.display().to_string())? {
            roots.add(certificate?)?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![if protocol == Protocol::H2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(TlsConnector::from(Arc::new(config)))
}
