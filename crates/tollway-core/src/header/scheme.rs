//! Credentials of the scheme `Payment` (draft-httpauth-payment), found but not read: that is for
//! who verifies them.

use alloc::string::String;
use alloc::vec::Vec;

use crate::header_block::HeaderBlock;

use super::list::{split_schemes, split_word};
use super::{CREDENTIAL_BYTES_MAX, Malformed};

/// The header that carries one where `Authorization` belongs to the upstream.
pub const PAYMENT_AUTHORIZATION: &str = "payment-authorization";

/// What a request presents of the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentPresented {
    /// What follows the scheme's name, if it is there.
    pub credential: Result<Option<String>, Malformed>,
    /// What remains of `Authorization` for the upstream.
    pub authorization_rest: Option<Vec<u8>>,
}

/// Finds the credential of the scheme `Payment` in what [`read_credential`](super::read_credential)
/// left of `Authorization`, and in the scheme's own header. As there, one that is sent twice
/// counts once, and two different ones are refused.
#[must_use]
pub fn read_payment(
    headers: &HeaderBlock,
    authorization_rest: Option<Vec<u8>>,
) -> PaymentPresented {
    let mut found: Vec<&[u8]> = Vec::new();
    let mut rest: Vec<&[u8]> = Vec::new();
    for part in authorization_rest.as_deref().map(split_schemes).unwrap_or_default() {
        match split_word(part.text) {
            (scheme, credential) if scheme.eq_ignore_ascii_case(b"payment") => {
                found.push(credential);
            }
            _ => rest.push(part.text),
        }
    }
    let in_authorization = !found.is_empty();
    for (name, value) in headers.iter() {
        if name.eq_ignore_ascii_case(PAYMENT_AUTHORIZATION.as_bytes()) {
            let (scheme, credential) = split_word(value.trim_ascii());
            // Without its scheme it is none, but was meant to be one.
            let is_one = scheme.eq_ignore_ascii_case(b"payment");
            found.push(if is_one { credential } else { b"" });
        }
    }
    let bytes = found.iter().fold(0_usize, |sum, text| sum.saturating_add(text.len()));
    let credential = match found.as_slice() {
        _ if bytes > CREDENTIAL_BYTES_MAX => Err(Malformed::TooLong),
        [] => Ok(None),
        [first, others @ ..] if others.iter().any(|other| other != first) => {
            Err(Malformed::Conflicting)
        }
        // What is no text is as good as nothing.
        [first, ..] => Ok(Some(core::str::from_utf8(first).unwrap_or_default().into())),
    };
    let joined = (!rest.is_empty()).then(|| rest.join(&b", "[..]));
    let authorization_rest = if in_authorization { joined } else { authorization_rest };
    PaymentPresented { credential, authorization_rest }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::header::read_credential;

    fn read(headers: &[(&str, &str)]) -> (Result<Option<String>, Malformed>, Option<String>) {
        let list = headers.iter().copied().collect();
        let presented = read_payment(&list, read_credential(&list).authorization_rest);
        let rest = presented.authorization_rest.map(|rest| String::from_utf8(rest).unwrap());
        (presented.credential, rest)
    }

    #[test]
    fn it_is_found_in_both_headers_and_beside_other_schemes() {
        let found = Ok(Some("eyJ4".into()));
        for (headers, rest) in [
            (vec![("authorization", "Payment eyJ4")], None),
            (vec![("authorization", "payment   eyJ4")], None),
            (vec![("authorization", "Bearer abc, Payment eyJ4")], Some("Bearer abc")),
            (vec![("authorization", "Payment eyJ4, Bearer abc")], Some("Bearer abc")),
            (vec![("payment-authorization", "Payment eyJ4")], None),
            (
                vec![("authorization", "Bearer abc"), ("payment-authorization", "Payment eyJ4")],
                Some("Bearer abc"),
            ),
            (vec![("authorization", "Payment eyJ4"), ("authorization", "Payment eyJ4")], None),
        ] {
            assert_eq!(read(&headers), (found.clone(), rest.map(Into::into)), "{headers:?}");
        }
    }

    #[test]
    fn what_is_not_of_the_scheme_stays_as_it_is() {
        for value in ["Bearer abc,  Basic  eA==", "Payments eyJ4", "Digest a=\"Payment x\", b=c"] {
            assert_eq!(read(&[("authorization", value)]), (Ok(None), Some(value.into())));
        }
        assert_eq!(read(&[]), (Ok(None), None));
    }

    #[test]
    fn err_two_of_them_and_too_long_and_empty_ones() {
        let two = [("authorization", "Payment a"), ("authorization", "Payment b")];
        assert_eq!(read(&two).0, Err(Malformed::Conflicting));
        let two = [("authorization", "Payment a"), ("payment-authorization", "Payment b")];
        assert_eq!(read(&two), (Err(Malformed::Conflicting), None));
        let long = alloc::format!("Payment {}", "a".repeat(CREDENTIAL_BYTES_MAX + 1));
        assert_eq!(read(&[("authorization", &long)]), (Err(Malformed::TooLong), None));
        for none in [("authorization", "Payment"), ("payment-authorization", "eyJ4")] {
            assert_eq!(read(&[none]), (Ok(Some(String::new())), None), "{none:?}");
        }
    }
}
