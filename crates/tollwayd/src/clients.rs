//! Clients, known by their network under a secret of the day: no address is ever kept.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tollway_core::wire::{AllowanceRequest, ChallengeRequest, ClientKey, Quota, Window};

use crate::ledger::{AllowanceOrder, Asker, KeyBytes};

/// Days that a free tier's window may span besides today.
const DAY_S: u64 = 86_400;
/// An IPv6 client owns at least this network; single addresses cost nothing.
const CHALLENGE_IPV6_PREFIX: u8 = 64;

/// Today, and the secrets of the days, newest first.
#[derive(Clone, Debug)]
pub(crate) struct DaySecrets {
    pub(crate) day: u64,
    pub(crate) secrets: Vec<(u64, KeyBytes)>,
}

/// The text is no address, or its prefix is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an IP address without a port")]
pub(crate) struct NotAnAddress;

impl DaySecrets {
    /// Who asks for an invoice, and for what.
    ///
    /// # Errors
    /// [`NotAnAddress`] for any other text.
    pub(crate) fn asker(
        &self,
        client: &ClientKey,
        request: &ChallengeRequest,
    ) -> Result<Asker, NotAnAddress> {
        let network = network(&client.address, 32, CHALLENGE_IPV6_PREFIX)?;
        let secret = self.today();
        let top_up = request.top_up.map(|hash| *hash.as_bytes()).unwrap_or_default();
        let wanted = [
            request.amount_msat.get().to_be_bytes(),
            request.credit_msat.get().to_be_bytes(),
            request.seed_msat.get().to_be_bytes(),
            request.credit_ttl_s.unwrap_or_default().to_be_bytes(),
            u64::from(request.buys.is_credit()).to_be_bytes(),
        ];
        Ok(Asker {
            client: keyed(secret, &[b"challenge", &network]),
            offer: keyed(
                secret,
                &[
                    b"offer",
                    &network,
                    client.fingerprint.as_bytes(),
                    request.service.as_bytes(),
                    request.route.as_bytes(),
                    request.memo.as_bytes(),
                    request.certificate.as_deref().unwrap_or_default().as_bytes(),
                    request.coupon.as_deref().unwrap_or_default().as_bytes(),
                    &wanted.concat(),
                    &top_up,
                ],
            ),
        })
    }

    /// A use of a free tier.
    ///
    /// # Errors
    /// [`NotAnAddress`] for a client that is none.
    pub(crate) fn allowance(
        &self,
        request: &AllowanceRequest,
    ) -> Result<AllowanceOrder, NotAnAddress> {
        let client = &request.client;
        let network = network(&client.address, client.ipv4_prefix, client.ipv6_prefix)?;
        let (unit, cost, limit) = match request.quota {
            Quota::Requests { cost, limit } => (&b"requests"[..], cost, limit),
            Quota::Msat { cost, limit } => (&b"msat"[..], cost.get(), limit.get()),
        };
        let window = match request.window {
            Window::Day => 0,
            Window::Rolling { seconds } => seconds,
        };
        let key = |secret: &KeyBytes| {
            let parts: [&[u8]; 5] =
                [b"allowance", request.plan.as_bytes(), unit, &window.to_be_bytes(), &network];
            keyed(secret, &parts)
        };
        // A calendar day ends with its secret; a window that rolls may have begun under an
        // older one.
        let first_day = match request.window {
            Window::Day => self.day,
            Window::Rolling { seconds } => self.day.saturating_sub(seconds.div_ceil(DAY_S)),
        };
        let before = self.secrets.iter().filter(|(day, _)| (first_day..self.day).contains(day));
        Ok(AllowanceOrder {
            client: key(self.today()),
            before: before.map(|(_, secret)| key(secret)).collect(),
            window: request.window,
            limit,
            cost,
            route: request.route.clone(),
        })
    }

    fn today(&self) -> &KeyBytes {
        const NONE: &KeyBytes = &KeyBytes([0; 32]);
        self.secrets.iter().find(|(day, _)| *day == self.day).map_or(NONE, |(_, secret)| secret)
    }
}

/// The network of an address, with a mark that keeps IPv4 and IPv6 apart. An IPv4 address in
/// IPv6 clothes is the IPv4 address.
fn network(address: &str, ipv4_prefix: u8, ipv6_prefix: u8) -> Result<[u8; 17], NotAnAddress> {
    let address: IpAddr = address.parse().map_err(|_| NotAnAddress)?;
    let (mark, bits, prefix) = match address.to_canonical() {
        IpAddr::V4(v4) => (4, u128::from(v4.to_bits()) << 96, ipv4_prefix.min(32)),
        IpAddr::V6(v6) => (6, v6.to_bits(), ipv6_prefix.min(128)),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    let mut network = [mark; 17];
    if let Some(rest) = network.get_mut(1..) {
        rest.copy_from_slice(&(bits & mask).to_be_bytes());
    }
    Ok(network)
}

/// HMAC-SHA256 of the parts, each with its length before it.
fn keyed(secret: &KeyBytes, parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&secret.0) else { return [0; 32] };
    for part in parts {
        mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_cut_and_kept_apart() {
        let same = |one: &str, other: &str| {
            network(one, 24, 48).unwrap() == network(other, 24, 48).unwrap()
        };
        assert!(same("192.0.2.1", "192.0.2.254"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.9"));
        assert!(!same("192.0.2.1", "192.0.3.1"));
        assert!(same("2001:db8:1::1", "2001:db8:1:ffff::9"));
        assert!(!same("2001:db8:1::1", "2001:db8:2::1"));
        assert!(!same("0.0.0.1", "::1"));
        for bad in ["", "192.0.2.1:80", "localhost", "1.2.3", "[::1]"] {
            assert_eq!(network(bad, 24, 48), Err(NotAnAddress), "{bad}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let secret = KeyBytes([7; 32]);
        assert_ne!(keyed(&secret, &[b"ab", b"c"]), keyed(&secret, &[b"a", b"bc"]));
        assert_ne!(keyed(&secret, &[b"a"]), keyed(&KeyBytes([8; 32]), &[b"a"]));
    }
}
