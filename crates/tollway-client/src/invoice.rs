//! A BOLT 11 invoice that can be compared with a budget.

use lightning_invoice::Bolt11Invoice;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

/// An invoice with an amount. What it asks and which payment it is for are read from the signed
/// text itself, never from what a server writes beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    text: String,
    parsed: Bolt11Invoice,
    payment_hash: PaymentHash,
    amount: Msat,
}

/// Why a text cannot be paid as an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvoiceError {
    /// The text is not BOLT 11, or its signature is wrong.
    #[error("expected a BOLT 11 invoice in the challenge, but found other text")]
    Malformed,
    /// The invoice leaves the amount to the payer.
    #[error("expected an invoice with an amount, but found one that leaves it to the payer")]
    Amountless,
}

impl Invoice {
    /// Reads an invoice, also from a `lightning:` link or in capitals.
    ///
    /// # Errors
    /// [`InvoiceError`] for other text, and for an invoice without an amount.
    pub fn parse(text: &str) -> Result<Self, InvoiceError> {
        let parsed = parse_bolt11(text).ok_or(InvoiceError::Malformed)?;
        let amount = parsed
            .amount_milli_satoshis()
            .filter(|msat| *msat > 0)
            .ok_or(InvoiceError::Amountless)?;
        Ok(Self {
            text: parsed.to_string(),
            payment_hash: payment_hash(&parsed),
            // More than can be counted is more than any budget.
            amount: Msat::new(amount).unwrap_or(Msat::MAX),
            parsed,
        })
    }

    /// The invoice in the form that wallets take.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it asks.
    #[must_use]
    pub const fn amount(&self) -> Msat {
        self.amount
    }

    /// The payment that it is for.
    #[must_use]
    pub const fn payment_hash(&self) -> PaymentHash {
        self.payment_hash
    }

    /// When it can no longer be paid, Unix time in seconds.
    #[must_use]
    pub fn expires_at_s(&self) -> u64 {
        self.parsed.expires_at().map_or(u64::MAX, |at| at.as_secs())
    }

    /// Whether it can no longer be paid.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.parsed.is_expired()
    }
}

/// Reads an invoice, which some pages write as a link or in capitals.
pub(crate) fn parse_bolt11(text: &str) -> Option<Bolt11Invoice> {
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
