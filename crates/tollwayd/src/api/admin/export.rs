//! An account's entries for a spreadsheet or a program.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::{Json, Router, routing::get};

use super::{Doors, hash_segment};
use crate::api::error::ApiError;
use crate::ledger::EntryView;

pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route("/admin/v1/accounts/{payment_hash}/entries", get(entries))
        .route("/admin/v1/accounts/{payment_hash}/entries.csv", get(entries_csv))
}

async fn entries(
    State(doors): State<Doors>,
    hash: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, ApiError> {
    Ok(([(CACHE_CONTROL, "no-store")], Json(find(&doors, hash).await?)))
}

async fn entries_csv(
    State(doors): State<Doors>,
    hash: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"entries.csv\""),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, csv(&find(&doors, hash).await?)))
}

async fn find(
    doors: &Doors,
    hash: Result<Path<String>, PathRejection>,
) -> Result<Vec<EntryView>, ApiError> {
    let view = doors.paywall.ledger.account(hash_segment(hash)?).await?;
    Ok(view.ok_or(ApiError::AccountUnknown)?.entries)
}

fn csv(entries: &[EntryView]) -> String {
    let mut text = String::from("n,at_ms,kind,amount_msat,route,payment_hash,hold,seq\r\n");
    for entry in entries {
        let EntryView { n, kind, amount_msat, at_ms, payment_hash, hold, seq, route } = entry;
        let hash = payment_hash.map(|hash| hash.to_hex()).unwrap_or_default();
        let hold = hold.map(|hold| hold.to_string()).unwrap_or_default();
        let seq = seq.map(|seq| seq.to_string()).unwrap_or_default();
        let route = cell(route.as_deref().unwrap_or_default());
        text += &format!("{n},{at_ms},{kind},{amount_msat},{route},{hash},{hold},{seq}\r\n");
    }
    text
}

/// A quoted cell that no spreadsheet takes for a formula.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let quoted = text.replace('"', "\"\"");
    format!("\"{}{quoted}\"", if formula { "'" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        for (text, written) in [
            ("joke", "\"joke\""),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(1)", "\"'@SUM(1)\""),
            ("\t=1", "\"'\t=1\""),
            ("a\"b,c", "\"a\"\"b,c\""),
            ("", "\"\""),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
