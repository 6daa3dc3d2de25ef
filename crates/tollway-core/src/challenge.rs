//! The challenge: a macaroon and an invoice for one payment hash, in the one form that every
//! released client can pay.

use alloc::format;
use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::caveat::{Caveat, Service, is_service_name};
use crate::identifier::{Identifier, TokenId};
use crate::json_ser::to_json;
use crate::keyring::Keyring;
use crate::macaroon::Macaroon;
use crate::minted::{MintedCaveat, sealed};
use crate::money::Msat;
use crate::payment::PaymentHash;

/// The longest invoice. Real ones have 300 to 700 characters; the header must stay well below
/// what proxies let through.
pub const INVOICE_BYTES_MAX: usize = 4 * 1024;

/// The longest location; it is a hint, and copied into every token.
pub const LOCATION_BYTES_MAX: usize = 255;

/// How often a token id is drawn again to keep "LSAT" out of the token's text.
const REROLLS_MAX: usize = 4;

/// What the `type` of a body begins with, as in other payment schemes.
pub const PROBLEM_BASE: &str = "https://paymentauth.org/problems/";
/// How it ends where nothing is wrong with what the request presents.
pub const PAYMENT_REQUIRED: &str = "payment-required";

/// What a new token is to say.
#[derive(Clone, Copy, Debug)]
pub struct ChallengeTerms<'a> {
    /// A hint where the token may be used; Aperture writes `lsat`. Not covered by the signature.
    pub location: &'a str,
    /// The payment that buys the token.
    pub payment_hash: PaymentHash,
    /// The only service that the token may be used for; see [`is_service_name`].
    pub service: &'a str,
    /// The way of paying that it buys; see [`crate::caveat::TIER_CREDITS`].
    pub tier: u8,
    /// When the token's use ends, Unix time in seconds.
    pub valid_until: u64,
    /// Fresh randomness for the token id.
    pub random: [u8; 32],
}

/// A challenge that can be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge {
    macaroon: Macaroon,
    macaroon_base64: String,
    invoice: String,
    payment_hash: PaymentHash,
    valid_until: u64,
}

impl Challenge {
    /// Mints a token with the current key and joins it with the invoice that pays for it.
    ///
    /// # Errors
    /// [`ChallengeError`] for terms or an invoice that must not be written into a header.
    pub fn mint(
        keyring: &Keyring,
        terms: ChallengeTerms<'_>,
        invoice: &str,
    ) -> Result<Self, ChallengeError> {
        Self::mint_with(keyring, terms, &[], invoice)
    }

    /// The same with caveats of the operator's.
    ///
    /// # Errors
    /// As [`Challenge::mint`].
    pub fn mint_with(
        keyring: &Keyring,
        terms: ChallengeTerms<'_>,
        minted: &[MintedCaveat],
        invoice: &str,
    ) -> Result<Self, ChallengeError> {
        if !is_service_name(terms.service) {
            return Err(ChallengeError::BadServiceName);
        }
        if terms.location.len() > LOCATION_BYTES_MAX {
            return Err(ChallengeError::LocationTooLong);
        }
        if !is_invoice(invoice) {
            return Err(ChallengeError::BadInvoice);
        }
        let mut macaroon = mint_token(keyring, &terms, minted);
        let mut macaroon_base64 = macaroon.to_base64();
        let mut random = terms.random;
        for _ in 0..REROLLS_MAX {
            // @getalby/lightning-tools 9 cuts the first "LSAT" out of the header, wherever it is.
            if !macaroon_base64.as_bytes().windows(4).any(|part| part == b"LSAT") {
                break;
            }
            random = Sha256::digest(random).into();
            macaroon = mint_token(keyring, &ChallengeTerms { random, ..terms }, minted);
            macaroon_base64 = macaroon.to_base64();
        }
        Ok(Self {
            macaroon,
            macaroon_base64,
            invoice: invoice.into(),
            payment_hash: terms.payment_hash,
            valid_until: terms.valid_until,
        })
    }

