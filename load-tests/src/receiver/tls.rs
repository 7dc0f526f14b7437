//! A certificate for loopback that is made at each start, and the authority that signed it, so that a gateway can be told to
//! trust it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

/// Where the authority's certificate is written.
pub const CA_FILE: &str = "ca.pem";

/// Acceptors for HTTP/1.1 and for HTTP/2, with one certificate.
pub struct Tls {
    /// Offers HTTP/1.1 only.
    pub h1: TlsAcceptor,
    /// Offers HTTP/2 only.
    pub h2: TlsAcceptor,
}

impl Tls {
    /// Makes authority and certificate for `hosts`, and writes the former to [`CA_FILE`] in `folder`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn make(folder: &Path, hosts: Vec<String>) -> Result<Self> {
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::new(Vec::<String>::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = authority.self_signed(&authority_key)?;
        let file: PathBuf = folder.join(CA_FILE);
        std::fs::write(&file, root.pem()).with_context(|| file.display().to_string())?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(hosts)?.signed_by(&key, &Issuer::new(authority, authority_key))?;
        let config = |alpn: &[u8]| -> Result<TlsAcceptor> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| anyhow::anyhow!("{error}"))?;
            let mut config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], private)?;
            config.alpn_protocols = vec![alpn.to_vec()];
            Ok(TlsAcceptor::from(Arc::new(config)))
        };
        Ok(Self { h1: config(b"http/1.1")?, h2: config(b"h2")? })
    }
}
