//! The tokens of toll-booth 0.2: V2 macaroons with an identifier like ours, in unpadded
//! base64url, whose caveats are written `key = value`.
//!
//! | caveat | meaning here |
//! |---|---|
//! | `payment_hash = <64 hex digits>` | the identifier's, again; every token has it |
//! | `credit_balance = <integer>` | the credit that it was sold with |
//! | `currency = sat` or `usd` | the unit of the credit |
//! | `route = <path>` or `<path>/*` | the only path; with `/*`, or anything below it |
//! | `expires = <RFC 3339>` | the first moment at which it has ended |
//! | `ip = <address>` | the client's address as text |
//!
//! A key that comes twice refuses, also where a holder only narrows: the package does so too. It
//! mints the first three only; the others come from holders and other minters.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::lightning_toll::push_json_text;
use super::{Admission, Bound, Format, LegacyKey, LegacySecret, parse_integer, split_caveat};
use crate::challenge::is_invoice;
use crate::identifier::{Identifier, TokenId};
use crate::macaroon::Macaroon;
use crate::money::Msat;
use crate::payment::PaymentHash;
use crate::rfc3339;
use crate::secret::RootKey;
use crate::verdict::Rejection;

/// What the package calls a client whose address it does not know.
const UNKNOWN_IP: &str = "unknown";

/// A token as the package's `mint_macaroon` mints it, without custom caveats.
#[must_use]
pub fn mint(
    root_key: &RootKey,
    payment_hash: PaymentHash,
    token_id: [u8; 32],
    credit_sats: u64,
) -> Macaroon {
    let identifier = Identifier { payment_hash, token_id: TokenId::from_bytes(token_id) }.encode();
    Macaroon::mint(root_key, "", &identifier)
        .attenuate(format!("payment_hash = {payment_hash}").as_bytes())
        .attenuate(format!("credit_balance = {credit_sats}").as_bytes())
        .attenuate(b"currency = sat")
}

/// The text of a token in the package's spelling.
#[must_use]
pub fn to_base64(token: &Macaroon) -> String {
    URL_SAFE_NO_PAD.encode(token.encode())
}

/// A challenge in the package's form.
#[derive(Clone, Debug)]
pub struct Challenge<'a> {
    /// The token.
    pub token: &'a Macaroon,
    /// The BOLT 11 invoice.
    pub invoice: &'a str,
    /// The invoice's payment hash.
    pub payment_hash: PaymentHash,
    /// What the invoice asks, in sats.
    pub amount_sats: u64,
    /// What is sold.
    pub description: &'a str,
    /// The path that was asked for.
    pub route: &'a str,
}

impl Challenge<'_> {
    /// The value of `WWW-Authenticate`. `None` for an invoice that is none, or must not be written
    /// into a header.
    #[must_use]
    pub fn www_authenticate(&self) -> Option<String> {
        let header =
            || format!(r#"L402 macaroon="{}", invoice="{}""#, to_base64(self.token), self.invoice);
        is_invoice(self.invoice).then(header)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> String {
        let mut json = String::from(r#"{"l402":{"scheme":"L402""#);
        for (name, text) in [
            (r#","description":"#, &*format!("Payment required: {}", self.description)),
            (r#","invoice":"#, self.invoice),
            (r#","macaroon":"#, &to_base64(self.token)),
            (r#","payment_hash":"#, self.payment_hash.hex_digits().as_str()),
        ] {
            json.push_str(name);
            push_json_text(&mut json, text);
        }
        json.push_str(&format!(r#","amount_sats":{},"route":"#, self.amount_sats));
        push_json_text(&mut json, self.route);
        json.push_str("}}");
        json
    }
}

/// Whether a macaroon is to be read as one of toll-booth's: our own vocabulary has no
/// `payment_hash`, so nothing of ours can be mistaken for one.
#[must_use]
pub fn is_toll_booth(token: &Macaroon) -> bool {
    token.caveats().any(|caveat| {
        let mut parts = caveat.splitn(2, |byte| *byte == b'=');
        parts.next().is_some_and(|key| key.trim_ascii() == b"payment_hash")
            && parts.next().is_some()
    })
}

/// Checks identifier, origin and caveats, in this order.
#[cold]
#[inline(never)]
pub(crate) fn admit(
    token: &Macaroon,
    keys: &[LegacyKey],
) -> Result<(PaymentHash, Admission), Rejection> {
    let identifier =
        Identifier::decode(token.identifier()).map_err(|_| Rejection::IdentifierUnknown)?;
    let mut services: Vec<String> = Vec::new();
    for key in keys {
        let of_key = key
            .services_if(|secret| matches!(secret, LegacySecret::TollBooth(k) if token.verify(k)));
        services.extend_from_slice(of_key);
    }
    if services.is_empty() {
        return Err(Rejection::SignatureInvalid);
    }
    let payment_hash = identifier.payment_hash;
    let Caveats { bounds, credit } = Caveats::read(token, &payment_hash)?;
    Ok((payment_hash, Admission { format: Format::TollBooth, services, bounds, credit }))
}

#[derive(Debug, Default)]
struct Caveats {
    bounds: Vec<Bound>,
    credit: Option<Msat>,
}

impl Caveats {
    fn read(token: &Macaroon, payment_hash: &PaymentHash) -> Result<Self, Rejection> {
        let mut keys: Vec<&str> = Vec::new();
        let mut bounds = Vec::new();
        let mut credit = None;
        let mut currency = "sat";
        for caveat in token.caveats() {
            let text = core::str::from_utf8(caveat).map_err(|_| Rejection::CaveatMalformed)?;
            let (key, value) = split_caveat(text)?;
            if keys.contains(&key) {
                return Err(Rejection::CaveatMalformed);
            }
            keys.push(key);
            match key {
                "payment_hash" if value == payment_hash.hex_digits().as_str() => {}
                "payment_hash" => return Err(Rejection::CaveatMalformed),
                "credit_balance" => match parse_integer(value)? {
                    (true, _) => return Err(Rejection::CaveatMalformed),
                    (false, units) => credit = Some(units),
                },
                "currency" if matches!(value, "sat" | "usd") => currency = value,
                "currency" => return Err(Rejection::CaveatMalformed),
                _ => bounds.push(read_bound(key, value)?),
            }
        }
        // A credit in cents buys nothing here: no rate was agreed on.
        let credit = credit.filter(|_| currency == "sat");
        let credit = credit.map(|sats| Msat::from_sats(sats).unwrap_or(Msat::MAX));
        Ok(Self { bounds, credit })
    }
}

fn read_bound(key: &str, value: &str) -> Result<Bound, Rejection> {
    Ok(match key {
        "route" => match value.strip_suffix("/*") {
            Some(top) => Bound::PathBelow(top.to_owned()),
            None => Bound::Path(value.to_owned()),
        },
        "expires" => Bound::EndsAt(rfc3339::parse_ms(value).ok_or(Rejection::CaveatMalformed)?),
        "ip" if value == UNKNOWN_IP => return Err(Rejection::CaveatMalformed),
        "ip" => Bound::Ip(value.to_owned()),
        _ => return Err(Rejection::CaveatUnknown),
    })
}
