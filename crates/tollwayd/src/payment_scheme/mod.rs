//! The HTTP authentication scheme `Payment` (draft-httpauth-payment-02), method `lightning`,
//! intent `charge` (draft-lightning-charge-00): one payment for one request.
//!
//! What is here is pure: challenges, credentials and receipts as text. Nothing of a challenge is
//! stored. Its id is an HMAC over what it says, under a secret of the gate's keys for the service
//! and the route, so that a challenge of one route is none of another. That a payment is spent
//! once is the ledger's to say.

mod accept;
mod challenge;
mod credential;
mod text;

pub(crate) use accept::asks_for_charge;
pub(crate) use challenge::{Charge, Secret};
pub(crate) use credential::{Problem, read};
pub(crate) use text::receipt;

/// The header that carries a receipt.
pub(crate) const RECEIPT_HEADER: &str = "payment-receipt";

const METHOD: &str = "lightning";
const INTENT: &str = "charge";
const CURRENCY: &str = "sat";
/// The header that a challenge names where `Authorization` belongs to the upstream.
const OTHER_HEADER: &str = "Payment-Authorization";
