//! The gate over the fake host: every decision, without a proxy.

mod failures;
mod payments;
mod postings;
mod requests;
mod world;
