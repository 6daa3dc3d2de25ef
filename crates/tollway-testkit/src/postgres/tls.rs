//! A server that speaks TLS on a port.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::{Postgres, settings};
use crate::stack::free_port;

/// How to reach a server that speaks TLS.
#[derive(Clone, Debug)]
pub struct TlsDoor {
    /// A URL with the name that the certificate has, which says nothing of TLS.
    pub url: String,
    /// The authority that vouches for the server, in PEM form.
    pub authority: String,
}

impl Postgres {
    /// Makes a private server listen on a port of 127.0.0.1 as well, with TLS for whoever wants
    /// it, under a certificate for `localhost` of an authority of its own.
    ///
    /// # Errors
    /// The server is not our own, or does not start again.
    pub fn serve_tls(&mut self) -> Result<TlsDoor, String> {
        let failed = |error: rcgen::Error| format!("no certificate: {error}");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().map_err(failed)?)
                .map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        let server = CertificateParams::new(["localhost".to_owned()]).map_err(failed)?;
        let certificate = server.signed_by(&key, &authority).map_err(failed)?;

        let (data, owner) = (self.own()?.directory.join("data"), self.own()?.owner);
        write(&data.join("server.crt"), &certificate.pem(), owner)?;
        write(&data.join("server.key"), &key.serialize_pem(), owner)?;
        let port = free_port().map_err(|error| error.to_string())?;
        let words = format!("ssl = on\nport = {port}\nlisten_addresses = '127.0.0.1'");
        settings(&data, &words).map_err(|error| format!("cannot configure it: {error}"))?;
        self.kill()?;
        self.start_again()?;
        // The socket is named after the port.
        self.url = format!("{}?port={port}", self.url);
        Ok(TlsDoor {
            url: format!("postgresql://postgres@localhost:{port}/postgres"),
            authority: authority.pem(),
        })
    }
}

fn write(path: &Path, text: &str, owner: Option<u32>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    fs::write(path, text).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    chown(path, owner, None).map_err(failed)
}
