//! The golden vectors of the published packages lightning-toll and toll-booth, against our own
//! readers, verifiers and minters.
//!
//! Every file of the folder that `TOLLWAY_VECTORS` names (by default `tests/vectors`) is read,
//! and known by its content, so that more vectors of the same formats can be dropped in. A file
//! that is not understood fails, and so does one without a case. Labels: `accept` and `reject`
//! bind; where the set leaves a choice, [`decisions`] says what was chosen.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

mod decisions;
mod files;
mod gateway;
mod judge;
mod lightning_toll;
mod lightning_toll_http;
mod toll_booth;
mod toll_booth_http;
