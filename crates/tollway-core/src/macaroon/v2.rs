//! The V2 binary form of libmacaroons, read strictly.
//!
//! ```text
//! 02                            version
//! 01 <length> <location>        may be missing
//! 02 <length> <identifier>
//! 00                            end of the header
//! ( 02 <length> <caveat> 00 )*  one group per first-party caveat
//! 00                            end of the caveats
//! 06 20 <32 bytes>              signature, and nothing after it
//! ```
//!
//! Lengths are LEB128. Published decoders let bytes follow the signature, lengths be longer than
//! needed and unknown fields pass; each of these gives one token many encodings, so all are
//! refused here.

use alloc::string::String;
use alloc::vec::Vec;

use super::{CAVEATS_MAX, Macaroon, MacaroonError, TOKEN_BYTES_MAX};

const VERSION: u8 = 2;
const END: u8 = 0;
const LOCATION: u8 = 1;
const IDENTIFIER: u8 = 2;
const VERIFICATION_ID: u8 = 4;
const SIGNATURE: u8 = 6;

/// Three groups of seven bits reach 2 MiB, far above [`TOKEN_BYTES_MAX`].
const LENGTH_SHIFTS: [u32; 3] = [0, 7, 14];

pub(super) fn encode(macaroon: &Macaroon) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.push(VERSION);
    if !macaroon.location.is_empty() {
        push_field(&mut bytes, LOCATION, macaroon.location.as_bytes());
    }
    push_field(&mut bytes, IDENTIFIER, &macaroon.identifier);
    bytes.push(END);
    for caveat in &macaroon.caveats {
        push_field(&mut bytes, IDENTIFIER, caveat);
        bytes.push(END);
    }
    bytes.push(END);
    push_field(&mut bytes, SIGNATURE, &macaroon.signature);
    bytes
}

fn push_field(bytes: &mut Vec<u8>, tag: u8, content: &[u8]) {
    bytes.push(tag);
    let mut rest = content.len();
    while rest > 0x7f {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes.extend_from_slice(content);
}

pub(super) fn decode(bytes: &[u8]) -> Result<Macaroon, MacaroonError> {
    if bytes.len() > TOKEN_BYTES_MAX {
        return Err(MacaroonError::TooLong);
    }
    if bytes.first() != Some(&VERSION) {
        return Err(MacaroonError::NotV2);
    }
    let mut reader = Reader { rest: bytes };
    reader.byte()?;
    let (location, identifier) = read_header(&mut reader)?;
    let caveats = read_caveats(&mut reader)?;
    let signature = read_signature(&mut reader)?;
    if !reader.rest.is_empty() {
        return Err(MacaroonError::TrailingBytes);
    }
    Ok(Macaroon { location, identifier, caveats, signature })
}

fn read_header(reader: &mut Reader<'_>) -> Result<(String, Vec<u8>), MacaroonError> {
    let mut tag = reader.byte()?;
    let mut location = "";
    if tag == LOCATION {
        location =
            core::str::from_utf8(reader.field()?).map_err(|_| MacaroonError::LocationNotText)?;
        if location.is_empty() {
            // An empty location and no location would be two encodings of one token.
            return Err(MacaroonError::UnexpectedField);
        }
        tag = reader.byte()?;
    }
    match tag {
        IDENTIFIER => {}
        END => return Err(MacaroonError::NoIdentifier),
        _ => return Err(MacaroonError::UnexpectedField),
    }
    let identifier = reader.field()?;
    if reader.byte()? != END {
        return Err(MacaroonError::UnexpectedField);
    }
    Ok((location.into(), identifier.into()))
}

fn read_caveats(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, MacaroonError> {
    let mut caveats = Vec::new();
    loop {
        match reader.byte()? {
            END => return Ok(caveats),
            IDENTIFIER => {}
            // A location in a caveat says where to fetch its discharge.
            LOCATION | VERIFICATION_ID => return Err(MacaroonError::ThirdParty),
            _ => return Err(MacaroonError::UnexpectedField),
        }
        if caveats.len() >= CAVEATS_MAX {
            return Err(MacaroonError::TooManyCaveats);
        }
        caveats.push(reader.field()?.into());
        match reader.byte()? {
            END => {}
            VERIFICATION_ID => return Err(MacaroonError::ThirdParty),
            _ => return Err(MacaroonError::UnexpectedField),
        }
    }
}

fn read_signature(reader: &mut Reader<'_>) -> Result<[u8; 32], MacaroonError> {
    if reader.byte()? != SIGNATURE {
        return Err(MacaroonError::BadSignature);
    }
    reader.field()?.try_into().map_err(|_| MacaroonError::BadSignature)
}

/// Bytes that are still to be read; it can only move forward and never past their end.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, MacaroonError> {
        let (byte, rest) = self.rest.split_first().ok_or(MacaroonError::Truncated)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn field(&mut self) -> Result<&'a [u8], MacaroonError> {
        let length = self.length()?;
        let (field, rest) = self.rest.split_at_checked(length).ok_or(MacaroonError::Truncated)?;
        self.rest = rest;
        Ok(field)
    }

    fn length(&mut self) -> Result<usize, MacaroonError> {
        let mut length = 0;
        for shift in LENGTH_SHIFTS {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || shift == 0;
                return if shortest { Ok(length) } else { Err(MacaroonError::BadLength) };
            }
        }
        Err(MacaroonError::BadLength)
    }
}
