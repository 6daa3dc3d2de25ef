//! Request headers: reading them never panics, and what is ours is taken out completely.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollway_core::header::{CREDENTIAL_BYTES_MAX, read_credential};

fuzz_target!(|value: &[u8]| {
    let header = |name: &str, value: &[u8]| (String::from(name), value.to_vec());

    let presented = read_credential(&[header("authorization", value)]);
    match (&presented.credential, &presented.authorization_rest) {
        (Ok(None), rest) => assert_eq!(rest.as_deref().unwrap_or_default(), value),
        (_, Some(rest)) => {
            let again = read_credential(&[header("authorization", rest)]);
            assert_eq!(again.credential, Ok(None));
        }
        (_, None) => {}
    }
    if let Ok(Some(credential)) = presented.credential
        && value.len() <= CREDENTIAL_BYTES_MAX / 2
    {
        let twice = [header("authorization", value), header("Authorization", value)];
        assert_eq!(read_credential(&twice).credential, Ok(Some(credential)));
    }

    for name in ["macaroon", "grpc-metadata-macaroon"] {
        let presented = read_credential(&[header(name, value)]);
        assert!(value.trim_ascii().is_empty() == (presented.credential == Ok(None)));
        assert_eq!(presented.authorization_rest, None);
    }
});
