//! Reading credentials from request headers: one function for every carrier.
//!
//! Carriers are `Authorization` with the scheme L402 or LSAT, and the headers `Macaroon` and
//! `Grpc-Metadata-Macaroon`. All values of all carriers are read; none is "the first that
//! wins". One credential sent twice, as Aperture's clients do, counts once. Two different ones
//! are refused, and so is a malformed one beside a good one.
//!
//! Forms of `Authorization` (RFC 9110, section 11.4; the L402 specification, all revisions):
//!
//! ```text
//! L402 <macaroon>[,<macaroon>]:<preimage>     split at the last colon
//! L402 <macaroon>[:]                          no preimage, unless a caveat holds it
//! L402 macaroon="<macaroon>", preimage="<preimage>"     also token=, any order, bare values
//! L402 [macaroon="<macaroon>",] payment_hash="<hash>"   for routes that look payments up
//! ```
//!
//! A macaroon that begins with `eyJ`, which is `{"` in base64, is a token of lightning-toll and
//! stands alone.
//!
//! Proxies join repeated headers with commas, so other schemes may stand before and after ours.
//! Those are not ours to judge: they are what remains for the upstream.

mod list;
mod scheme;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

use self::list::{Parameter, elements, split_first, split_last, split_schemes, split_word};
use crate::compat::lightning_toll;
use crate::credential::{Credential, MACAROONS_MAX};
use crate::header_block::HeaderBlock;
use crate::identifier;
use crate::macaroon::{Macaroon, MacaroonError};
use crate::payment::{PaymentHash, Preimage};

pub use scheme::{PAYMENT_AUTHORIZATION, PaymentPresented, read_payment};

/// The most bytes of credentials in one request, counted before anything is decoded. A real one
/// has some 400, and Aperture's clients send it twice; the longest token in hex just fits.
pub const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;

/// What a request presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The credential, if there is one.
    pub credential: Result<Option<Credential>, Malformed>,
    /// What `Authorization` holds beside our credentials, for the upstream. Without any of ours
    /// it is the original value; `None` if nothing remains.
    pub authorization_rest: Option<Vec<u8>>,
}

/// Why the presented credentials cannot be read, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Malformed {
    /// More than [`CREDENTIAL_BYTES_MAX`] bytes.
    TooLong,
    /// A scheme of ours with nothing after it.
    Empty,
    /// Parameters that are not `macaroon` or `token`, `preimage`, `payment_hash` and `version`,
    /// each once.
    BadParameters,
    /// More than [`MACAROONS_MAX`] macaroons.
    TooManyMacaroons,
    /// A macaroon that cannot be decoded.
    BadMacaroon(MacaroonError),
    /// A JSON token of lightning-toll that cannot be decoded.
    BadJsonToken(lightning_toll::TokenError),
    /// A preimage that is not 64 hexadecimal digits.
    BadPreimage,
    /// Two different credentials.
    Conflicting,
}

impl Malformed {
    /// A stable name for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLong => "credential_too_long",
            Self::Conflicting => "credentials_conflict",
            Self::Empty
            | Self::BadParameters
            | Self::TooManyMacaroons
            | Self::BadMacaroon(_)
            | Self::BadJsonToken(_)
            | Self::BadPreimage => "credential_malformed",
        }
    }
}

impl fmt::Display for Malformed {
    /// A sentence for the payer, with the remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "The credential is too long. Send at most {CREDENTIAL_BYTES_MAX} bytes.")
            }
            Self::Empty => {
                f.write_str("The credential is empty. Send Authorization: L402 <token>:<preimage>.")
            }
            Self::BadParameters => f.write_str(
                "The credential's parameters cannot be read. Send macaroon and preimage once each.",
            ),
            Self::TooManyMacaroons => {
                write!(f, "The credential has too many tokens. Send at most {MACAROONS_MAX}.")
            }
            Self::BadMacaroon(fault) => write!(
                f,
                "The token cannot be read: {fault}. Send the token exactly as it was issued."
            ),
            Self::BadJsonToken(fault) => write!(
                f,
                "The token cannot be read: {fault}. Send the token exactly as it was issued."
            ),
            Self::BadPreimage => f.write_str(
                "The preimage cannot be read. Send 64 hexadecimal digits after the last colon.",
            ),
            Self::Conflicting => {
                f.write_str("The request carries two different credentials. Send one.")
            }
        }
    }
}

impl core::error::Error for Malformed {}

/// Reads the credential of a request from all of its headers.
#[must_use]
pub fn read_credential(headers: &HeaderBlock) -> Presented {
    let mut found = Found::default();
    let mut rest: Vec<&[u8]> = Vec::new();
    for (name, value) in headers.iter() {
        if name.eq_ignore_ascii_case(b"authorization") {
            let parts = split_schemes(value);
            if !parts.iter().any(|part| part.ours) {
                rest.push(value);
                continue;
            }
            for part in parts {
                if part.ours {
                    found.authorization.push(part.text);
                } else {
                    rest.push(part.text);
                }
            }
        } else if is_macaroon_header(name) && !value.trim_ascii().is_empty() {
            found.macaroons.extend(elements(value));
        }
    }
    rest.retain(|text| !text.is_empty());
    let authorization_rest = (!rest.is_empty()).then(|| rest.join(&b", "[..]));
    Presented { credential: found.read(), authorization_rest }
}

