//! Where a node listens.

use std::net::IpAddr;

use url::{Host, Url};

/// An `http` or `https` address, perhaps with a path before the node's own.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeUrl(Url);

/// Why a text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAUrl {
    /// The credential would cross a public network in the clear.
    #[error("expected https, since the credential would travel in the clear to another machine")]
    Clear,
    /// It carries a credential, a query or a fragment.
    #[error("expected no user, query or fragment")]
    Extra,
    /// It is no such address.
    #[error("expected an address like \"https://127.0.0.1:8080\", but found something else")]
    Malformed,
}

impl NodeUrl {
    pub(super) const REMEDY: &'static str =
        "use https, or http for this machine, a private address or a host name without dots";

    /// Reads an address.
    ///
    /// # Errors
    /// [`NotAUrl`] if it is none, or one that would show the credential.
    pub(crate) fn parse(text: &str) -> Result<Self, NotAUrl> {
        let url = Url::parse(text.trim_end_matches('/')).map_err(|_| NotAUrl::Malformed)?;
        let host = url.host().ok_or(NotAUrl::Malformed)?;
        match url.scheme() {
            "https" => {}
            "http" if is_near(&host) => {}
            "http" => return Err(NotAUrl::Clear),
            _ => return Err(NotAUrl::Malformed),
        }
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || url.query().is_some() || url.fragment().is_some() {
            return Err(NotAUrl::Extra);
        }
        Ok(Self(url))
    }

    /// The address of a path of the node's own, which begins with a slash.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0.as_str().trim_end_matches('/'))
    }
}

/// Whether only machines of the operator's own lie in between.
fn is_near(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => !name.contains('.') || name.ends_with(".onion"),
        Host::Ipv4(address) => near_address(IpAddr::V4(*address)),
        Host::Ipv6(address) => near_address(IpAddr::V6(*address)),
    }
}

fn near_address(address: IpAddr) -> bool {
    address.is_loopback()
        || match address {
            IpAddr::V4(address) => address.is_private(),
            IpAddr::V6(address) => address.is_unique_local(),
        }
}

impl std::fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl std::fmt::Debug for NodeUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
