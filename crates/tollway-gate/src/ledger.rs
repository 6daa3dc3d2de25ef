//! The calls to `tollwayd`: encode, decode, and what counts as a failure.

use core::fmt;

use tollway_core::id::HoldId;
use tollway_core::json_de::from_json;
use tollway_core::json_ser::to_json_bytes;
use tollway_core::wire::{
    self, AllowanceRequest, ChallengeRequest, ExtensionRequest, HoldRequest, POSTINGS_PATH,
    PREFER_BRIEF, Posting, PostingBatch, PriceRequest,
};

use crate::config::Tollwayd;
use crate::host::{CALL_REPLY_BYTES_MAX, Call, CallId, CallReply, Host, NotSent};

/// Why a call gave no usable answer. Each of them is our own fault, never the customer's: the
/// answer is 503, never a new invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallFault {
    /// The proxy could not send it.
    NotSent,
    /// No reply came.
    NoReply,
    /// A reply with this status, which is not a success.
    Status(u16),
    /// A reply that is not what was asked for.
    Garbage,
    /// Its keyring has no secret to mint a token of the service's profile with.
    NoLegacyKey,
}

impl CallFault {
    /// Whether `tollwayd` looked at the call and will never accept it as it stands.
    pub(crate) const fn is_final(self) -> bool {
        matches!(self, Self::Status(400 | 409 | 413 | 415 | 422))
    }
}

impl fmt::Display for CallFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent => f.write_str("the cluster is unknown or has no healthy host"),
            Self::NoReply => f.write_str("no reply came"),
            Self::Status(401) => {
                f.write_str("status 401: the gate token here and in tollwayd differ")
            }
            Self::Status(504) => f.write_str("no reply came in time"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::NoLegacyKey => f.write_str(
                "its legacy_keys have none for the profile of this service; add it, or change the \
                 profile",
            ),
            Self::Garbage => f.write_str("the reply is not what tollwayd sends"),
        }
    }
}

impl From<NotSent> for CallFault {
    fn from(_: NotSent) -> Self {
        Self::NotSent
    }
}

/// Asks for an invoice.
pub(crate) fn open_challenge(
    host: &impl Host,
    to: &Tollwayd,
    request: &ChallengeRequest,
) -> Result<CallId, CallFault> {
    send(host, to, to.timeout_ms, "POST", wire::CHALLENGES_PATH, Some(&encode(request)))
}

/// Asks to set credit aside, with other requests where that can be.
pub(crate) fn place_hold(
    host: &impl Host,
    to: &Tollwayd,
    hold: HoldId,
    request: &HoldRequest,
) -> Result<CallId, CallFault> {
    let body = encode(request);
    // What may be answered at length, or only after the node was asked, keeps nobody else waiting.
    let is_plain = request.idempotency.is_none()
        && request.preimage.is_some()
        && request.import_msat.is_none();
    if is_plain && let Some(call) = host.pool(hold, &body) {
        return Ok(call);
    }
    send_hold(host, to, hold, &body)
}

/// Asks for one hold by itself.
pub(crate) fn send_hold(
    host: &impl Host,
    to: &Tollwayd,
    hold: HoldId,
    body: &[u8],
) -> Result<CallId, CallFault> {
    let path = format!("{}/{hold}", wire::HOLDS_PATH);
    send(host, to, to.timeout_ms, "PUT", &path, Some(body))
}

/// Asks for several holds, a line each.
pub(crate) fn send_holds(
    host: &impl Host,
    to: &Tollwayd,
    lines: &[u8],
) -> Result<CallId, CallFault> {
    send(host, to, to.timeout_ms, "POST", wire::HOLDS_PATH, Some(lines))
}

/// Asks to set credit aside for a credential of another rail.
pub(crate) fn place_rail_hold(
    host: &impl Host,
    to: &Tollwayd,
    hold: HoldId,
    asked: &[u8],
) -> Result<CallId, CallFault> {
    on_rail(host, to, to.timeout_ms, hold, (wire::RAIL_SEGMENT, asked))
}

/// Asks to settle what was only reserved.
pub(crate) fn settle_on_rail(
    host: &impl Host,
    to: &Tollwayd,
    hold: HoldId,
    asked: &[u8],
    timeout_ms: u64,
) -> Result<CallId, CallFault> {
    on_rail(host, to, timeout_ms, hold, (wire::SETTLEMENT_SEGMENT, asked))
}

