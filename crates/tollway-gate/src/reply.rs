//! The answers the gate gives itself: the one place where a decision becomes HTTP or gRPC.

use core::fmt;

use tollway_core::challenge::ChallengeBody;
use tollway_core::json_ser::to_json;
use tollway_core::mcp::payment_required;
use tollway_core::money::Msat;
use tollway_core::pricing::{PathFault, PriceFault};
use tollway_core::wire::{HoldRefusal, Problem, SaleRefusal, StoredResponse};

use crate::headers::EXPOSED;
use crate::host::{GrpcStatus, Reply};
use crate::keep::Reason;

const PROBLEM_JSON: &str = "application/problem+json";
/// When a client may try again after a 503.
const RETRY_AFTER_S: &str = "1";

/// 402 with an invoice, or 401 where the operator answers so to a credential.
pub(crate) fn challenge(lines: Vec<String>, body: &ChallengeBody, grpc: bool) -> Reply {
    let mut reply = problem(body.status, body.to_json());
    reply.headers.extend(lines.into_iter().map(|line| ("www-authenticate", line)));
    if let Some(balance) = body.balance_msat {
        reply.headers.push(("x-toll-balance-msat", balance.get().to_string()));
    }
    or_grpc(reply, grpc, GrpcStatus::Internal, "payment required")
}

/// The same as the error of a JSON-RPC call, for clients whose transport hides a 402 from them.
pub(crate) fn challenge_in_json_rpc(lines: Vec<String>, body: &ChallengeBody, id: &str) -> Reply {
    let header = lines.first().map_or("", String::as_str);
    let mut reply = plain_json(200, payment_required(id, header, &body.to_json()));
    reply.headers.extend(lines.into_iter().map(|line| ("www-authenticate", line)));
    reply
}

/// 402 with an invoice in the form of another paywall.
pub(crate) fn foreign_challenge(line: String, body: String, grpc: bool) -> Reply {
    let mut reply = plain_json(402, body);
    reply.headers.push(("www-authenticate", line));
    or_grpc(reply, grpc, GrpcStatus::Internal, "payment required")
}

/// 401 as lightning-toll says it: without a challenge.
pub(crate) fn unauthorized(error: &str, grpc: bool) -> Reply {
    let body = to_json(error).unwrap_or_default();
    let reply = plain_json(401, format!("{{\"error\":{body}}}"));
    or_grpc(reply, grpc, GrpcStatus::Internal, "invalid credential")
}

fn plain_json(status: u16, body: String) -> Reply {
    let mut reply = problem(status, body);
    for (name, value) in &mut reply.headers {
        if *name == "content-type" {
            *value = "application/json".to_owned();
        }
    }
    reply
}

/// 402 that names the price and sells nothing: the answer to HEAD.
pub(crate) fn price_only(price: Msat) -> Reply {
    let mut reply = problem(402, String::new());
    reply.headers.push(("x-toll-price-msat", price.get().to_string()));
    reply.headers.push(("x-l402-price-sats", price.to_sats_rounded_up().to_string()));
    reply
}

/// 402: what was presented was not paid in the end, so nothing of the upstream's answer leaves.
pub(crate) fn not_settled(detail: &str) -> Reply {
    plain(402, "payment_not_settled", "Payment Required", detail)
}

/// 402 that names the price and sells nothing: it is above what the client allows.
pub(crate) fn too_dear(price: Msat, limit: Msat, grpc: bool) -> Reply {
    let detail = format!(
        "This request costs {price}, and its x-toll-max-cost-msat allows {}. Nothing was charged; \
         raise the limit or ask for less.",
        limit.get()
    );
    let mut reply = plain(402, "max_cost_exceeded", "Payment Required", &detail);
    reply.headers.push(("x-toll-price-msat", price.get().to_string()));
    or_grpc(reply, grpc, GrpcStatus::Internal, "max_cost_exceeded")
}

