//! tollwayd as its callers meet it: over HTTP, in this process and as the real binary.

mod admin;
mod canary;
mod challenges;
mod faults;
mod holds;
mod process;
mod races;
mod support;
