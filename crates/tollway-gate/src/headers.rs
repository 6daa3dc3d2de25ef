//! What happens to headers on their way through the gate.

use std::borrow::Cow;

use tollway_core::header::{PAYMENT_AUTHORIZATION, read_credential, read_payment};
use tollway_core::header_block::HeaderBlock;
use tollway_core::minted::MintedCaveat;
use tollway_core::money::{MSAT_PER_SAT, Msat};
use tollway_core::{DecimalDigits, HexDigits};

use crate::host::Stream;

/// Every header that the gate sets itself; what a client sends under this prefix is removed.
const OURS: &str = "x-toll-";
/// Carriers of our credential that are removed whole.
const MACAROON_CARRIERS: [&str; 2] = ["macaroon", "grpc-metadata-macaroon"];
/// Carriers of x402 payments, of the second version of the protocol and of the first.
pub(crate) const X402_CARRIERS: [&str; 2] = ["payment-signature", "x-payment"];
/// Headers that toll-booth sets, which an upstream of its may still read.
const TOLL_BOOTH: [&str; 2] = [TOLL_BOOTH_BALANCE, "x-free-remaining"];
/// What is left, in sats.
pub(crate) const TOLL_BOOTH_BALANCE: &str = "x-credit-balance";
/// The response headers that a browser's script may read.
pub(crate) const EXPOSED: &str = "WWW-Authenticate, Payment-Receipt, Payment-Required, Payment-Response, X-Payment-Response, Retry-After, Idempotent-Replayed, X-Toll-Cost-Msat, X-Toll-Held-Msat, \
     X-Toll-Balance-Msat, \
     X-Toll-Low-Balance, X-Toll-Free-Remaining, X-Toll-Free-Reset, X-Toll-Tier, X-Toll-Price-Msat";

/// A header that a client may send once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeated;

/// The value of a header that must not come twice.
pub(crate) fn single<'a>(
    headers: &'a HeaderBlock,
    name: &str,
) -> Result<Option<&'a [u8]>, Repeated> {
    let mut values = headers.find_all(name);
    let value = values.next();
    if values.next().is_some() { Err(Repeated) } else { Ok(value) }
}

/// Removes what must not reach the upstream: our credentials and whatever a client sent in our
/// own headers' names. `authorization_rest` is what remains of `Authorization`; `rails` says
/// whether credentials of other rails are ours too.
pub(crate) fn strip_request(
    stream: &impl Stream,
    headers: &HeaderBlock,
    authorization_rest: Option<&[u8]>,
    rails: bool,
) {
    for (name, value) in headers.iter() {
        if name == b"authorization" {
            if authorization_rest != Some(value) {
                stream.set_request_header("authorization", authorization_rest);
            }
        } else if name.starts_with(OURS.as_bytes())
            || is_one_of(name, &MACAROON_CARRIERS)
            || is_one_of(name, &TOLL_BOOTH)
            || (rails
                && (is_one_of(name, &[PAYMENT_AUTHORIZATION]) || is_one_of(name, &X402_CARRIERS)))
        {
            // Names are ASCII: proxies refuse others.
            if let Ok(name) = core::str::from_utf8(name) {
                stream.set_request_header(name, None);
            }
        }
    }
}

pub(crate) fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|one| name == one.as_bytes())
}

/// What of `Authorization` is for the upstream.
pub(crate) fn authorization_rest(headers: &HeaderBlock, rails: bool) -> Option<Vec<u8>> {
    let rest = read_credential(headers).authorization_rest;
    if rails { read_payment(headers, rest).authorization_rest } else { rest }
}

/// Tells the upstream who paid and what. As all of these, of a request that was stripped before.
pub(crate) fn mark_paid_request(
    stream: &impl Stream,
    account: &HexDigits,
    cost: Msat,
    balance: Msat,
) {
    stream.add_request_header("x-toll-account", account.as_str().as_bytes());
    stream.add_request_header("x-toll-cost-msat", DecimalDigits::of(cost.get()).as_bytes());
    stream.add_request_header("x-toll-balance-msat", DecimalDigits::of(balance.get()).as_bytes());
}

/// Tells the upstream what is left as toll-booth does.
pub(crate) fn mark_toll_booth_request(stream: &impl Stream, balance: Msat) {
    let sats = DecimalDigits::of(balance.get() / MSAT_PER_SAT);
    stream.add_request_header(TOLL_BOOTH_BALANCE, sats.as_bytes());
}

/// Tells the client the same.
pub(crate) fn mark_toll_booth_response(stream: &impl Stream, balance: Msat) {
    let sats = DecimalDigits::of(balance.get() / MSAT_PER_SAT);
    stream.set_response_header(TOLL_BOOTH_BALANCE, Some(sats.as_bytes()));
}

