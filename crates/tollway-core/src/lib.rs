//! Tollway's protocol and pricing core.
//!
//! What it is: macaroons, L402 credentials and challenges, the caveat vocabulary, the price
//! table, money, and the JSON that the filter and `tollwayd` exchange. Everything that decides
//! whether a request may pass is built from these parts.
//!
//! What it does not do: no I/O, no clock, no randomness, no Envoy. Times come in as arguments,
//! randomness comes in as a seed, bytes come in as slices. `no_std` keeps that promise honest.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod budget;
pub mod caveat;
pub mod challenge;
pub mod compat;
pub mod credential;
pub mod decimal;
pub mod digest;
pub mod entropy;
pub mod header;
pub mod header_block;
pub mod id;
pub mod identifier;
pub mod json;
pub mod json_de;
pub mod json_ser;
pub mod json_tree;
pub mod keyring;
pub mod macaroon;
pub mod mcp;
pub mod minted;
pub mod money;
pub mod payment;
pub mod pricing;
pub mod rates;
pub mod rfc3339;
pub mod scan;
pub mod secret;
pub mod sse;
pub mod tier;
pub mod usage;
pub mod wire;

mod decimal_digits;
mod documents;
mod hex_text;
mod verdict;

pub use decimal_digits::DecimalDigits;
pub use hex_text::{HexDigits, HexError, eight_hex_digits};
