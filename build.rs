//! Leaves the names of functions out of the filter that ships: they are a seventh of it, and
//! every worker loads them. Cargo's `strip` does not reach them on this target.

use std::env;

/// Set, it keeps the names. The functions have the same numbers either way, so a backtrace of a
/// filter without names can be read with the one that has them.
const KEEP: &str = "TOLLWAY_WASM_NAMES";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={KEEP}");
    let wasm = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32");
    if wasm && env::var_os(KEEP).is_none() {
        println!("cargo::rustc-link-arg-cdylib=--strip-all");
    }
}
