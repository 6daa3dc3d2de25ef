//! Invoices of payers who want money back.

use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};

/// When it was made, before every clock of a test.
const MADE_S: u64 = 1_600_000_000;
/// For as long as anybody tests.
const EXPIRY: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// A regtest invoice that asks no amount, or this one. Each number has its own payment hash; who
/// knows the preimage is nobody's business.
///
/// # Panics
/// Never: what it builds is complete.
#[must_use]
#[expect(clippy::unwrap_used, reason = "what is built is complete")]
pub fn return_invoice(number: u8, amount_msat: Option<u64>) -> String {
    let key = SecretKey::from_slice(&[0x17; 32]).unwrap();
    let secp = Secp256k1::new();
    let invoice = InvoiceBuilder::new(Currency::Regtest)
        .description("what is left".into())
        .payment_hash(sha256::Hash::hash(&[number]))
        .payment_secret(PaymentSecret([number; 32]))
        .duration_since_epoch(Duration::from_secs(MADE_S))
        .expiry_time(EXPIRY)
        .min_final_cltv_expiry_delta(18);
    let invoice = match amount_msat {
        Some(amount_msat) => invoice.amount_milli_satoshis(amount_msat),
        None => invoice,
    };
    let signed = invoice.build_signed(|hash| secp.sign_ecdsa_recoverable(hash, &key));
    signed.unwrap().to_string()
}