fn is_macaroon_header(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"macaroon") || name.eq_ignore_ascii_case(b"grpc-metadata-macaroon")
}

/// The texts that claim to be credentials, by carrier.
#[derive(Default)]
struct Found<'a> {
    authorization: Vec<&'a [u8]>,
    macaroons: Vec<&'a [u8]>,
}

impl Found<'_> {
    fn read(&self) -> Result<Option<Credential>, Malformed> {
        let texts = self.authorization.iter().chain(&self.macaroons);
        let bytes = texts.fold(0_usize, |sum, text| sum.saturating_add(text.len()));
        if bytes > CREDENTIAL_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        let authorization = self.authorization.iter().map(|text| parse_authorization(text));
        let macaroons = self.macaroons.iter().map(|text| parse_macaroon_header(text));
        let mut found = None;
        let mut conflict = false;
        for credential in authorization.chain(macaroons) {
            let credential = credential?;
            conflict |= found.get_or_insert_with(|| credential.clone()) != &credential;
        }
        if conflict { Err(Malformed::Conflicting) } else { Ok(found) }
    }
}

fn parse_macaroon_header(text: &[u8]) -> Result<Credential, Malformed> {
    let macaroon = Macaroon::from_hex(text).map_err(Malformed::BadMacaroon)?;
    Ok(Credential::new([macaroon].into(), None))
}

/// Reads one credential, its scheme in front.
fn parse_authorization(text: &[u8]) -> Result<Credential, Malformed> {
    let (_, credential) = split_word(text);
    if credential.is_empty() {
        return Err(Malformed::Empty);
    }
    let Parameters { macaroons, preimage, payment_hash } = if list::is_parameter(credential) {
        read_parameters(credential)?
    } else {
        let (macaroons, preimage) = split_last(credential, b':').unwrap_or((credential, b""));
        Parameters { macaroons: Some(macaroons), preimage, payment_hash: None }
    };
    let Some(macaroons) = macaroons else {
        let payment_hash = payment_hash.ok_or(Malformed::BadParameters)?;
        return Ok(Credential::hash_alone(payment_hash, parse_preimage(preimage)?));
    };
    if macaroons.starts_with(lightning_toll::PREFIX) {
        let token =
            lightning_toll::Token::from_base64(macaroons).map_err(Malformed::BadJsonToken)?;
        return Ok(Credential::lightning_toll(token, parse_preimage(preimage)?));
    }
    let macaroons: Vec<_> = elements(macaroons).collect();
    if macaroons.len() > MACAROONS_MAX {
        return Err(Malformed::TooManyMacaroons);
    }
    let macaroons = macaroons
        .into_iter()
        .map(|text| Macaroon::from_base64(text).map_err(Malformed::BadMacaroon))
        .collect::<Result<Vec<_>, _>>()?;
    let is_of = |hash| macaroons.iter().all(|it| identifier::names(it.identifier(), &hash));
    if payment_hash.is_some_and(|hash| !is_of(hash)) {
        return Err(Malformed::Conflicting);
    }
    Ok(Credential::new(macaroons, parse_preimage(preimage)?))
}

/// Reads a preimage; an empty text is none.
fn parse_preimage(text: &[u8]) -> Result<Option<Preimage>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    Preimage::from_hex(text).map(Some).map_err(|_| Malformed::BadPreimage)
}

/// A credential's parts as text; an empty preimage is none.
struct Parameters<'a> {
    macaroons: Option<&'a [u8]>,
    preimage: &'a [u8],
    payment_hash: Option<PaymentHash>,
}

/// Reads `macaroon=".."` or `token=".."`, `preimage=".."` and `payment_hash=".."`.
fn read_parameters(text: &[u8]) -> Result<Parameters<'_>, Malformed> {
    let (mut macaroons, mut preimage, mut payment_hash, mut version) = (None, None, None, None);
    for element in elements(text) {
        let (name, value) = split_first(element, b'=').ok_or(Malformed::BadParameters)?;
        let value = unquote(value.trim_ascii()).ok_or(Malformed::BadParameters)?;
        let slot = match list::parameter(name) {
            Some(Parameter::Macaroon) => &mut macaroons,
            Some(Parameter::Preimage) => &mut preimage,
            Some(Parameter::PaymentHash) => &mut payment_hash,
            Some(Parameter::Version) if value == b"0" => &mut version,
            Some(Parameter::Version) | None => return Err(Malformed::BadParameters),
        };
        if slot.replace(value).is_some_and(|earlier| earlier != value) {
            return Err(Malformed::BadParameters);
        }
    }
    let payment_hash = payment_hash.map(PaymentHash::from_hex).transpose();
    Ok(Parameters {
        macaroons,
        preimage: preimage.unwrap_or_default(),
        payment_hash: payment_hash.map_err(|_| Malformed::BadParameters)?,
    })
}

/// Takes the quotes off. No value of ours needs an escape, so one refuses.
fn unquote(value: &[u8]) -> Option<&[u8]> {
    let bare = match value {
        [b'"', bare @ .., b'"'] => bare,
        bare => bare,
    };
    (!bare.iter().any(|byte| matches!(byte, b'"' | b'\\'))).then_some(bare)
}
