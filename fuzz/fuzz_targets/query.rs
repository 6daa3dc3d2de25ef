//! Prices by a parameter of the query: reading it never panics, and no other reading of the same
//! query finds another value for the same price.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollway_core::header_block::HeaderBlock;
use tollway_core::money::Msat;
use tollway_core::pricing::{ByValue, Field, Price, PricedRequest, Rule};
use tollway_core::rates::Rates;
use tollway_core::tier::Tier;

fn fixed(msat: u64) -> Price {
    Price::Fixed(Msat::new(msat).unwrap())
}

fn digit(byte: Option<&u8>) -> Option<u8> {
    let digit = char::from(*byte?).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// As a forgiving server reads it: what is no escape stays as it is.
fn decoded(text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(byte) = text.get(at) {
        at += 1;
        match (byte, digit(text.get(at)), digit(text.get(at + 1))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(*byte),
        }
    }
    out
}

fuzz_target!(|query: &[u8]| {
    let field = Field::query("depth").unwrap();
    let table = ByValue::new(field, fixed(3)).with("deep", fixed(2)).unwrap();
    let price = Price::rule(Rule::ByValue(table.with("flat", fixed(1)).unwrap()));
    let request = PricedRequest {
        headers: HeaderBlock::none(),
        query,
        body: &[],
        body_bytes: 0,
        now_ms: 0,
        tier: Tier::NONE,
        rates: &Rates::NONE,
    };
    let Ok(quote) = price.quote(&request) else { return };
    let pairs = query.split(|byte| *byte == b'&').map(|part| {
        let at = part.iter().position(|byte| *byte == b'=').unwrap_or(part.len());
        (decoded(&part[..at]), decoded(part.get(at + 1..).unwrap_or_default()))
    });
    let named: Vec<_> = pairs.filter(|(name, _)| name.eq_ignore_ascii_case(b"depth")).collect();
    assert!(named.len() <= 1, "two readers may take different ones");
    let expected = match named.first() {
        Some((name, value)) => {
            assert_eq!(name, b"depth");
            match value.as_slice() {
                b"deep" => 2,
                b"flat" => 1,
                _ => 3,
            }
        }
        None => 3,
    };
    assert_eq!(quote.cost.get(), expected);
});
