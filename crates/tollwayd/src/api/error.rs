//! Every fault a door can answer with, and the one map from faults to `problem+json`.
//!
//! What callers read is written here. What the database or the node said goes to the log.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tollway_core::wire::Problem;

use super::BODY_BYTES_MAX;
use crate::authority::CertificateFault;
use crate::entropy::EntropyError;
use crate::ledger::{AdminOutcome, LedgerError, RetryOutcome};
use crate::lightning::PayError;
use crate::paywall::{ChallengeError, PaymentError};
use crate::recovery::RecoveryError;
use crate::x402::X402Error;

/// Why a door did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApiError {
    /// No invoice with this payment hash.
    AccountUnknown,
    /// An operator's act was not done.
    Admin(AdminOutcome),
    /// A credit would lift a balance above `Msat::MAX`.
    BalanceLimit,
    /// Longer than [`BODY_BYTES_MAX`].
    BodyTooLarge,
    /// The body ended early.
    BodyUnreadable,
    /// No randomness.
    Entropy(EntropyError),
    /// The hold id was used with other fields.
    HoldConflict,
    /// The hold was released or has expired.
    HoldEnded,
    /// No such hold.
    HoldUnknown,
    /// What was given up is not tried again.
    Retry(RetryOutcome),
    /// A field's value cannot be used.
    InvalidField { field: String, problem: String },
    /// A segment of the path cannot be used.
    InvalidPath { expected: &'static str },
    /// The ledger did not answer.
    Ledger(LedgerError),
    /// A purchase is not certified.
    Certificate(CertificateFault),
    /// The body is not JSON.
    MalformedJson { line: usize, column: usize },
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The node made no usable invoice.
    Node,
    /// The node did not answer.
    NodeDown,
    /// What became of an x402 payment is not decided.
    X402(X402Error),
    /// No such path.
    NotFound,
    /// The simulated node refused.
    Pay(PayError),
    /// The ledger does not know the invoice to pay.
    PaymentUnknown,
    /// The operator's service told no price.
    PriceUnknown,
    /// Shares are to be paid out, and the wallet does not allow it.
    PayoutsDenied,
    /// The request took too long.
    RequestTimeout,
    /// Nothing pays into the account to top up.
    TopUpUnknown,
    /// No token, or a wrong one.
    Unauthorized,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
}

