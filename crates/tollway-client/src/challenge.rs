//! A challenge that is safe to pay.

use std::collections::BTreeMap;

use base64::Engine;
use serde::Deserialize;
use tollway_core::payment::{PaymentHash, Preimage};

use crate::auth_params::AuthParams;
use crate::clock::now_s;
use crate::invoice::{Invoice, InvoiceError};
use crate::token::{LENIENT, Scheme, Token};

/// The most bytes of a Payment challenge's request; real ones have some 700.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// A token, and the invoice that pays for exactly this token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    scheme: Scheme,
    token: Token,
    invoice: Invoice,
}

/// Why a 402 cannot be paid, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// No `WWW-Authenticate` line names a scheme that this client can pay.
    #[error("expected an L402 challenge in WWW-Authenticate, but found none")]
    NotL402,
    /// The challenge has no macaroon.
    #[error("expected a macaroon in the challenge, but found none")]
    NoMacaroon,
    /// The challenge has no invoice.
    #[error("expected an invoice in the challenge, but found none")]
    NoInvoice,
    /// The macaroon could not be sent back in a header.
    #[error("expected a macaroon in base64 in the challenge, but found other text")]
    BadMacaroon,
    /// A Payment challenge that is not `lightning` and `charge`, or whose request is no JSON.
    #[error("expected a Lightning charge in the Payment challenge, but found something else")]
    BadRequest,
    /// The invoice cannot be read, or has no amount.
    #[error(transparent)]
    Invoice(#[from] InvoiceError),
    /// The invoice pays for something else than this token.
    #[error("the invoice's payment would not open the macaroon: their payment hashes differ")]
    HashMismatch,
    /// The invoice asks for another amount than the challenge says.
    #[error("the invoice's amount is not the amount of the Payment challenge")]
    AmountMismatch,
    /// The challenge has ended, or its invoice can no longer be paid.
    #[error("expected a challenge that can be paid, but found one that has expired")]
    Expired,
}

/// The request of a Payment challenge, as far as a payer must know it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChargeRequest {
    amount: String,
    currency: String,
    method_details: MethodDetails,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MethodDetails {
    invoice: String,
    payment_hash: Option<PaymentHash>,
}

impl Challenge {
    /// Takes the first challenge that is safe to pay out of all `WWW-Authenticate` values: L402
    /// before LSAT before Payment, for an L402 credential may serve more than one request.
    ///
    /// # Errors
    /// [`ChallengeError`] of the first challenge when none is safe to pay.
    pub fn from_headers<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, ChallengeError> {
        Self::preferring(Scheme::L402, values)
    }

    /// The same with this scheme before the others.
    ///
    /// # Errors
    /// As [`Self::from_headers`].
    pub fn preferring<'a>(
        preferred: Scheme,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, ChallengeError> {
        let offers: Vec<AuthParams> = values
            .into_iter()
            .flat_map(|value| AuthParams::parse(&String::from_utf8_lossy(value)))
            .collect();
        let mut first_fault = None;
        let mut schemes = [Scheme::L402, Scheme::Lsat, Scheme::Payment];
        schemes.sort_by_key(|scheme| *scheme != preferred);
        for scheme in schemes {
            for offer in offers.iter().filter(|offer| offer.is_scheme(scheme.name())) {
                let challenge = match scheme {
                    Scheme::L402 | Scheme::Lsat => Self::from_l402(scheme, offer),
                    Scheme::Payment => Self::from_payment(offer),
                };
                match challenge {
                    Ok(challenge) if challenge.is_expired() => {
                        _ = first_fault.get_or_insert(ChallengeError::Expired);
                    }
                    Ok(challenge) => return Ok(challenge),
                    Err(fault) => _ = first_fault.get_or_insert(fault),
                }
            }
        }
        Err(first_fault.unwrap_or(ChallengeError::NotL402))
    }

    fn from_l402(scheme: Scheme, params: &AuthParams) -> Result<Self, ChallengeError> {
        let macaroon = params.param(&["macaroon", "token"]).ok_or(ChallengeError::NoMacaroon)?;
        let invoice = params.param(&["invoice"]).ok_or(ChallengeError::NoInvoice)?;
        let token = Token::macaroon(macaroon).ok_or(ChallengeError::BadMacaroon)?;
        Self::new(scheme, token, invoice)
    }

    fn from_payment(params: &AuthParams) -> Result<Self, ChallengeError> {
        let is = |name, value| params.param(&[name]) == Some(value);
        let request = params.param(&["request"]).filter(|text| text.len() <= REQUEST_BYTES_MAX);
        let (Some(request), true) = (request, is("method", "lightning") && is("intent", "charge"))
        else {
            return Err(ChallengeError::BadRequest);
        };
        let json = LENIENT.decode(request).map_err(|_| ChallengeError::BadRequest)?;
        let charge: ChargeRequest =
            serde_json::from_slice(&json).map_err(|_| ChallengeError::BadRequest)?;
        let token = Token::Echo(params.all().collect::<BTreeMap<_, _>>());
        let challenge = Self::new(Scheme::Payment, token, &charge.method_details.invoice)?;
        if charge.method_details.payment_hash.is_some_and(|hash| hash != challenge.payment_hash()) {
            return Err(ChallengeError::HashMismatch);
        }
        let asked_msat = charge.amount.parse().ok().and_then(|sats: u64| sats.checked_mul(1_000));
        if charge.currency != "sat" || asked_msat != Some(challenge.invoice.amount().get()) {
            return Err(ChallengeError::AmountMismatch);
        }
        Ok(challenge)
    }

