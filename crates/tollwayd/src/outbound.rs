//! Calls to addresses that others have a say in: webhooks, Lightning addresses.
//!
//! An address out there must not become a way into the network that `tollwayd` stands in: only
//! public addresses are connected to. Names are judged by what they resolve to, in the very
//! resolution that the connection uses, so that a name that changes its mind gains nothing. No
//! redirect is followed, and no proxy is taken from the environment.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use url::{Host, Url};

/// A connection is there soon or never.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The virtual address of Azure's metadata, which lies among public ones.
const AZURE: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Why an address is not called. The texts never show it: it may hold a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It would travel in the clear.
    #[error("expected https")]
    Clear,
    /// It is no address, or carries a user.
    #[error("expected an address like \"https://example.com/path\"")]
    Malformed,
    /// It leads into a private network.
    #[error("expected a public address, but found a private one")]
    Private,
}

/// A client for addresses out there.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    pub(crate) client: Client,
    allow_private: bool,
}

impl Outbound {
    /// A client whose calls take no longer than `timeout` in all. With `allow_private` it calls
    /// any address, also without TLS.
    ///
    /// # Errors
    /// If no client can be built.
    pub(crate) fn new(allow_private: bool, timeout: Duration) -> reqwest::Result<Self> {
        Self::with_lookup(allow_private, timeout, system_lookup())
    }

    fn with_lookup(
        allow_private: bool,
        timeout: Duration,
        lookup: Lookup,
    ) -> reqwest::Result<Self> {
        let client = Client::builder()
            .timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .no_proxy();
        let client = match allow_private {
            true => client,
            false => client.dns_resolver(Arc::new(PublicOnly(lookup))),
        };
        Ok(Self { client: client.build()?, allow_private })
    }

    /// Judges an address before it is called; a name is judged again when it is resolved.
    ///
    /// # Errors
    /// [`Refusal`] if it is not to be called.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Refusal> {
        check(url, self.allow_private)
    }
}

/// What can be said of an address without resolving its name.
///
/// # Errors
/// [`Refusal`] if it is not to be called.
pub(crate) fn check(url: &Url, allow_private: bool) -> Result<(), Refusal> {
    let host = url.host().ok_or(Refusal::Malformed)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::Malformed);
    }
    match (url.scheme(), allow_private) {
        ("https", _) | ("http", true) => {}
        ("http", false) => return Err(Refusal::Clear),
        _ => return Err(Refusal::Malformed),
    }
    // The resolver is asked about names only.
    let public = match host {
        Host::Domain(_) => true,
        Host::Ipv4(address) => is_public_v4(address),
        Host::Ipv6(address) => is_public_v6(address),
    };
    if public || allow_private { Ok(()) } else { Err(Refusal::Private) }
}

/// Asks for the addresses of a name.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
    })
}

/// Resolves names to their public addresses.
struct PublicOnly(Lookup);

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let looked = (self.0)(name.as_str().to_owned());
        Box::pin(async move {
            let mut found = looked.await?;
            found.retain(|address| is_public(address.ip()));
            if found.is_empty() {
                return Err(Refusal::Private.into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether an address is on the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Everything that IANA's registry of special addresses does not call globally reachable is
/// refused, and metadata services that hide among public addresses.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        // This network, 10/8, loopback, multicast and what is reserved.
        [0 | 10 | 127 | 224..=255, ..] => true,
        // Shared by carriers: 100.64/10.
        [100, 64..=127, ..] => true,
        [169, 254, ..] | [192, 168, ..] | [198, 18 | 19, ..] => true,
        [172, 16..=31, ..] => true,
        // Protocol assignments, documentation, and relays of 6to4.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        _ => address == AZURE,
    };
    !special
}

/// Only 2000::/3 is given out at all. An IPv4 address inside is judged as one.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    match segments {
        // ::ffff:a.b.c.d, and what NAT64 makes of IPv4 addresses.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Teredo, ORCHID and other protocols; 6to4; documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2002, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => {
            false
        }
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.1.2.3",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "9.9.9.9",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn addresses_are_judged_as_a_browser_reads_them() {
        let judge = |text: &str, allow_private| check(&Url::parse(text).unwrap(), allow_private);
        for text in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]:8443/x",
            "https://169.254.169.254/latest",
            "https://127.1/",
        ] {
            assert_eq!(judge(text, false), Err(Refusal::Private), "{text}");
            assert_eq!(judge(text, true), Ok(()), "{text}");
        }
        assert_eq!(judge("http://example.com/", false), Err(Refusal::Clear));
        assert_eq!(judge("http://example.com/", true), Ok(()));
        assert_eq!(judge("https://example.com/", false), Ok(()));
        for text in ["https://a:b@example.com/", "ftp://example.com/", "data:x"] {
            assert_eq!(judge(text, true), Err(Refusal::Malformed), "{text}");
        }
    }

    /// What a client that asks this table says to a name, where a server listens on loopback.
    async fn called(
        addresses: &'static [&'static str],
        allow_private: bool,
    ) -> Result<u16, String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = axum::Router::new().fallback(async || "hello");
        tokio::spawn(async move { axum::serve(listener, router).await });
        let lookup: Lookup = Arc::new(|_name| {
            let found = addresses.iter().map(|it| SocketAddr::new(it.parse().unwrap(), 0));
            let found: Vec<_> = found.collect();
            Box::pin(std::future::ready(Ok(found)))
        });
        let timeout = Duration::from_secs(10);
        let outbound = Outbound::with_lookup(allow_private, timeout, lookup).unwrap();
        let host = if allow_private { "localhost" } else { "shop.example" };
        let sent = outbound.client.get(format!("http://{host}:{port}/")).send().await;
        sent.map(|reply| reply.status().as_u16()).map_err(|error| format!("{error:?}"))
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_called() {
        for addresses in [
            &["127.0.0.1"][..],
            &["::ffff:127.0.0.1"],
            &["10.0.0.1", "127.0.0.1"],
            &["169.254.169.254"],
        ] {
            let said = called(addresses, false).await.unwrap_err();
            assert!(said.contains("found a private one") || said.contains("Private"), "{said}");
        }
        assert_eq!(called(&[], true).await, Ok(200));
    }

    #[tokio::test]
    async fn the_system_s_own_names_for_this_machine_are_not_called() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let outbound = Outbound::new(false, Duration::from_secs(10)).unwrap();
        let sent = outbound.client.get(format!("http://localhost:{port}/")).send().await;
        let said = format!("{:?}", sent.unwrap_err());
        assert!(said.contains("Private"), "{said}");
    }
}