/// The code of the problem that a response tells, for the log.
#[derive(Clone, Copy)]
pub(super) struct ProblemCode(pub(super) &'static str);

/// Status, stable code, and what is wrong with the remedy.
type Description = (StatusCode, &'static str, Cow<'static, str>);

impl ApiError {
    fn describe(&self) -> Description {
        match self {
            Self::BodyTooLarge
            | Self::BodyUnreadable
            | Self::InvalidField { .. }
            | Self::InvalidPath { .. }
            | Self::MalformedJson { .. }
            | Self::MethodNotAllowed
            | Self::NotFound
            | Self::RequestTimeout
            | Self::Unauthorized
            | Self::UnsupportedMediaType => self.describe_wrong_call(),
            Self::AccountUnknown
            | Self::BalanceLimit
            | Self::HoldConflict
            | Self::HoldEnded
            | Self::HoldUnknown
            | Self::Pay(_)
            | Self::PaymentUnknown
            | Self::TopUpUnknown => self.describe_refusal(),
            Self::Admin(outcome) => describe_act(*outcome),
            Self::Retry(outcome) => describe_retry(*outcome),
            Self::Certificate(fault) => {
                (StatusCode::FORBIDDEN, fault.code(), fault.to_string().into())
            }
            Self::Entropy(_)
            | Self::Ledger(_)
            | Self::Node
            | Self::NodeDown
            | Self::PayoutsDenied
            | Self::PriceUnknown
            | Self::X402(_) => self.describe_our_fault(),
        }
    }

    /// The call was not one that the door understands.
    fn describe_wrong_call(&self) -> Description {
        use StatusCode as S;
        let (status, code, detail) = match self {
            Self::BodyTooLarge => {
                let detail = format!("expected at most {BODY_BYTES_MAX} bytes; send less at once");
                return (S::PAYLOAD_TOO_LARGE, "body_too_large", detail.into());
            }
            Self::InvalidField { field, problem } => {
                let detail = format!("{field}: {problem}");
                return (S::UNPROCESSABLE_ENTITY, "invalid_field", detail.into());
            }
            Self::InvalidPath { expected } => {
                let detail = format!("expected {expected} in the path");
                return (S::BAD_REQUEST, "invalid_path", detail.into());
            }
            Self::MalformedJson { line, column } => {
                let detail = format!("expected JSON, but it breaks at line {line} column {column}");
                return (S::BAD_REQUEST, "malformed_json", detail.into());
            }
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path has other methods; see the allow header",
            ),
            Self::NotFound => (S::NOT_FOUND, "not_found", "no such path on this listener"),
            Self::RequestTimeout => {
                (S::REQUEST_TIMEOUT, "request_timeout", "the request took too long; send it again")
            }
            Self::Unauthorized => (
                S::UNAUTHORIZED,
                "unauthorized",
                "expected `authorization: Bearer <token>` with this listener's token",
            ),
            Self::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "expected `content-type: application/json`",
            ),
            _ => (S::BAD_REQUEST, "body_unreadable", "the body ended early; send it again"),
        };
        (status, code, detail.into())
    }

    /// The call was right, but what it asks cannot be.
    fn describe_refusal(&self) -> Description {
        use StatusCode as S;
        let (status, code, detail) = match self {
            Self::AccountUnknown => {
                (S::NOT_FOUND, "account_unknown", "no invoice with this payment hash is known")
            }
            Self::BalanceLimit => (
                S::CONFLICT,
                "balance_limit",
                "the credit would lift the balance above 2^53 - 1 msat; spend some of it first",
            ),
            Self::HoldConflict => (
                S::CONFLICT,
                "hold_conflict",
                "a hold with this id and other fields exists; use a new id",
            ),
            Self::HoldUnknown => (S::NOT_FOUND, "hold_unknown", "no hold with this id was granted"),
            Self::Pay(error) => {
                return (pay_status(*error), pay_code(*error), error.to_string().into());
            }
            Self::PaymentUnknown => (
                S::NOT_FOUND,
                "invoice_unknown",
                "the ledger does not know the invoice; ask for a new challenge",
            ),
            Self::TopUpUnknown => (
                S::NOT_FOUND,
                "top_up_unknown",
                "top_up: no token of this payment hash takes one: it is unknown, revoked, or a \
                 session's; leave it out",
            ),
            _ => (S::CONFLICT, "hold_ended", "this hold was released or has expired; use a new id"),
        };
        (status, code, detail.into())
    }

    /// Our own faults: always 503, so that nobody is asked to pay for them.
    fn describe_our_fault(&self) -> Description {
        let (code, detail) = match self {
            Self::Ledger(LedgerError::Busy) => ("busy", "too much work is waiting; come back"),
            Self::Ledger(LedgerError::Stopped) => ("stopping", "the server is stopping; come back"),
            Self::Ledger(LedgerError::Store(_)) => {
                ("store_unavailable", "the store failed; a repeat with the same ids is safe")
            }
            Self::Node => ("node_unavailable", "the Lightning node made no usable invoice"),
            Self::PayoutsDenied => {
                ("payouts_denied", "the payout wallet does not say that this credential may pay")
            }
            Self::NodeDown => {
                ("lightning_unavailable", "the Lightning node does not answer; come back")
            }
            Self::PriceUnknown => ("price_unknown", "the price webhook told no price; see the log"),
            Self::X402(X402Error::Silent) => {
                ("facilitator_unavailable", "the x402 facilitator does not answer; come back")
            }
            Self::X402(_) => (
                "payment_undecided",
                "what became of the payment is not known; come back with the same payment",
            ),
            _ => ("unavailable", "the server cannot answer; come back"),
        };
        (StatusCode::SERVICE_UNAVAILABLE, code, detail.into())
    }
}

