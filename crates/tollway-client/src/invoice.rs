//! A BOLT 11 invoice that can be compared with a budget.

use lightning_invoice::{Bolt11Invoice, ExpiryTime, SignedRawBolt11Invoice};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use crate::clock::now_s;

/// How long an invoice lives that does not say so (BOLT 11).
const EXPIRY_S_DEFAULT: u64 = 3_600;
/// Amounts are written in pico-bitcoin, of which a millisatoshi has ten.
const PICO_PER_MSAT: u64 = 10;

/// An invoice with an amount. What it asks and which payment it is for are read from the signed
/// text itself, never from what a server writes beside it. Whether its feature bits are in order
/// is for the wallet to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    text: String,
    payment_hash: PaymentHash,
    amount: Msat,
    expires_at_s: u64,
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
        let text = bare(text);
        let signed: SignedRawBolt11Invoice = text.parse().map_err(|_| InvoiceError::Malformed)?;
        if !signed.check_signature() {
            return Err(InvoiceError::Malformed);
        }
        let raw = signed.raw_invoice();
        let hash: &[u8; 32] = raw.payment_hash().ok_or(InvoiceError::Malformed)?.0.as_ref();
        let amount = raw.amount_pico_btc().filter(|pico| *pico > 0);
        let amount = amount.ok_or(InvoiceError::Amountless)?.div_ceil(PICO_PER_MSAT);
        let expiry_s = raw.expiry_time().map_or(EXPIRY_S_DEFAULT, ExpiryTime::as_seconds);
        Ok(Self {
            text: text.to_ascii_lowercase(),
            payment_hash: PaymentHash::from_bytes(*hash),
            // More than can be counted is more than any budget.
            amount: Msat::new(amount).unwrap_or(Msat::MAX),
            expires_at_s: raw.data.timestamp.as_unix_timestamp().saturating_add(expiry_s),
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
    pub const fn expires_at_s(&self) -> u64 {
        self.expires_at_s
    }

    /// Whether it can no longer be paid.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.expires_at_s <= now_s()
    }
}

/// The invoice itself, without the link that some pages make of it.
fn bare(text: &str) -> &str {
    let text = text.trim();
    match text.split_at_checked(10) {
        Some((scheme, bare)) if scheme.eq_ignore_ascii_case("lightning:") => bare,
        _ => text,
    }
}

/// Reads an invoice with all its rules.
pub(crate) fn parse_bolt11(text: &str) -> Option<Bolt11Invoice> {
    bare(text).parse().ok()
}

pub(crate) fn payment_hash(invoice: &Bolt11Invoice) -> PaymentHash {
    let bytes: &[u8; 32] = invoice.payment_hash().as_ref();
    PaymentHash::from_bytes(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 21 sats, from the notes on the wire.
    const INVOICE: &str = "lnbc210n1p4sqgwupp5d3s0gp8czear3lrsatu259avx5gz80hcd09e6yyx5xd0a9da2vesdq8w3jhxaqsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygsxqrrsscqpj9qypqsqtt0v9fge9c9tw92h7uj47v3vw4c68u8lvjfxg28w69tpc70lh99xzlg3e5uwvfefweschgul7zpna3qgw8kw0xrh5n3d754l9rl5yxcpy4ys7h";
    /// 21 sats as LNbits' FakeWallet writes them: a payment secret, and no feature bits.
    const WITHOUT_FEATURES: &str = "lnbc210n1p4srccedq2vys8getnwsxqrrsssp58n7lzvetfkcg8nvfh4rrlf6tc2ust7rjees6r528nld473lu76jqpp56fp3kwqml482y3nn9rmw3xe9daqd6wu5pz9vz4qakz27gkt4txlskpvytt3uhqdsacqxlmdvq7h0nkqdhjv8cqqglenqglqezn02put38qn5yqcuuzh5ngwz7kwq705wc4qxlg0h88uex552s40vpnq6gcqq5e6ulf";

    #[test]
    fn amount_hash_and_end_are_the_invoice_s_own() {
        let strict = parse_bolt11(INVOICE).unwrap();
        for text in [INVOICE.to_owned(), INVOICE.to_uppercase(), format!(" LIGHTNING:{INVOICE}\n")]
        {
            let invoice = Invoice::parse(&text).unwrap();
            assert_eq!((invoice.text(), invoice.amount().get()), (INVOICE, 21_000));
            assert_eq!(invoice.payment_hash(), payment_hash(&strict));
            assert_eq!(invoice.expires_at_s(), strict.expires_at().unwrap().as_secs());
            assert!(invoice.is_expired());
        }
        assert_eq!(Invoice::parse(WITHOUT_FEATURES).unwrap().amount().get(), 21_000);
    }

    #[test]
    fn err_invoice() {
        for text in ["", "lightning:", "lnbc1", "ä", &INVOICE.replace("lnbc210n", "lnbc200n")] {
            assert_eq!(Invoice::parse(text), Err(InvoiceError::Malformed), "{text}");
        }
    }
}
