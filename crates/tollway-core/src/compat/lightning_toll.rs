//! The tokens of lightning-toll 0.1: JSON in unpadded base64url.
//!
//! ```text
//! {"id":"<payment hash>","caveats":["<key> = <value>",..],"signature":"<64 hex digits>"}
//! ```
//!
//! The signature over the id, as text and under the secret as text, is the key of the signature
//! over the first caveat, and so on. Caveats: `expires_at` (the last second of use), `endpoint`,
//! `method`, `ip`. The Python package escapes what is not ASCII, the Node package does not; both
//! are read, and ours are written as Python's.
//!
//! A token holds no random part: two for one payment with equal caveats are the same token.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::{Admission, Bound, Format, LegacyKey, LegacySecret, parse_integer, split_caveat};
use crate::challenge::is_invoice;
use crate::hex_text;
use crate::json_tree::Tree;
use crate::macaroon::{CAVEATS_MAX, TOKEN_BYTES_MAX};
use crate::payment::PaymentHash;
use crate::secret::{SecretText, hmac_sha256};
use crate::verdict::Rejection;

/// How every token begins: `{"` in base64.
pub const PREFIX: &[u8] = b"eyJ";

/// A token, genuine or not: only [`Token::verify`] tells.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: String,
    caveats: Vec<String>,
    signature: [u8; 32],
}

/// What a new token is bound to; an empty text binds to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bindings<'a> {
    /// The last second of its use, in Unix time; 0 for no end.
    pub expires_at: u64,
    /// The path.
    pub endpoint: &'a str,
    /// The method.
    pub method: &'a str,
    /// The client's address.
    pub ip: &'a str,
}

impl Token {
    /// Mints a token as the package's `create_macaroon` does.
    #[must_use]
    pub fn mint(secret: &SecretText, id: &str, bindings: &Bindings<'_>) -> Self {
        let Bindings { expires_at, endpoint, method, ip } = *bindings;
        let mut caveats = Vec::new();
        if expires_at > 0 {
            caveats.push(format!("expires_at = {expires_at}"));
        }
        for (key, value) in [("endpoint", endpoint), ("method", method), ("ip", ip)] {
            if !value.is_empty() {
                caveats.push(format!("{key} = {value}"));
            }
        }
        let signature = sign(secret, id, &caveats);
        Self { id: id.into(), caveats, signature }
    }

    /// The same token with one more caveat; needs no secret.
    #[must_use]
    pub fn attenuate(mut self, caveat: &str) -> Self {
        self.signature = hmac_sha256(&self.signature, caveat.as_bytes());
        self.caveats.push(caveat.into());
        self
    }

    /// Reads a token from the text that stands before the colon of a credential.
    ///
    /// # Errors
    /// [`TokenError`] names the first fault; it never repeats the token.
    pub fn from_base64(text: &[u8]) -> Result<Self, TokenError> {
        if text.len() > TOKEN_BYTES_MAX.div_ceil(3) * 4 {
            return Err(TokenError::TooLong);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::NotBase64)?;
        let json = Tree::parse(&bytes).map_err(|_| TokenError::NotJson)?;
        let text = |value: &Tree| value.text().map(String::from).ok_or(TokenError::NotJson);
        let member = |name| json.get(name).ok_or(TokenError::NotJson);
        let id = text(member("id")?)?;
        let caveats = member("caveats")?.items().ok_or(TokenError::NotJson)?;
        let signature = text(member("signature")?)?;
        if id.is_empty() {
            return Err(TokenError::NoId);
        }
        if caveats.len() > CAVEATS_MAX {
            return Err(TokenError::TooManyCaveats);
        }
        let caveats = caveats.iter().map(text).collect::<Result<_, _>>()?;
        let signature =
            hex_text::decode(signature.as_bytes()).map_err(|_| TokenError::BadSignature)?;
        Ok(Self { id, caveats, signature })
    }