/// The last event of a stream that the gate ends, in the form that clients of OpenAI and of
/// Anthropic take for an error.
pub(crate) fn last_event(reason: Reason) -> String {
    let code = reason.code();
    let message = match reason {
        Reason::CreditExhausted => {
            "What was set aside for this stream is used up. Pay, and ask again."
        }
        Reason::MaxCostExceeded => "This stream has cost as much as its limit allows.",
        Reason::AccountRevoked => "The operator revoked this token.",
        Reason::HoldExpired => "The gateway lost track of the payment. Ask again.",
    };
    format!(
        "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{code}\",\
         \"code\":\"{code}\",\"message\":\"{message}\"}}}}\n\n"
    )
}

/// 403: the configuration has no price for this request.
pub(crate) fn not_priced(grpc: bool) -> Reply {
    let detail = "no route of this gateway matches the request's host, path and method";
    let reply = plain(403, "route_not_found", "Forbidden", detail);
    or_grpc(reply, grpc, GrpcStatus::PermissionDenied, "no route matches")
}

/// 400: the path is not in normal form, so the upstream might read it as another one.
pub(crate) fn path_not_normal(fault: PathFault, grpc: bool) -> Reply {
    let detail = format!("the request path is not in normal form: {fault}");
    bad_request("path_not_normal", detail, grpc)
}

/// 400: the client must change the request.
pub(crate) fn bad_request(code: &'static str, detail: impl fmt::Display, grpc: bool) -> Reply {
    let reply = plain(400, code, "Bad Request", &detail.to_string());
    or_grpc(reply, grpc, GrpcStatus::InvalidArgument, code)
}

/// 403: the price table says `deny` to what the request asks for.
pub(crate) fn not_sold(fault: &PriceFault<'_>, grpc: bool) -> Reply {
    let reply = plain(403, fault.problem.code(), "Forbidden", &fault.to_string());
    or_grpc(reply, grpc, GrpcStatus::PermissionDenied, fault.problem.code())
}

/// 403: `tollwayd` does not sell without a certificate of the operator's authority.
pub(crate) fn not_certified(grpc: bool) -> Reply {
    const CODE: &str = "certificate_refused";
    let detail = "expected a certificate of the operator's authority in x-toll-certificate, valid, \
                  of exactly this amount and not used before";
    or_grpc(plain(403, CODE, "Forbidden", detail), grpc, GrpcStatus::PermissionDenied, CODE)
}

/// 413: the price hangs on the body, and so much is not read.
pub(crate) fn body_too_long(bytes_max: usize, grpc: bool) -> Reply {
    let detail = format!(
        "the price of this request depends on its body, of which at most {bytes_max} bytes are \
         read; send a shorter one"
    );
    let reply = plain(413, "body_too_long", "Content Too Large", &detail);
    or_grpc(reply, grpc, GrpcStatus::InvalidArgument, "body_too_long")
}

/// The answer to a hold that was refused for its idempotency key.
pub(crate) fn of_key(refusal: HoldRefusal, grpc: bool) -> Option<Reply> {
    match refusal {
        HoldRefusal::IdempotencyInFlight => Some(in_flight(grpc)),
        HoldRefusal::IdempotencyMismatch => Some(key_mismatch(grpc)),
        _ => None,
    }
}

/// 409: the first request with the same key has not ended.
fn in_flight(grpc: bool) -> Reply {
    let detail = "a request with this Idempotency-Key is under way; try again when it has ended";
    let mut reply = plain(409, "idempotency_in_flight", "Conflict", detail);
    reply.headers.push(("retry-after", RETRY_AFTER_S.into()));
    or_grpc(reply, grpc, GrpcStatus::Aborted, "idempotency_in_flight")
}

/// The token has spent what it may. 429 where it may spend again after a while; 403 where it
/// never may. Not 402: a payment would not help it.
pub(crate) fn budget_exhausted(wait_s: Option<u64>, grpc: bool) -> Reply {
    let (status, title, detail) = match wait_s {
        Some(_) => (
            429,
            "Too Many Requests",
            "this token has spent its budget; try again after the time in Retry-After, or with \
             another token",
        ),
        None => (
            403,
            "Forbidden",
            "this token's budget does not cover the request, now or later; use another token",
        ),
    };
    let mut reply = plain(status, "budget_exhausted", title, detail);
    if let Some(wait_s) = wait_s {
        reply.headers.push(("retry-after", wait_s.max(1).to_string()));
    }
    or_grpc(reply, grpc, GrpcStatus::ResourceExhausted, "budget_exhausted")
}

