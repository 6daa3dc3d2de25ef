//! Development only: the joke API, the launcher of the whole stack and the story it plays.
//!
//! - [`upstream`] is the paid API of the demo and the upstream of the end-to-end tests.
//! - [`stack`] starts `tollwayd`, that upstream and a real Envoy with the real filter, and ends
//!   them all, however the process that started them ends.
//! - [`greenfield`] are published clients of BTCPay's API.
//! - [`lnbits`] is the real LNbits, for a test of its own.
//! - [`nodes`] is a real Lightning network of a test's own.
//! - [`postgres`] is a PostgreSQL of a test's own.
//! - [`returning`] makes invoices of payers who want money back.
//! - [`standin`] are nodes that no package brings, as far as a test needs them.
//! - [`story`] plays the main job against a running stack: 402, pay, 200, run dry, top up, 200.

#![forbid(unsafe_code)]

pub mod fake_host;
pub mod greenfield;
pub mod lnbits;
pub mod nodes;
pub mod nwc;
pub mod postgres;
pub mod returning;
pub mod stack;
pub mod standin;
pub mod story;
pub mod upstream;
