//! Tollway's Envoy filter: the thin proxy-wasm skin over `tollway_gate`.
//!
//! It carries events from the proxy to the gate and the gate's answers back, and decides
//! nothing. It is the only code that names `proxy_wasm`. Its host functions exist only inside a
//! proxy; `tests/sdk` compiles the same modules natively and plays the proxy.

#[cfg(target_arch = "wasm32")]
mod envoy;
#[cfg(target_arch = "wasm32")]
mod header_map;
#[cfg(target_arch = "wasm32")]
mod http;
#[cfg(target_arch = "wasm32")]
mod parking;
#[cfg(target_arch = "wasm32")]
mod root;
#[cfg(target_arch = "wasm32")]
mod turn;

// The macro expands to the module's exported entry point, which the lint counts as unsafe.
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, missing_docs, reason = "proxy-wasm's entry point is an exported symbol")]
mod entry {
    proxy_wasm::main! {{ crate::root::install(); }}
}
