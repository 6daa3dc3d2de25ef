//! The HTTP authentication scheme `Payment` (draft-httpauth-payment-02), method `lightning`,
//! intent `charge` (draft-lightning-charge-00): one payment for one request, and intent `session`
//! (draft-lightning-session-00): a deposit that requests spend, and whose rest is returned.
//!
//! What is here is pure: challenges, credentials and receipts as text. Nothing of a challenge is
//! stored. Its id is an HMAC over what it says, under a secret of the gate's keys for the service
//! and the route, so that a challenge of one route is none of another. That a payment is spent
//! once is the ledger's to say.

mod accept;
mod challenge;
mod credential;
mod session;
mod text;

pub(crate) use accept::wish;
pub(crate) use challenge::{Charge, Secret};
pub(crate) use credential::{Presented, Problem, Proof, read};
pub(crate) use session::{Action, CloseReceipt, Deposit, SessionProof};
pub(crate) use text::receipt;

/// The header that carries a receipt.
pub(crate) const RECEIPT_HEADER: &str = "payment-receipt";

/// The method of all that is here.
pub(crate) const METHOD: &str = "lightning";
const INTENT: &str = "charge";
const SESSION_INTENT: &str = "session";
const CURRENCY: &str = "sat";
/// The header that a challenge names where `Authorization` belongs to the upstream.
const OTHER_HEADER: &str = "Payment-Authorization";
