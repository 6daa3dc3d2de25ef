//! The filter's doors: challenges, holds, postings, keyring.

use std::collections::BTreeSet;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Serialize;
use tollway_core::budget::{BUDGETS_MAX, TokenBudget};
use tollway_core::entropy::Seed;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::secret::MasterKey;
use tollway_core::wire::{
    ALLOWANCES_PATH, AllowanceReply, AllowanceRequest, Buys, CHALLENGES_PATH,
    CLIENT_TEXT_BYTES_MAX, COUPON_BYTES_MAX, ChallengeReply, ChallengeRequest, EXTENSIONS_PATH,
    EXTENSIONS_SEGMENT, ExtensionRequest, HOLD_TTL_MS_MAX, HOLDS_PATH, HoldReply, HoldRequest,
    KEYRING_PATH, KeyringKey, KeyringReply, MEMO_BYTES_MAX, PLAN_NAME_BYTES_MAX, POSTINGS_PATH,
    POSTINGS_PER_BATCH_MAX, PREFER_BRIEF, PostingBatch, PostingReply, RAIL_SEGMENT,
    ROUTE_NAME_BYTES_MAX, Rail, RailHoldRequest, RailNotes, SERVICE_NAME_BYTES_MAX,
    SETTLEMENT_SEGMENT, WINDOW_SECONDS_MAX, Window,
};

use super::Doors;
use super::body::{JsonBody, segment};
use super::error::ApiError;
use super::holds;
use crate::entropy;
use crate::ledger::{ExtendOrder, ExtendOutcome, HoldOrder, HoldOutcome};
use crate::x402;

pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route(CHALLENGES_PATH, post(challenge))
        .route(HOLDS_PATH, post(holds::hold_all))
        .route(&format!("{HOLDS_PATH}/{{id}}"), put(hold))
        .route(&format!("{HOLDS_PATH}/{{id}}/{EXTENSIONS_SEGMENT}"), post(extend))
        .route(EXTENSIONS_PATH, post(holds::extend_all))
        .route(&format!("{HOLDS_PATH}/{{id}}/{RAIL_SEGMENT}"), put(hold_on_rail))
        .route(&format!("{HOLDS_PATH}/{{id}}/{SETTLEMENT_SEGMENT}"), put(settle_on_rail))
        .route(ALLOWANCES_PATH, post(allowance))
        .route(POSTINGS_PATH, post(postings))
        .route(KEYRING_PATH, get(keyring))
}

async fn challenge(
    State(doors): State<Doors>,
    JsonBody(request): JsonBody<ChallengeRequest>,
) -> Result<Json<Noted<ChallengeReply>>, ApiError> {
    check_route("route", &request.route)?;
    check_text("service", &request.service, SERVICE_NAME_BYTES_MAX)?;
    check_positive("amount_msat", request.amount_msat)?;
    check_credit(&request)?;
    if let Some(client) = &request.client {
        check_text("client.address", &client.address, CLIENT_TEXT_BYTES_MAX)?;
        if client.fingerprint.len() > CLIENT_TEXT_BYTES_MAX {
            let problem = format!("expected at most {CLIENT_TEXT_BYTES_MAX} bytes");
            return Err(invalid("client.fingerprint", problem));
        }
    }
    if request.coupon.as_ref().is_some_and(|code| code.len() > COUPON_BYTES_MAX) {
        let problem = format!("expected at most {COUPON_BYTES_MAX} bytes");
        return Err(invalid("coupon", problem));
    }
    if request.memo.len() > MEMO_BYTES_MAX {
        return Err(invalid(
            "memo",
            format!("expected at most {MEMO_BYTES_MAX} bytes, but found {}", request.memo.len()),
        ));
    }
    if let Some(other) = &request.other {
        check_positive("other.price_msat", other.price_msat)?;
    }
    let offer = match (&doors.x402, &request.other) {
        // A coupon is for a purchase of credit.
        (Some(x402), Some(terms)) if terms.x402 && request.coupon.is_none() => {
            x402.offer(&request, terms)
        }
        _ => None,
    };
    let memo = request.memo.clone();
    let (reply, mut notes, lightning) = doors.paywall.challenge_on_rails(request).await?;
    let mut accepts = Vec::new();
    if let Some(offer) = offer {
        accepts.push(offer.requirement);
        notes.members = offer.members;
    }
    accepts.extend(lightning);
    if let (Some(url), false) = (doors.public_url(), accepts.is_empty()) {
        notes.headers.push(x402::payment_required(&accepts, url, &memo));
    }
    Ok(Json(Noted { reply, notes }))
}

