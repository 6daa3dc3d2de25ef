#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod answer;
pub mod attenuate;
mod auth_params;
mod budget;
mod builder;
mod challenge;
mod client;
mod clock;
mod error;
pub mod inspect;
mod invoice;
mod purchase;
mod request;
mod store;
mod token;
pub mod wallet;

pub use answer::{Answer, Payment, Quote, Receipt};
pub use budget::{Budget, Limit, OverBudget};
pub use builder::{Builder, Stats};
pub use challenge::{Challenge, ChallengeError};
pub use client::PayingClient;
pub use error::{ClientError, Fault};
pub use invoice::{Invoice, InvoiceError};
pub use request::RequestBuilder;
pub use store::{CredentialStore, KeptCredential, PaymentRecord, PaymentState, StoreError};
pub use token::Scheme;