/// 409: it has a price, but is not sold now or not for this coupon. A payment would not help.
pub(crate) fn not_for_sale(refusal: SaleRefusal, wait_s: Option<u64>, grpc: bool) -> Reply {
    let mut reply = plain(409, refusal.code(), "Conflict", &refusal.to_string());
    if let Some(wait_s) = wait_s {
        reply.headers.push(("retry-after", wait_s.max(1).to_string()));
    }
    or_grpc(reply, grpc, GrpcStatus::ResourceExhausted, refusal.code())
}

/// 422: the key belongs to another request.
fn key_mismatch(grpc: bool) -> Reply {
    let detail = "this Idempotency-Key came with another request before: another method, host, \
                  path, query or body length; choose a new key for a new request";
    let reply = plain(422, "idempotency_mismatch", "Unprocessable Content", detail);
    or_grpc(reply, grpc, GrpcStatus::InvalidArgument, "idempotency_mismatch")
}

/// A response that was paid for before.
pub(crate) fn replayed(stored: &StoredResponse, body: Vec<u8>, balance: Msat) -> Reply {
    let mut headers = vec![
        ("cache-control", "no-store".to_owned()),
        ("access-control-allow-origin", "*".to_owned()),
        ("access-control-expose-headers", EXPOSED.to_owned()),
        ("idempotent-replayed", "true".to_owned()),
        ("x-toll-cost-msat", "0".to_owned()),
        ("x-toll-balance-msat", balance.get().to_string()),
    ];
    if !stored.content_type.is_empty() {
        headers.push(("content-type", stored.content_type.clone()));
    }
    Reply { status: stored.status, headers, body, grpc: None }
}

/// 503: the gate cannot decide now. Never a new invoice: the fault is ours.
pub(crate) fn unavailable(grpc: bool) -> Reply {
    let detail = "the gateway cannot check payments now; nothing was charged; try again, with \
                  the same credential if you have one";
    let mut reply = plain(503, "payments_unavailable", "Service Unavailable", detail);
    reply.headers.push(("retry-after", RETRY_AFTER_S.into()));
    or_grpc(reply, grpc, GrpcStatus::Unavailable, "payments cannot be checked now")
}

/// 429: the client asks for too many invoices.
pub(crate) fn limited(retry_after_s: u64, grpc: bool) -> Reply {
    let detail = "too many unpaid invoices were asked for from here; pay one of them, or try again \
                  after the time in Retry-After";
    let mut reply = plain(429, "too_many_challenges", "Too Many Requests", detail);
    reply.headers.push(("retry-after", retry_after_s.to_string()));
    or_grpc(reply, grpc, GrpcStatus::ResourceExhausted, "too many unpaid invoices")
}

/// 204 to a browser's preflight.
pub(crate) fn preflight(requested_method: &str, requested_headers: Option<&str>) -> Reply {
    let mut headers = vec![
        ("access-control-allow-origin", "*".to_owned()),
        ("access-control-allow-methods", requested_method.to_owned()),
        ("access-control-max-age", "600".to_owned()),
    ];
    if let Some(names) = requested_headers {
        headers.push(("access-control-allow-headers", names.to_owned()));
    }
    Reply { status: 204, headers, body: Vec::new(), grpc: None }
}

fn plain(status: u16, code: &str, title: &str, detail: &str) -> Reply {
    let body = Problem { code: code.into(), status, title: title.into(), detail: detail.into() };
    problem(status, to_json(&body).unwrap_or_default())
}

fn problem(status: u16, body: String) -> Reply {
    let headers = vec![
        ("content-type", PROBLEM_JSON.to_owned()),
        ("cache-control", "no-store".to_owned()),
        ("access-control-allow-origin", "*".to_owned()),
        ("access-control-expose-headers", EXPOSED.to_owned()),
    ];
    Reply { status, headers, body: body.into_bytes(), grpc: None }
}

fn or_grpc(mut reply: Reply, grpc: bool, status: GrpcStatus, message: &'static str) -> Reply {
    if grpc {
        reply.headers.retain(|(name, _)| *name != "content-type");
        reply.body.clear();
        reply.status = 200;
        reply.grpc = Some((status, message));
    }
    reply
}
