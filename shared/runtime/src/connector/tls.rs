//! TLS of outbound connections: rustls on aws-lc-rs, the system's roots and the operator's.

use std::path::Path;
use std::sync::Arc;

use rustls::client::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{RootCertStore, version};

/// Why no TLS can be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The additional roots are no PEM, or their file cannot be read.
    #[error("the additional roots cannot be read")]
    Pem(#[from] pem::Error),
    /// One of them is no root, or the library refused its own defaults.
    #[error("a root certificate cannot be used")]
    Tls(#[from] rustls::Error),
    /// There is no certificate among them.
    #[error("the additional roots hold no certificate")]
    Empty,
}

/// The system's roots and those in the file `extra_roots`.
///
/// # Errors
/// [`TlsError`] for the extra roots. A system without roots is a warning: every handshake will say
/// so too.
pub(super) fn trusted(extra_roots: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a root certificate of the system could not be read");
    }
    let (added, _unusable) = roots.add_parsable_certificates(native.certs);
    if added == 0 && extra_roots.is_none() {
        tracing::warn!("the system has no root certificates: no TLS connection can succeed");
    }
    if let Some(path) = extra_roots {
        add(&mut roots, CertificateDer::pem_file_iter(path)?)?;
    }
    Ok(roots)
}

/// Trusts the certificates in a PEM text too.
///
/// # Errors
/// [`TlsError`] if there is none, or one cannot be used.
pub(super) fn add_pem(roots: &mut RootCertStore, pem: &str) -> Result<(), TlsError> {
    add(roots, CertificateDer::pem_slice_iter(pem.as_bytes()))
}

fn add(
    roots: &mut RootCertStore,
    certificates: impl Iterator<Item = Result<CertificateDer<'static>, pem::Error>>,
) -> Result<(), TlsError> {
    let before = roots.len();
    for certificate in certificates {
        roots.add(certificate?)?;
    }
    if roots.len() == before { Err(TlsError::Empty) } else { Ok(()) }
}

/// A client's configuration that trusts `roots` and speaks HTTP/1.1. Names and dates are always
/// checked.
///
/// # Errors
/// [`TlsError`] if the library refuses its own defaults.
pub(super) fn client_config(roots: Arc<RootCertStore>) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The same, and HTTP/2 before HTTP/1.1.
pub(super) fn with_http2(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols.insert(0, b"h2".to_vec());
    config
}
