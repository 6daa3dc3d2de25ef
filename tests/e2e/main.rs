//! The whole product: the real Envoy with the real .wasm, the real tollwayd on a real SQLite
//! file, a real upstream. Only the Lightning node is simulated; it signs real invoices.

mod bodies;
mod clients;
mod credentials;
mod failures;
mod harness;
mod hostile;
mod kill;
mod observe;
mod races;
mod refunds;
mod reload;
mod shipped;
mod story;