fn on_rail(
    host: &impl Host,
    to: &Tollwayd,
    timeout_ms: u64,
    hold: HoldId,
    (segment, asked): (&str, &[u8]),
) -> Result<CallId, CallFault> {
    send(
        host,
        to,
        timeout_ms,
        "PUT",
        &format!("{}/{hold}/{segment}", wire::HOLDS_PATH),
        Some(asked),
    )
}

/// Asks for more of a hold.
pub(crate) fn extend_hold(
    host: &impl Host,
    to: &Tollwayd,
    hold: HoldId,
    request: &ExtensionRequest,
) -> Result<CallId, CallFault> {
    let path = format!("{}/{hold}/{}", wire::HOLDS_PATH, wire::EXTENSIONS_SEGMENT);
    send(host, to, to.timeout_ms, "POST", &path, Some(&encode(request)))
}

/// Asks for more of several holds, a line each.
pub(crate) fn extend_holds(
    host: &impl Host,
    to: &Tollwayd,
    lines: &[u8],
) -> Result<CallId, CallFault> {
    send(host, to, to.timeout_ms, "POST", wire::EXTENSIONS_PATH, Some(lines))
}

/// Asks what a request costs.
pub(crate) fn ask_price(
    host: &impl Host,
    to: &Tollwayd,
    request: &PriceRequest,
) -> Result<CallId, CallFault> {
    send(host, to, to.timeout_ms, "POST", wire::PRICES_PATH, Some(&encode(request)))
}

/// Asks for a free request.
pub(crate) fn ask_allowance(
    host: &impl Host,
    to: &Tollwayd,
    request: &AllowanceRequest,
) -> Result<CallId, CallFault> {
    send(host, to, to.timeout_ms, "POST", wire::ALLOWANCES_PATH, Some(&encode(request)))
}

/// Reports charges and releases.
pub(crate) fn send_postings(
    host: &impl Host,
    to: &Tollwayd,
    batch: &PostingBatch<&Posting>,
) -> Result<CallId, CallFault> {
    let body = encode(batch);
    let more = [("prefer", PREFER_BRIEF)];
    send_with(host, to, to.timeout_ms, ("POST", POSTINGS_PATH), Some(&body), &more)
}

/// Asks for the keys.
pub(crate) fn fetch_keyring(host: &impl Host, to: &Tollwayd) -> Result<CallId, CallFault> {
    send(host, to, to.timeout_ms, "GET", wire::KEYRING_PATH, None)
}

/// Reads a reply: 200, or 201 for a new invoice, whose body is a `T`; anything else is a fault.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(reply: &CallReply) -> Result<T, CallFault> {
    match reply.status {
        Some(200 | 201) if reply.body.len() < CALL_REPLY_BYTES_MAX => {
            from_json(&reply.body).map_err(|_| CallFault::Garbage)
        }
        _ => Err(fault_of(reply)),
    }
}

/// What is wrong with a reply that is not what was asked for.
pub(crate) fn fault_of(reply: &CallReply) -> CallFault {
    match reply.status {
        None => CallFault::NoReply,
        Some(200 | 201) => CallFault::Garbage,
        Some(status) => CallFault::Status(status),
    }
}

/// A body of a call.
pub(crate) fn encode(body: &impl serde::Serialize) -> Vec<u8> {
    // The wire types are plain structs with string keys; writing them cannot fail.
    to_json_bytes(body).unwrap_or_else(|_| b"null".to_vec())
}

fn send(
    host: &impl Host,
    to: &Tollwayd,
    timeout_ms: u64,
    method: &str,
    path: &str,
    body: Option<&[u8]>,
) -> Result<CallId, CallFault> {
    send_with(host, to, timeout_ms, (method, path), body, &[])
}

fn send_with(
    host: &impl Host,
    to: &Tollwayd,
    timeout_ms: u64,
    (method, path): (&str, &str),
    body: Option<&[u8]>,
    more: &[(&str, &str)],
) -> Result<CallId, CallFault> {
    let token = format!("Bearer {}", to.gate_token.reveal());
    let mut headers = vec![
        (":method", method),
        (":path", path),
        (":authority", to.authority.as_str()),
        ("authorization", token.as_str()),
    ];
    if body.is_some() {
        headers.push(("content-type", "application/json"));
    }
    headers.extend_from_slice(more);
    let call = Call { cluster: &to.cluster, headers, body, timeout_ms };
    Ok(host.call(&call)?)
}