/// An answer, with what other rails need beside it.
#[derive(Serialize)]
struct Noted<T> {
    #[serde(flatten)]
    reply: T,
    #[serde(flatten)]
    notes: RailNotes,
}

/// Granted and refused are both 200: the call itself was right.
async fn hold(
    State(doors): State<Doors>,
    id: Result<Path<String>, PathRejection>,
    JsonBody(request): JsonBody<HoldRequest>,
) -> Result<Json<HoldReply>, ApiError> {
    let id = segment(id, HoldId::parse, "a hold id (UUID)")?;
    place(&doors, id, request).await.map(Json)
}

pub(super) async fn place(
    doors: &Doors,
    id: HoldId,
    request: HoldRequest,
) -> Result<HoldReply, ApiError> {
    check_route("route", &request.route)?;
    check_positive("amount_msat", request.amount_msat)?;
    if let Some(min) = request.min_msat {
        check_positive("min_msat", min)?;
        check_min(min, request.amount_msat)?;
    }
    check_ttl(request.ttl_ms)?;
    check_budgets(&request.budgets)?;
    let import = request.import_msat;
    answered(doors.paywall.hold_or_import(HoldOrder::new(id, request), import).await?)
}

/// The same for a credential of another rail.
async fn hold_on_rail(
    State(doors): State<Doors>,
    id: Result<Path<String>, PathRejection>,
    JsonBody(request): JsonBody<RailHoldRequest>,
) -> Result<Json<Noted<HoldReply>>, ApiError> {
    let id = check_on_rail(id, &request)?;
    let lightning = doors.paywall.lightning_payment(&request);
    let (outcome, notes) = match (request.rail, &doors.x402) {
        (Rail::Payment, _) => doors.paywall.hold_for_payment(id, request).await?,
        (Rail::X402, _) if let Some(payment) = lightning => {
            doors.paywall.hold_for_lightning(id, request, payment).await?
        }
        (Rail::X402, Some(x402)) => x402.hold(id, request).await?,
        (Rail::X402, None) => x402::not_taken(),
    };
    Ok(Json(Noted { reply: answered(outcome)?, notes }))
}

/// A payment that was only reserved is to be settled now.
async fn settle_on_rail(
    State(doors): State<Doors>,
    id: Result<Path<String>, PathRejection>,
    JsonBody(request): JsonBody<RailHoldRequest>,
) -> Result<Json<Noted<HoldReply>>, ApiError> {
    let id = check_on_rail(id, &request)?;
    let (outcome, notes) = match (request.rail, &doors.x402) {
        (Rail::X402, Some(x402)) => x402.settle(id, request).await?,
        (Rail::X402 | Rail::Payment, _) => x402::not_taken(),
    };
    Ok(Json(Noted { reply: answered(outcome)?, notes }))
}

fn check_on_rail(
    id: Result<Path<String>, PathRejection>,
    request: &RailHoldRequest,
) -> Result<HoldId, ApiError> {
    let id = segment(id, HoldId::parse, "a hold id (UUID)")?;
    check_text("service", &request.service, SERVICE_NAME_BYTES_MAX)?;
    check_route("route", &request.route)?;
    check_positive("amount_msat", request.amount_msat)?;
    check_ttl(request.ttl_ms)?;
    Ok(id)
}

fn answered(outcome: HoldOutcome) -> Result<HoldReply, ApiError> {
    match outcome {
        HoldOutcome::Answered(reply) => Ok(reply),
        HoldOutcome::BalanceLimit => Err(ApiError::BalanceLimit),
        HoldOutcome::Conflict => Err(ApiError::HoldConflict),
        HoldOutcome::Ended => Err(ApiError::HoldEnded),
    }
}

