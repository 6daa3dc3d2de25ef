//! What machines read before they pay. Anybody may: the proxy leads these paths here.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

use super::Doors;
use super::error::ApiError;
use crate::discovery::Documents;

const JSON: &str = "application/json";

pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route(
            "/.well-known/l402",
            get(async |doors| published(doors, JSON, |it| &it.manifest).await),
        )
        .route("/openapi.json", get(async |doors| published(doors, JSON, |it| &it.openapi).await))
        .route(
            "/llms.txt",
            get(async |doors| published(doors, "text/plain; charset=utf-8", |it| &it.llms).await),
        )
}

async fn published(
    State(doors): State<Doors>,
    media_type: &'static str,
    choose: fn(&Documents) -> &String,
) -> Result<impl IntoResponse, ApiError> {
    let discovery = doors.discovery.clone();
    let read = tokio::task::spawn_blocking(move || discovery.documents()).await;
    let documents: Arc<Documents> = read.ok().flatten().ok_or(ApiError::NotFound)?;
    let headers = [
        (CONTENT_TYPE, media_type),
        // Prices change; whoever asks again soon may keep them.
        (CACHE_CONTROL, "max-age=60"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    Ok((headers, choose(&documents).clone()))
}
