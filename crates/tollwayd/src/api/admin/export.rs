//! The ledger for a spreadsheet or a program: an account's newest entries, or whole tables.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::{Json, Router, routing::get};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tollway_core::payment::PaymentHash;

use super::{Doors, hash_segment};
use crate::api::body::segment;
use crate::api::error::ApiError;
use crate::ledger::{Cell, EntryView, LedgerError, Page, Selection, Table};

pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route("/admin/v1/accounts/{payment_hash}/entries", get(entries))
        .route("/admin/v1/accounts/{payment_hash}/entries.csv", get(entries_csv))
        .route("/admin/v1/export/{table}", get(export))
}

/// How rows are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    /// One JSON object per line.
    Jsonl,
}

/// A whole table, sent while it is read: neither side needs memory for more than a page. If the
/// store fails on the way, the answer breaks off, so that a part is never taken for the whole.
async fn export(
    State(doors): State<Doors>,
    table: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, ApiError> {
    let table = segment(table, |name| table_of(name).ok_or(()), TABLES)?;
    let ledger = &doors.paywall.ledger;
    let (format, mut selection) = options(query.as_deref().unwrap_or_default())?;
    if let Some(hash) = selection.account {
        let name = ledger.account_name(hash).await?;
        selection.account = Some(name.ok_or(ApiError::AccountUnknown)?);
    }
    let mut export = ledger.export(table, selection);
    let first = export.next().await?;
    let head = match format {
        Format::Csv => first.columns.join(",") + "\r\n",
        Format::Jsonl => String::new(),
    };
    let begun = head + &text_of(&first, format);
    let rest = stream::try_unfold(export, move |mut export| async move {
        let page = export.next().await?;
        let text = text_of(&page, format);
        Ok::<_, LedgerError>((!page.rows.is_empty()).then_some((text, export)))
    });
    let body = stream::once(async { Ok(begun) }).chain(rest);
    let media_type = match format {
        Format::Csv => "text/csv; charset=utf-8",
        Format::Jsonl => "application/x-ndjson",
    };
    let headers = [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(body)))
}

const TABLES: &str = "accounts, entries, invoices, holds, postings or audit";

fn table_of(name: &str) -> Option<Table> {
    match name {
        "accounts" => Some(Table::Accounts),
        "entries" => Some(Table::Entries),
        "invoices" => Some(Table::Invoices),
        "holds" => Some(Table::Holds),
        "postings" => Some(Table::Postings),
        "audit" => Some(Table::Audit),
        _ => None,
    }
}

/// What follows the question mark. No value needs an escape.
fn options(query: &str) -> Result<(Format, Selection), ApiError> {
    let (mut format, mut selection) = (Format::Jsonl, Selection::default());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let invalid = |expected: &str| ApiError::InvalidField {
            field: name.chars().take(32).collect(),
            problem: format!("expected {expected}"),
        };
        let number = || value.parse().map(Some).map_err(|_| invalid("Unix time in ms"));
        match name {
            "format" => {
                format = match value {
                    "csv" => Format::Csv,
                    "jsonl" => Format::Jsonl,
                    _ => return Err(invalid("csv or jsonl")),
                }
            }
            "account" => {
                let hash = PaymentHash::from_hex(value.as_bytes());
                selection.account =
                    Some(hash.map_err(|_| invalid("a payment hash (64 hexadecimal digits)"))?);
            }
            "since_ms" => selection.since_ms = number()?,
            "until_ms" => selection.until_ms = number()?,
            _ => return Err(invalid("format, account, since_ms or until_ms")),
        }
    }
    Ok((format, selection))
}

fn text_of(page: &Page, format: Format) -> String {
    let mut text = String::new();
    for row in &page.rows {
        let line = match format {
            Format::Csv => row.iter().map(csv_cell).collect::<Vec<_>>().join(",") + "\r\n",
            Format::Jsonl => {
                let pairs = page
                    .columns
                    .iter()
                    .zip(row)
                    .map(|(name, value)| format!("\"{name}\":{}", json_value(value)));
                format!("{{{}}}\n", pairs.collect::<Vec<_>>().join(","))
            }
        };
        text += &line;
    }
    text
}

fn csv_cell(value: &Cell) -> String {
    match value {
        Cell::Empty => String::new(),
        Cell::Number(number) => number.to_string(),
        Cell::Name(name) => name.clone(),
        Cell::Text(text) => cell(text),
    }
}

fn json_value(value: &Cell) -> Value {
    match value {
        Cell::Empty => Value::Null,
        Cell::Number(number) => Value::from(*number),
        Cell::Name(text) | Cell::Text(text) => Value::from(text.as_str()),
    }
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