/// Tells the upstream whose session it is.
pub(crate) fn mark_session_request(stream: &impl Stream, account: &HexDigits) {
    stream.add_request_header("x-toll-account", account.as_str().as_bytes());
    stream.add_request_header("x-toll-cost-msat", b"0");
    mark_tier(stream, b"session");
}

/// Tells the upstream in which tier it is asked.
pub(crate) fn mark_tier(stream: &impl Stream, tier: &[u8]) {
    stream.add_request_header("x-toll-tier", tier);
}

/// Tells the upstream what the operator has written into the token.
pub(crate) fn mark_minted(stream: &impl Stream, minted: &[MintedCaveat]) {
    for caveat in minted {
        let name = ["x-toll-caveat-", caveat.name()].concat();
        stream.set_request_header(&name, Some(caveat.value().as_bytes()));
    }
}

/// Tells the upstream that nobody paid.
pub(crate) fn mark_free_request(stream: &impl Stream) {
    stream.add_request_header("x-toll-free", b"true");
}

/// What a client is told beside the upstream's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseMarks {
    /// It paid this and has that left.
    Paid {
        cost: Msat,
        balance: Msat,
        /// The balance that should be left, where it is not.
        low: Option<Msat>,
    },
    /// So much is set aside; what it costs shows at the end.
    Held { held: Msat, balance: Msat },
    /// It had the request free.
    FreeTier { remaining: u64, resets_at: u64 },
    /// It has bought time.
    Session,
}

/// Tells the client what the request meant for it, and keeps shared caches from handing the
/// response to others.
pub(crate) fn mark_response(stream: &impl Stream, marks: ResponseMarks, from_browser: bool) {
    let set = |name, number: u64| {
        stream.set_response_header(name, Some(DecimalDigits::of(number).as_bytes()));
    };
    match marks {
        ResponseMarks::Paid { cost, balance, low } => {
            set("x-toll-cost-msat", cost.get());
            set("x-toll-balance-msat", balance.get());
            if let Some(threshold) = low {
                set("x-toll-low-balance", threshold.get());
            }
        }
        ResponseMarks::Held { held, balance } => {
            set("x-toll-held-msat", held.get());
            set("x-toll-balance-msat", balance.get());
        }
        ResponseMarks::FreeTier { remaining, resets_at } => {
            set("x-toll-free-remaining", remaining);
            set("x-toll-free-reset", resets_at);
        }
        ResponseMarks::Session => {
            set("x-toll-cost-msat", 0);
            stream.set_response_header("x-toll-tier", Some(b"session"));
        }
    }
    let upstream = stream.response_header("cache-control");
    match (private_cache_control(upstream.as_deref()), upstream) {
        (Some(value), None) => stream.add_response_header("cache-control", &value),
        (Some(value), Some(_)) => stream.set_response_header("cache-control", Some(&value)),
        (None, _) => {}
    }
    if from_browser {
        stream.add_response_header("access-control-expose-headers", EXPOSED.as_bytes());
    }
}

/// The `Cache-Control` of a paid response, or `None` when the upstream's own already keeps
/// shared caches out (RFC 9111, section 5.2.2).
fn private_cache_control(upstream: Option<&[u8]>) -> Option<Cow<'static, [u8]>> {
    let mut value = Cow::Borrowed(&b"private"[..]);
    for directive in upstream.unwrap_or_default().split(|byte| *byte == b',') {
        let directive = directive.trim_ascii();
        let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"no-store")
            // The form private="field" restricts only that field.
            || directive.eq_ignore_ascii_case(b"private")
        {
            return None;
        }
        let shared = [&b"public"[..], b"s-maxage", b"private", b"proxy-revalidate"];
        if !directive.is_empty() && !shared.iter().any(|word| name.eq_ignore_ascii_case(word)) {
            value.to_mut().extend_from_slice(b", ");
            value.to_mut().extend_from_slice(directive);
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paid_responses_stay_out_of_shared_caches() {
        for (upstream, expected) in [
            (None, Some("private")),
            (Some(""), Some("private")),
            (Some("public, max-age=60"), Some("private, max-age=60")),
            (Some("PUBLIC,s-maxage=9,max-age=1"), Some("private, max-age=1")),
            (Some("no-cache"), Some("private, no-cache")),
            (Some("private=\"set-cookie\", max-age=5"), Some("private, max-age=5")),
            (Some("max-age=60, Private"), None),
            (Some("no-store"), None),
        ] {
            let value = private_cache_control(upstream.map(str::as_bytes));
            assert_eq!(value.as_deref(), expected.map(str::as_bytes), "{upstream:?}");
        }
    }
}
