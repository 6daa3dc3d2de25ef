//! The intent `session` (draft-lightning-session-00): credit that is spent request by request, and
//! whose rest goes back to its payer.

use serde::{Deserialize, Serialize};
use tollway_core::money::Msat;
use tollway_core::payment::{PaymentHash, Preimage};

use super::challenge::{Line, Secret};
use super::credential::{Payload, Problem};
use super::text::{decode, encode_json};
use super::{CURRENCY, SESSION_INTENT};

/// A deposit that opens a session, or tops one up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deposit {
    /// What a request costs, in whole sats.
    pub(crate) price: Msat,
    pub(crate) amount: Msat,
    pub(crate) invoice: String,
    pub(crate) payment_hash: PaymentHash,
}

/// The `request` of a challenge, its members in canonical order.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    amount: String,
    currency: String,
    deposit_amount: String,
    deposit_invoice: String,
    payment_hash: String,
    unit_type: String,
}

/// What a client wants of a session, proven by its preimage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionProof {
    pub(crate) challenge_id: String,
    pub(crate) session: PaymentHash,
    pub(crate) action: Action,
}

/// What is to become of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It begins, and pays for this request.
    Open { price: Msat, return_invoice: String },
    /// It pays for this request.
    Bearer { price: Msat },
    /// This payment is added to it.
    TopUp { payment_hash: PaymentHash },
    /// It ends.
    Close,
}

impl Deposit {
    /// The value of `WWW-Authenticate`.
    pub(crate) fn challenge(
        &self,
        secret: &Secret,
        realm: &str,
        expires_at_s: u64,
        other_header: bool,
    ) -> String {
        let sats = |amount: Msat| amount.to_sats_rounded_up().to_string();
        let request = encode_json(&Request {
            amount: sats(self.price),
            currency: CURRENCY.to_owned(),
            deposit_amount: sats(self.amount),
            deposit_invoice: self.invoice.clone(),
            payment_hash: self.payment_hash.to_hex(),
            unit_type: "request".to_owned(),
        });
        let intent = SESSION_INTENT;
        Line { realm, intent, request, expires_at_s, other_header }.write(secret)
    }
}

/// Reads what a credential wants whose challenge is ours. Whether the challenge has expired counts
/// only where it asked for a payment.
pub(super) fn read(
    challenge_id: String,
    request: &str,
    payload: Payload,
    expired: bool,
    price: Msat,
) -> Result<SessionProof, Problem> {
    let request: Option<Request> =
        decode(request).and_then(|json| serde_json::from_slice(&json).ok());
    let request = request.ok_or(Problem::ForeignChallenge)?;
    let deposit = PaymentHash::from_hex(request.payment_hash.as_bytes());
    let deposit = deposit.map_err(|_| Problem::ForeignChallenge)?;
    let sats = request.amount.parse().ok().and_then(Msat::from_sats);
    let asked = sats.ok_or(Problem::ForeignChallenge)?;
    let action = payload.action.as_deref().ok_or(Problem::Malformed)?;
    if expired && matches!(action, "open" | "topUp") {
        return Err(Problem::Expired);
    }
    let named = || {
        let text = payload.session_id.as_deref().ok_or(Problem::Malformed)?;
        PaymentHash::from_hex(text.as_bytes()).map_err(|_| Problem::Malformed)
    };
    let proven = |preimage: &Option<String>, hash: &PaymentHash| {
        let preimage = preimage.as_deref().ok_or(Problem::Malformed)?;
        let preimage = Preimage::from_hex(preimage.as_bytes());
        preimage.is_ok_and(|it| it.proves(hash)).then_some(()).ok_or(Problem::NotProven)
    };
    let enough = || if asked < price { Err(Problem::Insufficient) } else { Ok(asked) };
    let (session, action) = match action {
        "open" => {
            proven(&payload.preimage, &deposit)?;
            let return_invoice = payload.return_invoice.ok_or(Problem::Malformed)?;
            (deposit, Action::Open { price: enough()?, return_invoice })
        }
        "topUp" => {
            proven(&payload.top_up_preimage, &deposit)?;
            (named()?, Action::TopUp { payment_hash: deposit })
        }
        "bearer" => {
            let session = named()?;
            proven(&payload.preimage, &session)?;
            (session, Action::Bearer { price: enough()? })
        }
        "close" => {
            let session = named()?;
            proven(&payload.preimage, &session)?;
            (session, Action::Close)
        }
        _ => return Err(Problem::Malformed),
    };
    Ok(SessionProof { challenge_id, session, action })
}

/// The receipt of an end.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CloseReceipt<'a> {
    pub(crate) method: &'a str,
    pub(crate) reference: String,
    pub(crate) refund_sats: u64,
    pub(crate) refund_status: &'a str,
    pub(crate) status: &'a str,
    pub(crate) timestamp: String,
}

impl CloseReceipt<'_> {
    /// The value of `Payment-Receipt`.
    pub(crate) fn write(&self) -> String {
        encode_json(self)
    }
}
