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

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const SIGNATURE_FIELD: [u8; 34] = {
        let mut field = [7; 34];
        field[0] = SIGNATURE;
        field[1] = 32;
        field
    };

    /// A token of these bytes after the version, with a signature at its end.
    fn signed(body: &[u8]) -> Vec<u8> {
        [&[VERSION], body, &SIGNATURE_FIELD].concat()
    }

    #[test]
    fn ok_every_field_where_it_belongs() {
        for body in [
            &b"\x02\x02id\x00\x00"[..],
            b"\x01\x03loc\x02\x02id\x00\x00",
            b"\x02\x00\x00\x00",
            b"\x02\x02id\x00\x02\x01c\x00\x00",
            b"\x02\x02id\x00\x02\x00\x00\x02\x01c\x00\x00",
        ] {
            let bytes = signed(body);
            assert_eq!(encode(&decode(&bytes).unwrap()), bytes, "{body:?}");
        }
    }

    #[test]
    fn ok_lengths_of_one_and_two_groups() {
        for length in [0, 1, 127, 128, 129, 300, 8_000] {
            let macaroon = Macaroon {
                location: String::new(),
                identifier: vec![9; length],
                caveats: vec![],
                signature: [7; 32],
            };
            assert_eq!(decode(&encode(&macaroon)), Ok(macaroon), "{length}");
        }
    }

    #[test]
    fn err_in_the_order_of_the_fields() {
        use MacaroonError::*;
        for (body, expected) in [
            (&b""[..], UnexpectedField),
            (b"\x00", NoIdentifier),
            (b"\x01\x01l\x00", NoIdentifier),
            (b"\x01\x00\x02\x02id\x00\x00", UnexpectedField),
            (b"\x01\x01\xff\x02\x02id\x00\x00", LocationNotText),
            (b"\x01\x01l\x01\x01l\x02\x02id\x00\x00", UnexpectedField),
            (b"\x02\x02id\x01\x01l\x00\x00", UnexpectedField),
            (b"\x02\x02id\x02\x02id\x00\x00", UnexpectedField),
            (b"\x03\x01x\x02\x02id\x00\x00", UnexpectedField),
            (b"\x04\x01v\x02\x02id\x00\x00", UnexpectedField),
            (b"\x82\x00\x02id\x00\x00", UnexpectedField),
            (b"\x02\x82\x00id\x00\x00", BadLength),
            (b"\x02\x82\x80\x00id\x00\x00", BadLength),
            (b"\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", BadLength),
            (b"\x02\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", BadLength),
            (b"\x02\xff\x7fid\x00\x00", Truncated),
            (b"\x02\x02id\x00\x01\x01l\x02\x01c\x04\x01v\x00\x00", ThirdParty),
            (b"\x02\x02id\x00\x02\x01c\x04\x01v\x00\x00", ThirdParty),
            (b"\x02\x02id\x00\x04\x01v\x00\x00", ThirdParty),
            (b"\x02\x02id\x00\x03\x01c\x00\x00", UnexpectedField),
            (b"\x02\x02id\x00\x02\x01c\x02\x01c\x00\x00", UnexpectedField),
            (b"\x02\x02id\x00\x06\x01c\x00\x00", UnexpectedField),
            (b"\x02\x02id\x00\x00\x00", BadSignature),
            (b"\x02\x02id\x00\x00\x06\x1f0123456789012345678901234567890", BadSignature),
        ] {
            assert_eq!(decode(&signed(body)), Err(expected), "{body:x?}");
        }
    }

    #[test]
    fn err_every_proper_prefix_and_every_longer_token() {
        let bytes = signed(b"\x01\x03loc\x02\x02id\x00\x02\x01c\x00\x00");
        assert_eq!(decode(b""), Err(MacaroonError::NotV2));
        for end in 1..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Err(MacaroonError::Truncated), "{end}");
        }
        for more in [&[0][..], &[END, END], &bytes] {
            let longer = [&bytes[..], more].concat();
            assert_eq!(decode(&longer), Err(MacaroonError::TrailingBytes));
        }
    }

    #[test]
    fn err_other_versions() {
        for version in [0, 1, 3, b'0', b'a', b'{', 0xff] {
            let mut bytes = signed(b"\x02\x02id\x00\x00");
            bytes[0] = version;
            assert_eq!(decode(&bytes), Err(MacaroonError::NotV2), "{version}");
        }
    }

    #[test]
    fn err_above_the_caps() {
        let with_caveats = |count: usize| {
            let mut body = b"\x02\x02id\x00".to_vec();
            for _ in 0..count {
                body.extend_from_slice(b"\x02\x01c\x00");
            }
            body.push(END);
            decode(&signed(&body)).map(|macaroon| macaroon.caveats.len())
        };
        assert_eq!(with_caveats(CAVEATS_MAX), Ok(CAVEATS_MAX));
        assert_eq!(with_caveats(CAVEATS_MAX + 1), Err(MacaroonError::TooManyCaveats));
        assert_eq!(decode(&[VERSION; TOKEN_BYTES_MAX + 1]), Err(MacaroonError::TooLong));
    }
}
