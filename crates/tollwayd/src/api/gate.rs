//! The filter's doors: challenges, holds, postings, keyring.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use tollway_core::entropy::Seed;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::secret::MasterKey;
use tollway_core::wire::{
    CHALLENGES_PATH, ChallengeReply, ChallengeRequest, HOLD_TTL_MS_MAX, HOLDS_PATH, HoldReply,
    HoldRequest, KEYRING_PATH, KeyringKey, KeyringReply, MEMO_BYTES_MAX, POSTINGS_PATH,
    POSTINGS_PER_BATCH_MAX, PostingBatch, PostingReply, ROUTE_NAME_BYTES_MAX,
};

use super::Doors;
use super::body::{JsonBody, segment};
use super::error::ApiError;
use crate::entropy;
use crate::ledger::{HoldOrder, HoldOutcome};

pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route(CHALLENGES_PATH, post(challenge))
        .route(&format!("{HOLDS_PATH}/{{id}}"), put(hold))
        .route(POSTINGS_PATH, post(postings))
        .route(KEYRING_PATH, get(keyring))
}

async fn challenge(
    State(doors): State<Doors>,
    JsonBody(request): JsonBody<ChallengeRequest>,
) -> Result<Json<ChallengeReply>, ApiError> {
    check_route("route", &request.route)?;
    check_positive("amount_msat", request.amount_msat)?;
    if request.memo.len() > MEMO_BYTES_MAX {
        return Err(invalid(
            "memo",
            format!("expected at most {MEMO_BYTES_MAX} bytes, but found {}", request.memo.len()),
        ));
    }
    Ok(Json(doors.paywall.challenge(request).await?))
}

/// Granted and refused are both 200: the call itself was right.
async fn hold(
    State(doors): State<Doors>,
    id: Result<Path<String>, PathRejection>,
    JsonBody(request): JsonBody<HoldRequest>,
) -> Result<Json<HoldReply>, ApiError> {
    let id = segment(id, HoldId::parse, "a hold id (UUID)")?;
    check_route("route", &request.route)?;
    check_positive("amount_msat", request.amount_msat)?;
    if !(1..=HOLD_TTL_MS_MAX).contains(&request.ttl_ms) {
        return Err(invalid(
            "ttl_ms",
            format!("expected 1 to {HOLD_TTL_MS_MAX}, but found {}", request.ttl_ms),
        ));
    }
    match doors.paywall.ledger.hold(HoldOrder::new(id, request)).await? {
        HoldOutcome::Answered(reply) => Ok(Json(reply)),
        HoldOutcome::BalanceLimit => Err(ApiError::BalanceLimit),
        HoldOutcome::Conflict => Err(ApiError::HoldConflict),
        HoldOutcome::Ended => Err(ApiError::HoldEnded),
    }
}

async fn postings(
    State(doors): State<Doors>,
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
    }
    let outcomes = doors.paywall.ledger.post(batch.postings).await?;
    Ok(Json(PostingReply { outcomes }))
}

/// Keys and a fresh seed: no cache may keep them.
async fn keyring(State(doors): State<Doors>) -> Result<impl IntoResponse, ApiError> {
    let keyring = doors.paywall.ledger.keyring().await?;
    let reply = KeyringReply {
        current: keyring.current,
        keys: keyring
            .keys
            .into_iter()
            .map(|(id, bytes)| KeyringKey { id, secret: MasterKey::from_bytes(bytes.0) })
            .collect(),
        seed: Seed::from_bytes(entropy::random_bytes()?),
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(reply)))
}

fn check_route(field: &str, route: &str) -> Result<(), ApiError> {
    if (1..=ROUTE_NAME_BYTES_MAX).contains(&route.len()) {
        return Ok(());
    }
    Err(invalid(
        field,
        format!("expected 1 to {ROUTE_NAME_BYTES_MAX} bytes, but found {}", route.len()),
    ))
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