    /// The value of the first `WWW-Authenticate` line.
    ///
    /// No byte of it may change: clients match exactly this order, quoting and spacing, and
    /// parameters before `invoice` break six of eight.
    #[must_use]
    pub fn www_authenticate(&self) -> String {
        format!(r#"L402 macaroon="{}", invoice="{}""#, self.macaroon_base64, self.invoice)
    }

    /// The same challenge under the scheme's old name, for clients that know only that; it stands
    /// before the other line.
    #[must_use]
    pub fn lsat(&self) -> String {
        format!(r#"LSAT macaroon="{}", invoice="{}""#, self.macaroon_base64, self.invoice)
    }

    /// The JSON body: the same challenge for clients that read no header, and the reasons.
    #[must_use]
    pub fn body(&self, notes: ChallengeNotes<'_>) -> ChallengeBody {
        ChallengeBody {
            problem_type: [PROBLEM_BASE, notes.problem].concat(),
            title: "Payment Required".into(),
            status: 402,
            detail: notes.detail.into(),
            code: notes.code.into(),
            invoice: self.invoice.clone(),
            macaroon: self.macaroon_base64.clone(),
            amount_sats: notes.amount.to_sats_rounded_up(),
            price_msat: notes.price,
            credit_msat: notes.credit,
            payment_hash: self.payment_hash,
            expires_at: self.valid_until,
            invoice_expires_at: notes.invoice_expires_at,
            description: notes.description.into(),
            balance_msat: notes.balance,
        }
    }

    /// The token.
    #[must_use]
    pub const fn macaroon(&self) -> &Macaroon {
        &self.macaroon
    }

    /// The invoice.
    #[must_use]
    pub fn invoice(&self) -> &str {
        &self.invoice
    }

    /// The payment that buys the token.
    #[must_use]
    pub const fn payment_hash(&self) -> PaymentHash {
        self.payment_hash
    }

    /// When the token's use ends, Unix time in seconds.
    #[must_use]
    pub const fn valid_until(&self) -> u64 {
        self.valid_until
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenge")
            .field("payment_hash", &self.payment_hash)
            .field("valid_until", &self.valid_until)
            .finish_non_exhaustive()
    }
}

fn mint_token(keyring: &Keyring, terms: &ChallengeTerms<'_>, minted: &[MintedCaveat]) -> Macaroon {
    let (key_id, key) = keyring.current();
    let token_id = TokenId::new(key_id, terms.random);
    let identifier = Identifier { payment_hash: terms.payment_hash, token_id };
    let identifier = sealed(identifier, minted).encode();
    let services =
        Caveat::Services([Service { name: terms.service.into(), tier: terms.tier }].into());
    let valid_until =
        Caveat::ValidUntil { service: terms.service.into(), unix_s: terms.valid_until };
    let token = Macaroon::mint(&key.root_key(&identifier), terms.location, &identifier)
        .attenuate(format!("{services}").as_bytes())
        .attenuate(format!("{valid_until}").as_bytes());
    minted.iter().fold(token, |token, caveat| token.attenuate(format!("{caveat}").as_bytes()))
}

/// A lowercase bech32 string; anything else could end the quoted value in the header.
pub(crate) fn is_invoice(text: &str) -> bool {
    (1..=INVOICE_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
}

/// What the body says beside the challenge itself.
#[derive(Clone, Copy, Debug)]
pub struct ChallengeNotes<'a> {
    /// Why payment is required and what to do, for a person.
    pub detail: &'a str,
    /// The same for a program, such as [`crate::credential::Rejection::code`].
    pub code: &'a str,
    /// The same as other payment schemes have it: [`PAYMENT_REQUIRED`], or a fault of theirs.
    pub problem: &'a str,
    /// What the invoice asks.
    pub amount: Msat,
    /// What this request costs.
    pub price: Msat,
    /// The credit that the payment buys, if it buys credit.
    pub credit: Option<Msat>,
    /// When the invoice can no longer be paid, Unix time in seconds.
    pub invoice_expires_at: u64,
    /// What is sold.
    pub description: &'a str,
    /// What the presented account still has, if there is one.
    pub balance: Option<Msat>,
}

/// The body of a 402, `application/problem+json`. Clients that read no headers pay from it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChallengeBody {
    /// [`PROBLEM_BASE`] and a problem.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// The status in words.
    pub title: String,
    /// 402.
    pub status: u16,
    /// Why payment is required and what to do, for a person.
    pub detail: String,
    /// The same for a program.
    pub code: String,
    /// The BOLT 11 invoice.
    pub invoice: String,
    /// The token, in padded standard base64.
    pub macaroon: String,
    /// What the invoice asks, in whole satoshi. lightning-toll's client caps by it, and reads a
    /// missing one as free.
    pub amount_sats: u64,
    /// What this request costs.
    pub price_msat: Msat,
    /// The credit that the payment buys, a bonus included; absent where it buys none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit_msat: Option<Msat>,
    /// The invoice's payment hash.
    pub payment_hash: PaymentHash,
    /// Until when the paid credential is valid, Unix time in seconds; clients cache by it.
    pub expires_at: u64,
    /// When the invoice can no longer be paid, Unix time in seconds.
    pub invoice_expires_at: u64,
    /// What is sold.
    pub description: String,
    /// What the presented account still has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_msat: Option<Msat>,
}

impl ChallengeBody {
    /// The JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Text and integers always serialise; a client without a body still has the header.
        to_json(self).unwrap_or_default()
    }
}