/// Why an operator's act was not done.
fn describe_act(outcome: AdminOutcome) -> Description {
    use StatusCode as S;
    let (status, code, detail) = match outcome {
        AdminOutcome::Done => (S::OK, "done", "it is done"),
        AdminOutcome::Conflict => (
            S::CONFLICT,
            "action_conflict",
            "an action with this id and other fields was done before; use a new id",
        ),
        AdminOutcome::Unknown => (
            S::NOT_FOUND,
            "subject_unknown",
            "the ledger has no credited account, invoice or key of this name",
        ),
        AdminOutcome::AlreadyCredited => (
            S::CONFLICT,
            "already_credited",
            "the payment was credited before; there is nothing to do",
        ),
        AdminOutcome::HasNoCredit => (
            S::CONFLICT,
            "session_has_no_credit",
            "a session's account has no credit: give the money back by other means, and revoke \
             the account to end the session",
        ),
        AdminOutcome::ExceedsCharges => (
            S::CONFLICT,
            "exceeds_charges",
            "more than was charged and not given back; refund less, or grant credit",
        ),
        AdminOutcome::BalanceLimit => {
            (S::CONFLICT, "balance_limit", "the balance would rise above 2^53 - 1 msat; give less")
        }
        AdminOutcome::KeyInUse => (
            S::CONFLICT,
            "key_in_use",
            "the current key cannot be retired; rotate first, then retire it",
        ),
    };
    (status, code, detail.into())
}

/// Why what was given up is not tried again.
fn describe_retry(outcome: RetryOutcome) -> Description {
    use StatusCode as S;
    let (status, code, detail) = match outcome {
        RetryOutcome::Done => return describe_act(AdminOutcome::Done),
        RetryOutcome::Conflict => return describe_act(AdminOutcome::Conflict),
        RetryOutcome::Unknown => {
            (S::NOT_FOUND, "delivery_unknown", "nothing with this id is to be sent")
        }
        RetryOutcome::NotGivenUp => {
            (S::CONFLICT, "not_given_up", "it was sent, or is still tried; there is nothing to do")
        }
    };
    (status, code, detail.into())
}

fn pay_status(error: PayError) -> StatusCode {
    match error {
        PayError::Down(_) => StatusCode::SERVICE_UNAVAILABLE,
        PayError::Expired => StatusCode::GONE,
        PayError::Malformed => StatusCode::UNPROCESSABLE_ENTITY,
        PayError::NotOurs => StatusCode::NOT_FOUND,
    }
}

fn pay_code(error: PayError) -> &'static str {
    match error {
        PayError::Down(_) => "lightning_unavailable",
        PayError::Expired => "invoice_expired",
        PayError::Malformed => "invoice_malformed",
        PayError::NotOurs => "invoice_not_ours",
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, detail) = self.describe();
        let problem = Problem {
            code: code.to_owned(),
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            detail: detail.into_owned(),
        };
        // A problem is strings and a number, which always serialise.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(ProblemCode(code));
        response
    }
}

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<RecoveryError> for ApiError {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::Ledger(error) => Self::Ledger(error),
            RecoveryError::Node(_) => Self::NodeDown,
        }
    }
}

impl From<X402Error> for ApiError {
    fn from(error: X402Error) -> Self {
        match error {
            X402Error::Ledger(error) => Self::Ledger(error),
            X402Error::Silent | X402Error::InFlight | X402Error::Unknown => Self::X402(error),
        }
    }
}

impl From<EntropyError> for ApiError {
    fn from(error: EntropyError) -> Self {
        Self::Entropy(error)
    }
}

impl From<ChallengeError> for ApiError {
    fn from(error: ChallengeError) -> Self {
        match error {
            ChallengeError::BalanceLimit => Self::BalanceLimit,
            ChallengeError::Client(error) => Self::InvalidField {
                field: "client.address".to_owned(),
                problem: error.to_string(),
            },
            ChallengeError::Certificate(fault) => Self::Certificate(fault),
            ChallengeError::Ledger(error) => Self::Ledger(error),
            ChallengeError::HashTaken | ChallengeError::Make(_) => {
                tracing::error!(%error, "the node made no usable invoice");
                Self::Node
            }
            ChallengeError::TopUpUnknown => Self::TopUpUnknown,
        }
    }
}

impl From<PaymentError> for ApiError {
    fn from(error: PaymentError) -> Self {
        match error {
            PaymentError::BalanceLimit => Self::BalanceLimit,
            PaymentError::Ledger(error) => Self::Ledger(error),
            PaymentError::Pay(error) => Self::Pay(error),
            PaymentError::Recovery(error) => error.into(),
            PaymentError::Unknown => Self::PaymentUnknown,
        }
    }
}