/// More credit or time for a hold that lives.
async fn extend(
    State(doors): State<Doors>,
    id: Result<Path<String>, PathRejection>,
    JsonBody(request): JsonBody<ExtensionRequest>,
) -> Result<Json<HoldReply>, ApiError> {
    let id = segment(id, HoldId::parse, "a hold id (UUID)")?;
    Ok(Json(lengthen(&doors, id, request).await?))
}

pub(super) async fn lengthen(
    doors: &Doors,
    id: HoldId,
    request: ExtensionRequest,
) -> Result<HoldReply, ApiError> {
    check_ttl(request.ttl_ms)?;
    let ExtensionRequest { seq, add_msat: add, min_msat, ttl_ms } = request;
    let min = min_msat.unwrap_or(add);
    check_min(min, add)?;
    match doors.paywall.ledger.extend(ExtendOrder { id, seq, add, min, ttl_ms }).await? {
        ExtendOutcome::Answered(reply) => Ok(reply),
        ExtendOutcome::Conflict => Err(ApiError::HoldConflict),
        ExtendOutcome::Ended => Err(ApiError::HoldEnded),
        ExtendOutcome::Unknown => Err(ApiError::HoldUnknown),
    }
}

/// Granted and exhausted are both 200: the call itself was right.
async fn allowance(
    State(doors): State<Doors>,
    JsonBody(request): JsonBody<AllowanceRequest>,
) -> Result<Json<AllowanceReply>, ApiError> {
    check_text("plan", &request.plan, PLAN_NAME_BYTES_MAX)?;
    if !request.route.is_empty() {
        check_route("route", &request.route)?;
    }
    if let Window::Rolling { seconds } = request.window
        && !(1..=WINDOW_SECONDS_MAX).contains(&seconds)
    {
        let problem = format!("expected 1 to {WINDOW_SECONDS_MAX}, but found {seconds}");
        return Err(invalid("window.rolling.seconds", problem));
    }
    for (field, range, prefix) in [
        ("client.ipv4_prefix", 24..=32, request.client.ipv4_prefix),
        ("client.ipv6_prefix", 48..=64, request.client.ipv6_prefix),
    ] {
        if !range.contains(&prefix) {
            let (least, most) = range.into_inner();
            let problem = format!("expected {least} to {most}, but found {prefix}");
            return Err(invalid(field, problem));
        }
    }
    let ledger = &doors.paywall.ledger;
    let secrets = ledger.day_secrets().await?;
    let order = secrets.allowance(&request);
    let order = order.map_err(|error| invalid("client.address", error.to_string()))?;
    Ok(Json(ledger.allowance(order).await?))
}

async fn postings(
    State(doors): State<Doors>,
    headers: HeaderMap,
    JsonBody(batch): JsonBody<PostingBatch>,
) -> Result<Json<PostingReply>, ApiError> {
    if batch.postings.len() > POSTINGS_PER_BATCH_MAX {
        return Err(invalid(
            "postings",
            format!(
                "expected at most {POSTINGS_PER_BATCH_MAX} rows, but found {}",
                batch.postings.len()
            ),
        ));
    }
    for (row, posting) in batch.postings.iter().enumerate() {
        check_route(&format!("postings[{row}].route"), &posting.route)?;
        if posting.requests == 0 {
            return Err(invalid(
                &format!("postings[{row}].requests"),
                "expected at least 1, but found 0".to_owned(),
            ));
        }
    }
    for (row, posting) in batch.postings.iter().enumerate() {
        if posting.store.as_ref().is_some_and(|stored| stored.body().is_none()) {
            let problem = "expected a success of at most 16 KiB in base64".to_owned();
            return Err(invalid(&format!("postings[{row}].store"), problem));
        }
    }
    let amounts: Vec<_> = batch.postings.iter().map(|posting| posting.amount_msat).collect();
    let outcomes = doors.paywall.ledger.post(batch.postings).await?;
    let revision = doors.paywall.ledger.revision().await;
    let reply = PostingReply { outcomes, posted: 0, revision };
    Ok(Json(if prefers_brief(&headers) { reply.brief(&amounts) } else { reply }))
}

