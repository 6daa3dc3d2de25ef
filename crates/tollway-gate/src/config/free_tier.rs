//! What a client has free.

use tollway_core::money::Msat;
use tollway_core::wire::{Quota, WINDOW_SECONDS_MAX, Window};

use super::reader::{ConfigError, Node, Object};
use super::terms::PRICE_SATS_MAX;

/// The most free requests of one window.
const REQUESTS_MAX: u64 = 1_000_000_000;

/// What a client, known by its network, has free in every window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeTier {
    /// What it is counted under: the service, or the service and the route.
    pub plan: String,
    /// How much there is.
    pub limit: Limit,
    /// When it is whole again.
    pub window: Window,
    /// How many leading bits of an IPv4 address make one client.
    pub ipv4_prefix: u8,
    /// How many leading bits of an IPv6 address make one client.
    pub ipv6_prefix: u8,
}

/// How much is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So many requests.
    Requests(u64),
    /// Requests of this price together.
    Msat(Msat),
}

impl FreeTier {
    /// What a request of this price takes of it.
    #[must_use]
    pub const fn quota(&self, price: Msat) -> Quota {
        match self.limit {
            Limit::Requests(limit) => Quota::Requests { cost: 1, limit },
            Limit::Msat(limit) => Quota::Msat { cost: price, limit },
        }
    }

    pub(super) fn read(node: &Node<'_>, plan: String) -> Result<Self, ConfigError> {
        let fields = node.object(&["requests", "sats", "window", "ipv4_prefix", "ipv6_prefix"])?;
        Ok(Self {
            plan,
            limit: limit(&fields)?,
            window: match fields.optional("window") {
                Some(node) => window(&node)?,
                None => Window::Day,
            },
            // Who has an address has its neighbours too: the wider network is one client.
            ipv4_prefix: prefix(&fields, "ipv4_prefix", 24..=32)?,
            ipv6_prefix: prefix(&fields, "ipv6_prefix", 48..=64)?,
        })
    }
}

fn limit(fields: &Object<'_>) -> Result<Limit, ConfigError> {
    match fields.one_of(&["requests", "sats"])? {
        None => Err(fields.problem(
            "expected requests or sats, but found neither; write how much is free".to_owned(),
        )),
        Some((node, 0)) => node.integer(1, REQUESTS_MAX).map(Limit::Requests),
        Some((node, _)) => {
            let sats = node.integer(1, PRICE_SATS_MAX)?;
            Ok(Limit::Msat(Msat::from_sats(sats).unwrap_or(Msat::MAX)))
        }
    }
}

fn window(node: &Node<'_>) -> Result<Window, ConfigError> {
    const EXPECTED: &str = "\"day\", or a time such as \"90s\", \"15m\", \"1h\" or \"7d\"";
    let text = node.text(EXPECTED)?;
    if text == "day" {
        return Ok(Window::Day);
    }
    let fault = || node.fault(EXPECTED, "a day ends at midnight UTC; the longest time is 31d");
    let unit_s = match text.bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'd') => 86_400,
        _ => return Err(fault()),
    };
    text.get(..text.len() - 1)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse::<u64>().ok()?.checked_mul(unit_s))
        .filter(|seconds| (1..=WINDOW_SECONDS_MAX).contains(seconds))
        .map(|seconds| Window::Rolling { seconds })
        .ok_or_else(fault)
}

fn prefix(
    fields: &Object<'_>,
    name: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u8, ConfigError> {
    let default = *range.start();
    // Every prefix fits a byte.
    Ok(u8::try_from(fields.integer(name, default, range)?).unwrap_or(u8::MAX))
}
