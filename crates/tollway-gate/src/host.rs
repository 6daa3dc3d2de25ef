//! What the gate asks of the proxy it runs in.
//!
//! Two real implementations stand behind these traits: the Envoy skin in the root package and
//! the fake host of the test kit.

use tollway_core::header_block::HeaderBlock;
use tollway_core::id::HoldId;

use crate::metrics::{CallKind, Decision, LeaseEvent};

/// Names a call to `tollwayd` until its reply comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub u32);

/// Names a stream of the proxy while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId(pub u32);

/// An HTTP call to `tollwayd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The proxy's name for the place to call.
    pub cluster: &'a str,
    /// All headers, pseudo headers first.
    pub headers: Vec<(&'a str, &'a str)>,
    /// The body, if there is one.
    pub body: Option<&'a [u8]>,
    /// After how long the proxy gives up.
    pub timeout_ms: u64,
}

/// The call could not even be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSent;

/// Another worker changed the shared value since it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CasMismatch;

/// Stands for the version of a shared value that is not there. [`Host::set_shared`] then makes
/// the value, unless another worker was faster.
pub const CAS_ABSENT: u32 = u32::MAX;

/// What came back from a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallReply {
    /// The HTTP status; `None` when no reply came at all.
    pub status: Option<u16>,
    /// The body, at most [`CALL_REPLY_BYTES_MAX`] of it.
    pub body: Vec<u8>,
}

/// A longer reply is not from `tollwayd`: its largest, a keyring with all the keys and revoked
/// tokens that it may name, has about 75 KiB.
pub const CALL_REPLY_BYTES_MAX: usize = 128 * 1024;

/// An answer that the gate gives in the upstream's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The gRPC status and message to send instead of the HTTP status and body.
    pub grpc: Option<(GrpcStatus, &'static str)>,
}

/// The gRPC statuses that the gate answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcStatus {
    /// 3: the request is malformed.
    InvalidArgument,
    /// 7: no price is configured.
    PermissionDenied,
    /// 8: too many invoices were asked for.
    ResourceExhausted,
    /// 10: a request with the same idempotency key is under way.
    Aborted,
    /// 13: payment required, as the L402 protocol has it.
    Internal,
    /// 14: the gate cannot decide now.
    Unavailable,
}

/// How a response came about, as the proxy saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseTrouble {
    /// The upstream was never reached.
    pub unreached: bool,
    /// The upstream's stream or connection broke.
    pub reset: bool,
    /// A time limit ran out.
    pub timeout: bool,
}

/// A field of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogField {
    /// The account that paid.
    Account,
    /// What the request cost.
    CostMsat,
    /// The [`Decision`].
    Decision,
    /// Why a request was not admitted: a reason code.
    Reason,
    /// The route's name.
    Route,
    /// The [`Decision`] that a request in shadow would have met.
    Shadow,
    /// What it would have cost.
    ShadowCostMsat,
}

impl LogField {
    /// Its name in the line that the access log gets.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::CostMsat => "cost_msat",
            Self::Decision => "decision",
            Self::Reason => "reason",
            Self::Route => "route",
            Self::Shadow => "shadow",
            Self::ShadowCostMsat => "shadow_cost_msat",
        }
    }
}

/// What every part of the gate may ask.
pub trait Host {
    /// Unix time in milliseconds.
    fn now_ms(&self) -> u64;

    /// Sends a call; its reply comes later, or never if the stream ends first.
    ///
    /// # Errors
    /// [`NotSent`] when the proxy has no such cluster or no host in it.
    fn call(&self, call: &Call<'_>) -> Result<CallId, NotSent>;

    /// Takes the body of a hold, to be sent together with those of other requests; its reply comes
    /// as to any call. `None` where each travels by itself.
    fn pool(&self, hold: HoldId, body: &[u8]) -> Option<CallId>;

    /// Counts a decision.
    fn count(&self, decision: Decision);

    /// Counts what would have become of a request in shadow.
    fn count_shadow(&self, decision: Decision);

    /// Adds up what requests in shadow with this decision would have cost.
    fn count_shadow_msat(&self, decision: Decision, amount_msat: u64);

    /// Records how long a call took.
    fn record_call_ms(&self, kind: CallKind, elapsed_ms: u64);

    /// Counts postings that `tollwayd` did not accept, or that were dropped.
    fn count_lost_postings(&self, rows: u64);

    /// Counts what happened to a lease.
    fn count_lease(&self, event: LeaseEvent);

    /// A value that all workers share, and its version: empty and [`CAS_ABSENT`] when it is not
    /// there.
    fn shared(&self, key: &str) -> (Vec<u8>, u32);

    /// Replaces a shared value of this version.
    ///
    /// # Errors
    /// [`CasMismatch`] when the value has another version by now.
    fn set_shared(&self, key: &str, value: &[u8], version: u32) -> Result<(), CasMismatch>;

    /// Cuts a stream off, whichever way it goes. Called inside the root's tick only.
    fn end_stream(&self, stream: StreamId);

    /// Writes a line for the operator.
    fn warn(&self, message: &str);
}

/// What a request may ask besides.
pub trait Stream: Host {
    /// Its name.
    fn id(&self) -> StreamId;

    /// The request's headers, pseudo headers included, names in lower case.
    fn request_headers(&self) -> HeaderBlock;

    /// The first `bytes` bytes of what has come of the request's body while it was held back.
    fn request_body(&self, bytes: usize) -> Vec<u8>;

    /// Puts a text in the place of the first `bytes` bytes of what has come of the request's
    /// body while it was held back.
    fn replace_request_body(&self, bytes: usize, text: &[u8]);

    /// Sets a request header, or removes it.
    fn set_request_header(&self, name: &str, value: Option<&[u8]>);

    /// Adds a request header that is not there. Dearer is to set it, which looks for it first.
    fn add_request_header(&self, name: &str, value: &[u8]);

    /// The client's address without its port, as the proxy trusts it.
    fn client_address(&self) -> Option<String>;

    /// A response header, its values joined by commas.
    fn response_header(&self, name: &str) -> Option<Vec<u8>>;

    /// Sets a response header, or removes it.
    fn set_response_header(&self, name: &str, value: Option<&[u8]>);

    /// Adds a response header beside those of its name.
    fn add_response_header(&self, name: &str, value: &[u8]);

    /// The first `bytes` bytes of the part of the response's body that passes now.
    fn response_body(&self, bytes: usize) -> Vec<u8>;

    /// Puts a text in the place of the first `bytes` bytes of the part that passes now.
    fn replace_response_body(&self, bytes: usize, text: &[u8]);

    /// What went wrong on the way to the upstream or back, so far.
    fn response_trouble(&self) -> ResponseTrouble;

    /// Whether the proxy itself wrote the response: neither the upstream nor a route that
    /// answers directly did.
    fn response_is_local(&self) -> bool;

    /// Files a field for the access log.
    fn note(&self, field: LogField, value: &str);
}
