//! The client against a shop that sells requests, honestly or not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of tests may panic as tests may; clippy knows only test functions"
)]

mod charges;
mod command;
mod library;
mod output;
mod resuming;
mod sharing;
mod shop;
mod standins;
mod wallets;
