//! Tollway's request logic: what the Envoy filter decides, without Envoy.

#![forbid(unsafe_code)]

pub mod config;