    /// The token as Python's package writes it: compact JSON, escaped to ASCII, in base64url
    /// without padding.
    #[must_use]
    pub fn to_base64(&self) -> String {
        let mut json = String::from(r#"{"id":"#);
        push_json_text(&mut json, &self.id);
        json.push_str(r#","caveats":["#);
        for (at, caveat) in self.caveats.iter().enumerate() {
            if at > 0 {
                json.push(',');
            }
            push_json_text(&mut json, caveat);
        }
        json.push_str(r#"],"signature":""#);
        json.push_str(&hex::encode(self.signature));
        json.push_str(r#""}"#);
        URL_SAFE_NO_PAD.encode(json)
    }

    /// Whether this token was minted with `secret` and narrowed by nothing but its caveats;
    /// constant time.
    #[must_use]
    pub fn verify(&self, secret: &SecretText) -> bool {
        sign(secret, &self.id, &self.caveats).ct_eq(&self.signature).into()
    }

    /// The id: the payment hash as text, if the token is one that can be paid.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Checks origin, payment hash and caveats, in this order.
    #[cold]
    #[inline(never)]
    pub(crate) fn admit(&self, keys: &[LegacyKey]) -> Result<(PaymentHash, Admission), Rejection> {
        let mut services: Vec<String> = Vec::new();
        for key in keys {
            let of_key = key.services_if(
                |secret| matches!(secret, LegacySecret::LightningToll(s) if self.verify(s)),
            );
            services.extend_from_slice(of_key);
        }
        if services.is_empty() {
            return Err(Rejection::SignatureInvalid);
        }
        let payment_hash =
            PaymentHash::from_hex(self.id.as_bytes()).map_err(|_| Rejection::IdentifierUnknown)?;
        let bounds = self.caveats.iter().map(|caveat| read_bound(caveat));
        let bounds = bounds.collect::<Result<_, _>>()?;
        let format = Format::LightningToll;
        Ok((payment_hash, Admission { format, services, bounds, credit: None }))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("caveats", &self.caveats.len()).finish_non_exhaustive()
    }
}

fn sign(secret: &SecretText, id: &str, caveats: &[String]) -> [u8; 32] {
    let minted = hmac_sha256(secret.reveal().as_bytes(), id.as_bytes());
    caveats.iter().fold(minted, |key, caveat| hmac_sha256(&key, caveat.as_bytes()))
}

fn read_bound(caveat: &str) -> Result<Bound, Rejection> {
    let (key, value) = split_caveat(caveat)?;
    Ok(match key {
        "expires_at" => {
            let (negative, last_s) = parse_integer(value)?;
            // It ends after its last second has begun: the package compares with a finer clock.
            let end_ms = last_s.saturating_mul(1_000).saturating_add(1);
            Bound::EndsAt(if negative { 0 } else { end_ms })
        }
        "endpoint" => Bound::Path(value.into()),
        "method" => Bound::Method(value.into()),
        "ip" => Bound::Ip(value.into()),
        _ => return Err(Rejection::CaveatUnknown),
    })
}

/// Writes a JSON string as Python's `json.dumps` does: everything but visible ASCII is escaped,
/// above the first plane as two surrogates.
pub(crate) fn push_json_text(json: &mut String, text: &str) {
    json.push('"');
    for char in text.chars() {
        match char {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            ' '..='~' => json.push(char),
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    json.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    json.push('"');
}

/// A challenge in the package's form.
#[derive(Clone, Debug)]
pub struct Challenge<'a> {
    /// The token.
    pub token: &'a Token,
    /// The BOLT 11 invoice.
    pub invoice: &'a str,
    /// What the invoice asks, in sats.
    pub amount_sats: u64,
    /// What is sold.
    pub description: &'a str,
}

impl Challenge<'_> {
    /// The value of `WWW-Authenticate`: the invoice first. `None` for an invoice that is none, or
    /// must not be written into a header.
    #[must_use]
    pub fn www_authenticate(&self) -> Option<String> {
        let header =
            || format!(r#"L402 invoice="{}", macaroon="{}""#, self.invoice, self.token.to_base64());
        is_invoice(self.invoice).then(header)
    }

    /// The body as the package documents it. What it really sends stands one level deeper, in
    /// `detail`, where its own client does not find it.
    #[must_use]
    pub fn body(&self) -> String {
        const STEPS: &str = concat!(
            r#","protocol":"L402","instructions":{"step1":"Pay the Lightning invoice above","#,
            r#""step2":"Get the preimage from the payment receipt","step3":"Retry the request "#,
            r#"with header: Authorization: L402 <macaroon>:<preimage>"}}"#,
        );
        let mut json = String::from(r#"{"status":402,"message":"Payment Required","#);
        for (name, text) in [
            (r#""paymentHash":"#, self.token.id()),
            (r#","invoice":"#, self.invoice),
            (r#","macaroon":"#, &self.token.to_base64()),
        ] {
            json.push_str(name);
            push_json_text(&mut json, text);
        }
        json.push_str(&format!(r#","amountSats":{},"description":"#, self.amount_sats));
        push_json_text(&mut json, self.description);
        json.push_str(STEPS);
        json
    }
}

/// Why text is not a token, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenError {
    /// Longer than any token may be.
    TooLong,
    /// Not base64url without padding.
    NotBase64,
    /// Not a JSON object of `id`, `caveats` and `signature`.
    NotJson,
    /// The id is empty.
    NoId,
    /// More than [`CAVEATS_MAX`] caveats.
    TooManyCaveats,
    /// The signature is not 64 hexadecimal digits.
    BadSignature,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "expected at most {TOKEN_BYTES_MAX} bytes, but found more")
            }
            Self::NotBase64 => {
                f.write_str("expected base64url without padding, but found other text")
            }
            Self::NotJson => f.write_str(
                "expected a JSON object of id, caveats and signature, but found something else",
            ),
            Self::NoId => f.write_str("expected a payment hash in id, but found none"),
            Self::TooManyCaveats => {
                write!(f, "expected at most {CAVEATS_MAX} caveats, but found more")
            }
            Self::BadSignature => {
                f.write_str("expected a signature of 64 hexadecimal digits, but found another")
            }
        }
    }
}

impl core::error::Error for TokenError {}

#[cfg(test)]
#[path = "lightning_toll_tests.rs"]
mod tests;
