//! A client that pays for what it fetches.
//!
//! [`Client`] sends a request; when the server answers 402 with an L402 challenge, it pays the
//! challenge's invoice with its [`Wallet`], keeps the credential in its [`CredentialStore`] and
//! sends the request again. What guards the payer's money:
//!
//! - The budget is compared with the amount inside the BOLT 11 invoice, never with what a JSON
//!   body or a header claims. An invoice without an amount is refused.
//! - Nothing is paid unless the invoice's payment hash stands in the challenge's macaroon:
//!   otherwise the proof of payment would open nothing.
//! - A challenge is stored before it is paid, and the proof before it is used. A call that was
//!   interrupted anywhere is taken up by the next one, and no invoice is bought twice.
//! - One request pays at most once, whatever the server answers.
//! - Redirects are not followed: a credential goes to the origin that sold it and nowhere else.
//!
//! What it does not do: it follows no other payment scheme, and it cannot verify a macaroon,
//! for only the server has the key.

#![forbid(unsafe_code)]

mod auth_params;
mod challenge;
mod client;
mod error;
pub mod inspect;
mod store;
mod wallet;

pub use challenge::{Challenge, ChallengeError};
pub use client::{Answer, Client, Payment};
pub use error::{ClientError, Fault};
pub use store::{CredentialStore, StoreError};
pub use wallet::{Wallet, WalletError};
