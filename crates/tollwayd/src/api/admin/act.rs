//! What an operator does: refunds, grants, revocations, retired keys. Each leaves a line in the
//! audit log, in the same transaction.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Router, routing::MethodRouter};
use serde::{Deserialize, Serialize};
use tollway_core::id::{HoldId, KeyId};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;

use super::{Doors, hash_segment, invoice_segment};
use crate::api::body::{JsonBody, segment};
use crate::api::error::ApiError;
use crate::ledger::{AdminAct, AdminOrder, AdminOutcome, Retry, RetryOutcome};

/// The longest name of who acts, and the longest reason, in bytes.
const ACTOR_BYTES_MAX: usize = 64;
const REASON_BYTES_MAX: usize = 500;

/// Who does it, why, and under which id: a repeat with the same fields changes nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActRequest {
    /// In the form of a UUID.
    id: HoldId,
    actor: String,
    reason: String,
    /// For refunds and grants, and what was paid for an invoice.
    #[serde(default)]
    amount_msat: Msat,
    /// For the tier of an account.
    #[serde(default)]
    tier: Option<Tier>,
}

#[derive(Serialize)]
struct Done {
    outcome: &'static str,
}

pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route("/admin/v1/accounts/{payment_hash}/refund", paying(AdminAct::Refund))
        .route("/admin/v1/accounts/{payment_hash}/grant", paying(AdminAct::Grant))
        .route("/admin/v1/accounts/{payment_hash}/revoke", plain(AdminAct::Revoke))
        .route("/admin/v1/accounts/{payment_hash}/unrevoke", plain(AdminAct::Unrevoke))
        .route("/admin/v1/accounts/{payment_hash}/tier", post(tier))
        .route("/admin/v1/invoices/{invoice}/settle", post(settle))
        .route("/admin/v1/tokens/{payment_hash}/revoke", plain(AdminAct::RevokeToken))
        .route("/admin/v1/tokens/{payment_hash}/unrevoke", plain(AdminAct::UnrevokeToken))
        .route("/admin/v1/keys/{id}/retire", post(retire))
        .route("/admin/v1/deliveries/{id}/retry", post(retry))
}

/// A door for an act with an amount.
fn paying(act: fn(PaymentHash, Msat) -> AdminAct) -> MethodRouter<Doors> {
    post(
        async move |State(doors): State<Doors>,
                    hash: Result<Path<String>, PathRejection>,
                    JsonBody(request): JsonBody<ActRequest>| {
            let hash = hash_segment(hash)?;
            if request.amount_msat == Msat::ZERO {
                return Err(invalid("amount_msat", "expected at least 1, but found 0"));
            }
            let amount = request.amount_msat;
            administer(&doors, request, act(hash, amount)).await
        },
    )
}

/// A door for an act without one.
fn plain(act: fn(PaymentHash) -> AdminAct) -> MethodRouter<Doors> {
    post(
        async move |State(doors): State<Doors>,
                    hash: Result<Path<String>, PathRejection>,
                    JsonBody(request): JsonBody<ActRequest>| {
            let hash = hash_segment(hash)?;
            without_amount(&request)?;
            administer(&doors, request, act(hash)).await
        },
    )
}

async fn tier(
    State(doors): State<Doors>,
    hash: Result<Path<String>, PathRejection>,
    JsonBody(request): JsonBody<ActRequest>,
) -> Result<Json<Done>, ApiError> {
    let hash = hash_segment(hash)?;
    without_amount(&request)?;
    let Some(tier) = request.tier else {
        return Err(invalid("tier", "expected a name, or \"\" for no tier, but found none"));
    };
    administer(&doors, request, AdminAct::Tier(hash, tier)).await
}

/// The amount is what was paid, if that is known.
async fn settle(
    State(doors): State<Doors>,
    invoice: Result<Path<String>, PathRejection>,
    JsonBody(request): JsonBody<ActRequest>,
) -> Result<Json<Done>, ApiError> {
    let hash = invoice_segment(invoice)?;
    let received = Some(request.amount_msat).filter(|amount| *amount > Msat::ZERO);
    administer(&doors, request, AdminAct::Settle(hash, received)).await
}

async fn retire(
    State(doors): State<Doors>,
    id: Result<Path<String>, PathRejection>,
    JsonBody(request): JsonBody<ActRequest>,
) -> Result<Json<Done>, ApiError> {
    let id = segment(id, |text| text.parse().map(KeyId::new), "a key id (a number)")?;
    without_amount(&request)?;
    administer(&doors, request, AdminAct::RetireKey(id)).await
}

async fn retry(
    State(doors): State<Doors>,
    id: Result<Path<String>, PathRejection>,
    JsonBody(request): JsonBody<ActRequest>,
) -> Result<Json<Done>, ApiError> {
    let delivery = segment(id, HoldId::parse, "the id of what was given up (a UUID)")?;
    without_amount(&request)?;
    check(&request, false)?;
    let ActRequest { id, actor, reason, .. } = request;
    tracing::info!(%id, actor, %delivery, "an operator has it tried again");
    let (id, delivery) = (*id.as_bytes(), *delivery.as_bytes());
    match doors.paywall.ledger.retry(Retry { id, actor, reason, delivery }).await? {
        RetryOutcome::Done => Ok(Json(Done { outcome: "done" })),
        outcome => Err(ApiError::Retry(outcome)),
    }
}

async fn administer(
    doors: &Doors,
    request: ActRequest,
    act: AdminAct,
) -> Result<Json<Done>, ApiError> {
    check(&request, matches!(act, AdminAct::Tier(..)))?;
    let ActRequest { id, actor, reason, .. } = request;
    tracing::info!(%id, actor, ?act, "an operator acts");
    let order = AdminOrder { id: *id.as_bytes(), actor, reason, act };
    match doors.paywall.ledger.administer(order).await? {
        AdminOutcome::Done => Ok(Json(Done { outcome: "done" })),
        outcome => Err(ApiError::Admin(outcome)),
    }
}

/// What every act says of itself.
fn check(request: &ActRequest, has_tier: bool) -> Result<(), ApiError> {
    if request.tier.is_some() && !has_tier {
        return Err(invalid("tier", "expected none: this act has no tier"));
    }
    for (field, text, bytes_max) in
        [("actor", &request.actor, ACTOR_BYTES_MAX), ("reason", &request.reason, REASON_BYTES_MAX)]
    {
        if !(1..=bytes_max).contains(&text.len()) || text.chars().any(char::is_control) {
            return Err(invalid(field, "expected a short line of text"));
        }
    }
    Ok(())
}

fn without_amount(request: &ActRequest) -> Result<(), ApiError> {
    if request.amount_msat == Msat::ZERO {
        return Ok(());
    }
    Err(invalid("amount_msat", "expected none: this act has no amount"))
}

fn invalid(field: &str, problem: &str) -> ApiError {
    ApiError::InvalidField { field: field.to_owned(), problem: problem.to_owned() }
}