fn prefers_brief(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
    preferences
        .flat_map(|value| value.split(','))
        .any(|preference| preference.trim() == PREFER_BRIEF)
}

/// Keys and a fresh seed: no cache may keep them.
async fn keyring(State(doors): State<Doors>) -> Result<impl IntoResponse, ApiError> {
    let keyring = doors.paywall.ledger.keyring().await?;
    let revision = keyring.revision();
    let reply = KeyringReply {
        current: keyring.current,
        keys: keyring
            .keys
            .into_iter()
            .map(|(id, bytes)| KeyringKey { id, secret: MasterKey::from_bytes(bytes.0) })
            .collect(),
        seed: Seed::from_bytes(entropy::random_bytes()?),
        revoked: keyring.revoked,
        legacy: doors.legacy_keys.to_vec(),
        revision,
        rates: doors.rates.now(),
        limited: doors.paywall.sales.limited_routes(),
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(reply)))
}

fn check_credit(request: &ChallengeRequest) -> Result<(), ApiError> {
    if request.buys == Buys::Session {
        let none = |field, absent| match absent {
            true => Ok(()),
            false => Err(invalid(field, "expected none for a session, but found one".to_owned())),
        };
        none("credit_msat", request.credit_msat == Msat::ZERO)?;
        none("seed_msat", request.seed_msat == Msat::ZERO)?;
        none("credit_ttl_s", request.credit_ttl_s.is_none())?;
        none("proof", request.proof.is_preimage())?;
        return none("top_up", request.top_up.is_none());
    }
    if request.credit_msat < request.amount_msat {
        let problem = format!("expected at least {}", request.amount_msat);
        return Err(invalid("credit_msat", problem));
    }
    if request.credit_ttl_s == Some(0) {
        return Err(invalid("credit_ttl_s", "expected at least 1, but found 0".to_owned()));
    }
    Ok(())
}

fn check_route(field: &str, route: &str) -> Result<(), ApiError> {
    check_text(field, route, ROUTE_NAME_BYTES_MAX)
}

fn check_text(field: &str, text: &str, bytes_max: usize) -> Result<(), ApiError> {
    if (1..=bytes_max).contains(&text.len()) {
        return Ok(());
    }
    Err(invalid(field, format!("expected 1 to {bytes_max} bytes, but found {}", text.len())))
}

fn check_ttl(ttl_ms: u64) -> Result<(), ApiError> {
    if (1..=HOLD_TTL_MS_MAX).contains(&ttl_ms) {
        return Ok(());
    }
    Err(invalid("ttl_ms", format!("expected 1 to {HOLD_TTL_MS_MAX}, but found {ttl_ms}")))
}

/// Each leads to the one before it, so none may come twice.
fn check_budgets(budgets: &[TokenBudget]) -> Result<(), ApiError> {
    if budgets.len() > BUDGETS_MAX {
        let problem = format!("expected at most {BUDGETS_MAX}, but found {}", budgets.len());
        return Err(invalid("budgets", problem));
    }
    let ids: BTreeSet<_> = budgets.iter().map(|budget| budget.id).collect();
    if ids.len() < budgets.len() {
        return Err(invalid("budgets", "expected each id once, but found one again".to_owned()));
    }
    Ok(())
}

fn check_min(min: Msat, amount: Msat) -> Result<(), ApiError> {
    if min <= amount {
        return Ok(());
    }
    Err(invalid("min_msat", format!("expected at most {amount}, the amount")))
}

fn check_positive(field: &str, amount: Msat) -> Result<(), ApiError> {
    if amount > Msat::ZERO {
        return Ok(());
    }
    Err(invalid(field, "expected at least 1, but found 0".to_owned()))
}

fn invalid(field: &str, problem: String) -> ApiError {
    ApiError::InvalidField { field: field.to_owned(), problem }
}
