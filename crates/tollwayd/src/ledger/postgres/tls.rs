//! How a connection to the database is protected.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, crypto};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config;
use crate::ledger::sqlite::open::OpenError;

/// Why no connection can be protected as the configuration says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFault {
    /// The file with the authorities cannot be read.
    #[error("store.postgres_ca: expected certificates in PEM form in {path}, but found {found}")]
    Authorities { path: PathBuf, found: String },
    /// The URL says that nothing is to be protected, the file says the opposite.
    #[error(
        "store.postgres_ca: expected sslmode=require in the URL or none, but found sslmode=disable; \
         remove one of the two"
    )]
    Contradiction,
    /// The machine's own authorities cannot be used.
    #[error(
        "store.postgres: the machine's certificate authorities cannot be used: {0}; name a \
             file of them in store.postgres_ca"
    )]
    Machine(#[from] rustls::Error),
}

/// How to reach a database.
#[derive(Clone)]
pub(in crate::ledger) struct Database {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl Database {
    /// Decides by `sslmode`: `require` is TLS with a server whose certificate and name are good,
    /// `disable` is none. Without either word there is TLS where authorities are named. To encrypt
    /// for whoever answers, as libpq's `prefer` does, would protect from nobody.
    pub(in crate::ledger) fn new(store: &config::Postgres) -> Result<Self, OpenError> {
        let mut config: Config = store.url.reveal().parse().map_err(|_| OpenError::PostgresUrl)?;
        if config.get_application_name().is_none() {
            config.application_name("tollwayd");
        }
        let wanted = match (config.get_ssl_mode(), &store.ca) {
            (SslMode::Disable, Some(_)) => return Err(TlsFault::Contradiction.into()),
            (SslMode::Disable, None) => false,
            (SslMode::Prefer, ca) => ca.is_some(),
            _ => true,
        };
        config.ssl_mode(if wanted { SslMode::Require } else { SslMode::Disable });
        let tls = wanted.then(|| client_config(store)).transpose()?;
        Ok(Self { config, tls: tls.map(MakeRustlsConnect::new) })
    }

    /// Connects, and keeps the connection going.
    pub(in crate::ledger) async fn connect(&self) -> Result<Client, Error> {
        match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                keep(connection);
                Ok(client)
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                keep(connection);
                Ok(client)
            }
        }
    }
}

fn keep(connection: impl Future<Output = Result<(), Error>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(%error, "a connection to the store has ended");
        }
    });
}

fn client_config(store: &config::Postgres) -> Result<ClientConfig, TlsFault> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let Some(path) = &store.ca else {
        return Ok(builder.with_platform_verifier()?.with_no_client_auth());
    };
    let fault = |found: String| TlsFault::Authorities { path: path.clone(), found };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| fault(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| fault(error.to_string()))?;
        roots.add(certificate).map_err(|error| fault(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fault("none".to_owned()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