impl fmt::Debug for ChallengeBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChallengeBody")
            .field("code", &self.code)
            .field("payment_hash", &self.payment_hash)
            .field("amount_sats", &self.amount_sats)
            .finish_non_exhaustive()
    }
}

/// Why no challenge can be made of these parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChallengeError {
    /// The service's name is not one; see [`is_service_name`].
    BadServiceName,
    /// The location is longer than [`LOCATION_BYTES_MAX`].
    LocationTooLong,
    /// The invoice is empty, longer than [`INVOICE_BYTES_MAX`], or not lowercase bech32.
    BadInvoice,
}

impl fmt::Display for ChallengeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadServiceName => f.write_str(
                "expected a service name of 1 to 64 of a-z, 0-9, _ and -, but found another",
            ),
            Self::LocationTooLong => {
                write!(
                    f,
                    "expected a location of at most {LOCATION_BYTES_MAX} bytes, but found more"
                )
            }
            Self::BadInvoice => {
                f.write_str("expected an invoice of a-z and 0-9, but found other text")
            }
        }
    }
}

impl core::error::Error for ChallengeError {}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::caveat::TIER_CREDITS;
    use crate::entropy::Seed;
    use crate::id::KeyId;
    use crate::secret::MasterKey;
    use crate::wire::{KeyringKey, KeyringReply};

    const INVOICE: &str =
        "lnbcrt210n1p4sqgwupp5d3s0gp8czear3lrsatu259avx5gz80hcd09e6yyx5xd0a9da2ve";

    const TERMS: ChallengeTerms<'_> = ChallengeTerms {
        location: "lsat",
        payment_hash: PaymentHash::from_bytes([0x11; 32]),
        service: "joke",
        tier: TIER_CREDITS,
        valid_until: 1_700_000_000,
        random: [0x22; 32],
    };

    fn keyring() -> Keyring {
        let current = KeyId::new(7);
        let keys = [KeyringKey { id: current, secret: MasterKey::from_bytes([1; 32]) }];
        let reply = KeyringReply {
            current,
            keys: keys.into(),
            seed: Seed::from_bytes([0; 32]),
            revoked: Vec::new(),
            legacy: Vec::new(),
            revision: 0,
            rates: Vec::new(),
            limited: Vec::new(),
        };
        Keyring::from_reply(&reply).unwrap()
    }

    fn notes() -> ChallengeNotes<'static> {
        ChallengeNotes {
            detail: "Pay \"this\".",
            code: "payment_required",
            problem: PAYMENT_REQUIRED,
            amount: Msat::new(20_001).unwrap(),
            price: Msat::from_sats(5).unwrap(),
            credit: Some(Msat::from_sats(22).unwrap()),
            invoice_expires_at: 1_600_000_000,
            description: "A joke",
            balance: None,
        }
    }

    #[test]
    fn ok_the_token_says_what_the_terms_say() {
        let challenge = Challenge::mint(&keyring(), TERMS, INVOICE).unwrap();
        let macaroon = challenge.macaroon();
        assert_eq!(macaroon.location(), "lsat");
        let identifier = Identifier::decode(macaroon.identifier()).unwrap();
        assert_eq!(identifier.payment_hash, TERMS.payment_hash);
        assert_eq!(identifier.token_id, TokenId::new(KeyId::new(7), [0x22; 32]));
        let caveats: Vec<_> = macaroon.caveats().collect();
        assert_eq!(caveats, [&b"services=joke:0"[..], b"joke_valid_until=1700000000"]);
        let root_key = MasterKey::from_bytes([1; 32]).root_key(macaroon.identifier());
        assert!(macaroon.verify(&root_key));
    }

    #[test]
    fn ok_the_header_is_the_canonical_line() {
        let challenge = Challenge::mint(&keyring(), TERMS, INVOICE).unwrap();
        let macaroon = challenge.macaroon().to_base64();
        let expected = format!("L402 macaroon=\"{macaroon}\", invoice=\"{INVOICE}\"");
        assert_eq!(challenge.www_authenticate(), expected);
    }

    #[test]
    fn ok_the_body_has_its_members_in_order() {
        let challenge = Challenge::mint(&keyring(), TERMS, INVOICE).unwrap();
        let body = challenge.body(notes());
        let expected = format!(
            concat!(
                r#"{{"type":"https://paymentauth.org/problems/payment-required","#,
                r#""title":"Payment Required","status":402,"detail":"Pay \"this\".","#,
                r#""code":"payment_required","invoice":"{}","macaroon":"{}","amountSats":21,"#,
                r#""priceMsat":5000,"creditMsat":22000,"paymentHash":"{}","expiresAt":1700000000,"#,
                r#""invoiceExpiresAt":1600000000,"description":"A joke"}}"#,
            ),
            INVOICE,
            challenge.macaroon().to_base64(),
            "11".repeat(32),
        );
        assert_eq!(body.to_json(), expected);
        assert_eq!(serde_json::from_str::<ChallengeBody>(&expected).unwrap(), body);
        let session = challenge.body(ChallengeNotes { credit: None, ..notes() });
        assert!(!session.to_json().contains("creditMsat"));
        let with_balance = challenge.body(ChallengeNotes { balance: Some(Msat::ZERO), ..notes() });
        assert!(with_balance.to_json().ends_with(r#","balanceMsat":0}"#));
    }

    #[test]
    fn ok_a_token_id_that_spells_the_old_scheme_is_drawn_again() {
        let mut random = [0x22; 32];
        // These three bytes fall on a group of four characters in the token's text.
        random[5..8].copy_from_slice(&[0x2d, 0x20, 0x13]);
        let terms = ChallengeTerms { random, ..TERMS };
        assert!(mint_token(&keyring(), &terms, &[]).to_base64().contains("LSAT"));
        let challenge = Challenge::mint(&keyring(), terms, INVOICE).unwrap();
        assert!(!challenge.www_authenticate().contains("LSAT"));
        let identifier = Identifier::decode(challenge.macaroon().identifier()).unwrap();
        assert_eq!(identifier.payment_hash, TERMS.payment_hash);
        assert_eq!(identifier.token_id.key_id(), KeyId::new(7));
    }

    #[test]
    fn err_text_that_could_leave_its_place_in_the_header() {
        let mint = |terms, invoice: &str| Challenge::mint(&keyring(), terms, invoice).unwrap_err();
        for service in ["", "Joke", "joke:1", "a,b", "a=b", "a b", "a\r\nb"] {
            let terms = ChallengeTerms { service, ..TERMS };
            assert_eq!(mint(terms, INVOICE), ChallengeError::BadServiceName, "{service}");
        }
        let location = "x".repeat(LOCATION_BYTES_MAX + 1);
        let terms = ChallengeTerms { location: &location, ..TERMS };
        assert_eq!(mint(terms, INVOICE), ChallengeError::LocationTooLong);
        let long = "a".repeat(INVOICE_BYTES_MAX + 1);
        for invoice in ["", "LNBC1", "ln bc", "ln\"bc", "ln\r\nbc", "ln\u{e9}", "ln,bc", &long] {
            assert_eq!(mint(TERMS, invoice), ChallengeError::BadInvoice, "{invoice}");
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let challenge = Challenge::mint(&keyring(), TERMS, INVOICE).unwrap();
        let shown = format!("{challenge:?} {:?}", challenge.body(notes()));
        assert!(!shown.contains(&challenge.macaroon().to_base64()), "{shown}");
    }
}
