//! TLS towards nodes that sign their own certificates.
//!
//! LND and Core Lightning make their certificates themselves. The operator names the file, and
//! exactly that certificate is accepted, or one that it has signed for the host's name; no
//! public authority is then of any use. LND's own certificate is an authority as well as a
//! server's, which the usual rules refuse: it is compared byte by byte.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Why no connection can be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFault {
    /// The certificate file cannot be used.
    #[error("lightning.cert: cannot use {path}: {problem}; name the node's PEM certificate")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The client cannot be built.
    #[error("lightning: no TLS: {0}")]
    Client(String),
}

/// A configuration that accepts the certificates of this file and what they have signed.
///
/// # Errors
/// [`TlsFault`] if the file holds none.
pub(super) fn pinned(path: &Path) -> Result<ClientConfig, TlsFault> {
    let fault = |problem: String| TlsFault::Certificate { path: path.to_owned(), problem };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| fault(error.to_string()))?;
    let found: Result<Vec<_>, _> = found.collect();
    let pins = found.map_err(|error| fault(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let (taken, _ignored) = roots.add_parsable_certificates(pins.iter().cloned());
    if taken == 0 {
        return Err(fault("it holds no certificate".to_owned()));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let client = |error: &dyn std::error::Error| TlsFault::Client(error.to_string());
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| client(&error))?;
    let verifier = Arc::new(Pinned { pins, chain, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| client(&error))?;
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Accepts what the operator named.
#[derive(Debug)]
struct Pinned {
    pins: Vec<CertificateDer<'static>>,
    chain: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pins.iter().any(|pin| pin == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
