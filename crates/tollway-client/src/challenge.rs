//! A challenge that is safe to pay.

use lightning_invoice::Bolt11Invoice;
use tollway_core::identifier::{Identifier, IdentifierError};
use tollway_core::macaroon::{Macaroon, MacaroonError};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use crate::auth_params::AuthParams;

/// A macaroon and the invoice that pays for exactly this macaroon.
#[derive(Clone, Debug)]
pub struct Challenge {
    macaroon_text: String,
    macaroon: Macaroon,
    invoice: Bolt11Invoice,
    payment_hash: PaymentHash,
    amount: Msat,
}

/// Why a 402 cannot be paid, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// No `WWW-Authenticate` line names L402 or LSAT.
    #[error("expected an L402 challenge in WWW-Authenticate, but found none")]
    NotL402,
    /// The challenge has no macaroon.
    #[error("expected a macaroon in the challenge, but found none")]
    NoMacaroon,
    /// The challenge has no invoice.
    #[error("expected an invoice in the challenge, but found none")]
    NoInvoice,
    /// The macaroon cannot be read.
    #[error("the challenge's macaroon cannot be read: {0}")]
    BadMacaroon(MacaroonError),
    /// The macaroon does not say which payment it is for.
    #[error("the challenge's macaroon does not say which payment opens it: {0}")]
    BadIdentifier(IdentifierError),
    /// The invoice is not BOLT 11, or its signature is wrong.
    #[error("expected a BOLT 11 invoice in the challenge, but found other text")]
    BadInvoice,
    /// The invoice leaves the amount to the payer.
    #[error("expected an invoice with an amount, but found one that leaves it to the payer")]
    Amountless,
    /// The invoice pays for something else than this macaroon.
    #[error("the invoice's payment would not open the macaroon: their payment hashes differ")]
    HashMismatch,
    /// The invoice can no longer be paid.
    #[error("expected an invoice that can be paid, but found one that has expired")]
    Expired,
}

impl Challenge {
    /// Takes the first challenge that is safe to pay out of all `WWW-Authenticate` values.
    ///
    /// # Errors
    /// [`ChallengeError`] of the first L402 or LSAT challenge when none is safe to pay.
    pub fn from_headers<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, ChallengeError> {
        let offers: Vec<AuthParams> = values
            .into_iter()
            .flat_map(|value| AuthParams::parse(&String::from_utf8_lossy(value)))
            .collect();
        let of = |scheme| offers.iter().filter(move |offer| offer.is_scheme(scheme));
        let mut first_fault = None;
        for offer in of("L402").chain(of("LSAT")) {
            match Self::from_params(offer) {
                Ok(challenge) => return Ok(challenge),
                Err(fault) => _ = first_fault.get_or_insert(fault),
            }
        }
        Err(first_fault.unwrap_or(ChallengeError::NotL402))
    }

    fn from_params(params: &AuthParams) -> Result<Self, ChallengeError> {
        let macaroon = params.param(&["macaroon", "token"]).ok_or(ChallengeError::NoMacaroon)?;
        let invoice = params.param(&["invoice"]).ok_or(ChallengeError::NoInvoice)?;
        let challenge = Self::new(macaroon, invoice)?;
        if challenge.invoice.is_expired() {
            return Err(ChallengeError::Expired);
        }
        Ok(challenge)
    }

    /// Joins a macaroon in base64 with its invoice. The invoice may have expired: one that was
    /// paid in time still proves it.
    ///
    /// # Errors
    /// [`ChallengeError`] for parts that do not belong together or cannot be read.
    pub fn new(macaroon_text: &str, invoice: &str) -> Result<Self, ChallengeError> {
        let macaroon =
            Macaroon::from_base64(macaroon_text.as_bytes()).map_err(ChallengeError::BadMacaroon)?;
        let identifier =
            Identifier::decode(macaroon.identifier()).map_err(ChallengeError::BadIdentifier)?;
        let invoice = parse_invoice(invoice).ok_or(ChallengeError::BadInvoice)?;
        let amount = invoice
            .amount_milli_satoshis()
            .filter(|msat| *msat > 0)
            .ok_or(ChallengeError::Amountless)?;
        let payment_hash = payment_hash(&invoice);
        if identifier.payment_hash != payment_hash {
            return Err(ChallengeError::HashMismatch);
        }
        Ok(Self {
            macaroon_text: macaroon_text.to_owned(),
            macaroon,
            payment_hash,
            // More than can be counted is more than any budget.
            amount: Msat::new(amount).unwrap_or(Msat::MAX),
            invoice,
        })
    }

    /// What the invoice asks, by the invoice's own words.
    #[must_use]
    pub const fn amount(&self) -> Msat {
        self.amount
    }

    /// The payment that opens the macaroon.
    #[must_use]
    pub const fn payment_hash(&self) -> PaymentHash {
        self.payment_hash
    }

    /// The macaroon as the server wrote it: some servers take back no other spelling.
    #[must_use]
    pub fn macaroon_text(&self) -> &str {
        &self.macaroon_text
    }

    /// The invoice.
    #[must_use]
    pub fn invoice(&self) -> String {
        self.invoice.to_string()
    }

    /// What the credential will be good for.
    #[must_use]
    pub fn scope(&self) -> String {
        scope(&self.macaroon)
    }
}

/// The macaroon's first `services` caveat, which says what it opens; empty for everything.
pub(crate) fn scope(macaroon: &Macaroon) -> String {
    let services = macaroon.caveats().find_map(|caveat| caveat.strip_prefix(b"services="));
    String::from_utf8_lossy(services.unwrap_or_default()).into_owned()
}

/// Reads an invoice, which some pages write as a link or in capitals.
pub(crate) fn parse_invoice(text: &str) -> Option<Bolt11Invoice> {
    let text = text.trim();
    let bare = match text.get(..10) {
        Some(scheme) if scheme.eq_ignore_ascii_case("lightning:") => text.get(10..)?,
        _ => text,
    };
    bare.parse().ok()
}

pub(crate) fn payment_hash(invoice: &Bolt11Invoice) -> PaymentHash {
    let bytes: &[u8; 32] = invoice.payment_hash().as_ref();
    PaymentHash::from_bytes(*bytes)
}
