//! The TLS side of the client: which roots are trusted, which certificate is shown.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// Neither the system nor the configuration has a usable root certificate.
    #[error("no root certificates are found")]
    NoRoots,
    /// A certificate or a key that rustls refuses.
    #[error(transparent)]
    Refused(#[from] rustls::Error),
}

/// A client configuration with the system's roots and `extra_roots`, TLS 1.2 and 1.3 by ring; with `identity`, one that
/// shows a client certificate. Reads files: call at start, not per delivery.
///
/// # Errors
/// [`TlsSetupError`].
pub fn client_config(
    extra_roots: &[CertificateDer<'static>],
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for root in extra_roots {
        roots.add(root.clone())?;
    }
    if roots.is_empty() {
        return Err(TlsSetupError::NoRoots);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
    }))
}
