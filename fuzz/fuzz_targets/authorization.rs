//! Request headers: reading them never panics, and what is ours is taken out completely.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollway_core::header::{CREDENTIAL_BYTES_MAX, read_credential};

fuzz_target!(|value: &[u8]| {
    let presented = read_credential(&[("authorization", value)].into());
    match (&presented.credential, &presented.authorization_rest) {
        (Ok(None), rest) => assert_eq!(rest.as_deref().unwrap_or_default(), value),
        (_, Some(rest)) => {
            let again = read_credential(&[("authorization", rest)].into());
            assert_eq!(again.credential, Ok(None));
        }
        (_, None) => {}
    }
    if let Ok(Some(credential)) = presented.credential
        && value.len() <= CREDENTIAL_BYTES_MAX / 2
    {
        let twice = [("authorization", value), ("Authorization", value)].into();
        assert_eq!(read_credential(&twice).credential, Ok(Some(credential)));
    }

    for name in ["macaroon", "grpc-metadata-macaroon"] {
        let presented = read_credential(&[(name, value)].into());
        assert!(value.trim_ascii().is_empty() == (presented.credential == Ok(None)));
        assert_eq!(presented.authorization_rest, None);
    }
});
