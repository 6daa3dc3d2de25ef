//! Tollway's request logic: what the Envoy filter decides, without Envoy.
//!
//! A [`gate::Gate`] holds what all requests of one VM share: configuration, keyring, the cache
//! of verified credentials, the postings that wait for their trip to `tollwayd`. An
//! [`exchange::Exchange`] is one request: it is fed events (headers came, a call was answered,
//! the stream ended) and says after each whether the request goes on, waits or is answered here.
//! Everything it may ask of the proxy stands in the traits of [`host`].
//!
//! What it does not do: name `proxy_wasm`, block, read a clock of its own, or panic.

#![forbid(unsafe_code)]

pub mod config;
pub mod exchange;
pub mod gate;
pub mod host;
pub mod metrics;
pub mod pool;

mod cache;
mod headers;
mod keep;
mod lease;
mod ledger;
mod lines;
mod outbox;
mod prehashed;
mod reply;
mod settle;
mod tiers;