    /// Joins a token with its invoice. The invoice may have expired: one that was paid in time
    /// still proves it.
    pub(crate) fn new(scheme: Scheme, token: Token, invoice: &str) -> Result<Self, ChallengeError> {
        let invoice = Invoice::parse(invoice)?;
        if token.payment_hash().is_some_and(|hash| hash != invoice.payment_hash()) {
            return Err(ChallengeError::HashMismatch);
        }
        Ok(Self { scheme, token, invoice })
    }

    /// How the server wants to be paid.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What is to be paid.
    #[must_use]
    pub const fn invoice(&self) -> &Invoice {
        &self.invoice
    }

    /// The payment that opens the token.
    #[must_use]
    pub const fn payment_hash(&self) -> PaymentHash {
        self.invoice.payment_hash()
    }

    /// The value of the `Authorization` header once it is paid. It is worth what was paid: keep
    /// it as a secret.
    #[must_use]
    pub fn authorization(&self, preimage: &Preimage) -> String {
        self.token.authorization(self.scheme, preimage)
    }

    /// Whether it can no longer be paid, or nothing would come of it.
    pub(crate) fn is_expired(&self) -> bool {
        self.invoice.is_expired() || self.token.is_over(now_s())
    }

    pub(crate) const fn token(&self) -> &Token {
        &self.token
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    /// 21 sats of a preimage that the notes on the wire name; it has expired since.
    const INVOICE: &str = "lnbc210n1p4sqgwupp5d3s0gp8czear3lrsatu259avx5gz80hcd09e6yyx5xd0a9da2vesdq8w3jhxaqsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygsxqrrsscqpj9qypqsqtt0v9fge9c9tw92h7uj47v3vw4c68u8lvjfxg28w69tpc70lh99xzlg3e5uwvfefweschgul7zpna3qgw8kw0xrh5n3d754l9rl5yxcpy4ys7h";
    const HASH: &str = "6c60f404f8167a38fc70eaf8aa17ac351023bef86bcb9d1086a19afe95bd5333";
    const PREIMAGE: &[u8] = b"107661134f21fc7c02223d50ab9eb3600bc3ffc3712423a1e47bb1f9a9dbf55f";

    fn line(request: &str) -> String {
        let request = URL_SAFE_NO_PAD.encode(request);
        format!(
            "Payment id=\"x1\", realm=\"api\", method=\"lightning\", intent=\"charge\", \
             request=\"{request}\", expires=\"2030-01-01T00:00:00Z\""
        )
    }

    fn request(amount: &str, currency: &str, hash: &str) -> String {
        format!(
            r#"{{"amount":"{amount}","currency":"{currency}","methodDetails":{{"invoice":"{INVOICE}","network":"mainnet","paymentHash":"{hash}"}}}}"#
        )
    }

    fn read(line: &str) -> Result<Challenge, ChallengeError> {
        let params = AuthParams::parse(line);
        Challenge::from_payment(&params[0])
    }

    #[test]
    fn a_payment_credential_echoes_the_challenge_and_proves_the_payment() {
        let challenge = read(&line(&request("21", "sat", HASH))).unwrap();
        assert_eq!(challenge.payment_hash().to_hex(), HASH);
        let preimage = Preimage::from_hex(PREIMAGE).unwrap();
        let sent = challenge.authorization(&preimage);
        let json = URL_SAFE_NO_PAD.decode(sent.strip_prefix("Payment ").unwrap()).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["payload"]["preimage"], std::str::from_utf8(PREIMAGE).unwrap());
        assert_eq!(json["challenge"]["id"], "x1");
        assert_eq!(json["challenge"]["expires"], "2030-01-01T00:00:00Z");
        assert_eq!(json["challenge"].as_object().unwrap().len(), 6);
    }

    #[test]
    fn err_payment_challenge_that_says_something_else_than_its_invoice() {
        for (request, fault) in [
            (request("20", "sat", HASH), ChallengeError::AmountMismatch),
            (request("21", "usd", HASH), ChallengeError::AmountMismatch),
            (request("21", "sat", &"00".repeat(32)), ChallengeError::HashMismatch),
            (request("21", "sat", "00"), ChallengeError::BadRequest),
            ("{}".to_owned(), ChallengeError::BadRequest),
        ] {
            assert_eq!(read(&line(&request)), Err(fault), "{request}");
        }
        let other = line(&request("21", "sat", HASH)).replace("charge", "session");
        assert_eq!(read(&other), Err(ChallengeError::BadRequest));
    }

    #[test]
    fn an_invoice_that_has_expired_is_not_offered() {
        let line = line(&request("21", "sat", HASH));
        assert_eq!(Challenge::from_headers([line.as_bytes()]), Err(ChallengeError::Expired));
    }
}
