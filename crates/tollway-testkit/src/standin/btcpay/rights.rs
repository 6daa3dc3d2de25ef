//! What an API key of BTCPay may do: rights by name, for one store or for all, of which some
//! include others, as in `swagger.template.authorization.json` and BTCPay's own definitions.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::super::STORE;
use super::super::till::{Mischief, Till};

pub(super) const MAKE_OF_NODE: &str = "btcpay.store.cancreatelightninginvoice";
pub(super) const SEE_OF_NODE: &str = "btcpay.store.canviewlightninginvoice";
pub(super) const MAKE_OF_STORE: &str = "btcpay.store.cancreateinvoice";
pub(super) const SEE_OF_STORE: &str = "btcpay.store.canviewinvoices";
pub(super) const USE_NODE: &str = "btcpay.store.canuselightningnode";
const MODIFY_INVOICES: &str = "btcpay.store.canmodifyinvoices";
const SEE_STORE: &str = "btcpay.store.canviewstoresettings";
const MODIFY_STORE: &str = "btcpay.store.canmodifystoresettings";
const ALL: &str = "unrestricted";

/// What includes what, as far as it matters here.
const INCLUDED: [(&str, &[&str]); 5] = [
    (MODIFY_STORE, &[MODIFY_INVOICES, SEE_STORE, USE_NODE]),
    (MODIFY_INVOICES, &[SEE_OF_STORE, MAKE_OF_STORE, MAKE_OF_NODE]),
    (SEE_STORE, &[SEE_OF_STORE]),
    (USE_NODE, &[SEE_OF_NODE, MAKE_OF_NODE]),
    (MAKE_OF_NODE, &[SEE_OF_NODE]),
];

/// A right that the key does not have.
pub(super) struct Missing(&'static str);

/// The rights of the key, as BTCPay lists them.
pub(super) fn of(till: &Till) -> Vec<String> {
    let mut rights = till.rights().unwrap_or_else(|| {
        [MAKE_OF_NODE, SEE_OF_NODE, MAKE_OF_STORE, SEE_OF_STORE].map(here).to_vec()
    });
    if till.is(Mischief::Generous) {
        rights.push(here(USE_NODE));
    }
    rights
}

/// Whether the key may do it in this store.
///
/// # Errors
/// It may not.
pub(super) fn check(till: &Till, right: &'static str) -> Result<(), Missing> {
    let reaches = |granted: &String| {
        let (name, store) = granted.split_once(':').map_or((granted.as_str(), STORE), |it| it);
        store == STORE && includes(name, right)
    };
    if of(till).iter().any(reaches) { Ok(()) } else { Err(Missing(right)) }
}

fn here(right: &str) -> String {
    format!("{right}:{STORE}")
}

fn includes(granted: &str, asked: &str) -> bool {
    let below = || INCLUDED.iter().filter(|(name, _)| *name == granted).flat_map(|(_, all)| *all);
    granted == ALL || granted == asked || below().any(|name| includes(name, asked))
}

impl IntoResponse for Missing {
    fn into_response(self) -> Response {
        let Self(right) = self;
        let problem = json!({
            "missingPermission": right,
            "code": "missing-permission",
            "message": format!(
                "Insufficient API Permissions. Please use an API key with permission \"{right}\". \
                 You can create an API key in your account's settings / Api Keys."
            ),
        });
        (StatusCode::FORBIDDEN, Json(problem)).into_response()
    }
}
