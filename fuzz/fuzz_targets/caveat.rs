//! Caveats: reading them never panics, and the canonical text means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollway_core::caveat::Caveat;

fuzz_target!(|bytes: &[u8]| {
    let Ok(caveat) = Caveat::parse(bytes) else { return };
    // The text of a preimage leaves the secret out.
    if !matches!(caveat, Caveat::Preimage(_)) {
        assert_eq!(Caveat::parse(caveat.to_string().as_bytes()), Ok(caveat));
    }
});
