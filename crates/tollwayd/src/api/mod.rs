//! The doors: HTTP in, ledger and node behind, `problem+json` for every fault.
//!
//! Two listeners. The gate's is for the filter alone and every call carries its token; the
//! operator's has metrics, accounts, key rotation, and the simulated node's payments.

mod admin;
mod auth;
mod body;
mod discovery;
mod envelope;
mod error;
#[cfg(debug_assertions)]
mod failpoint;
mod gate;
mod health;
mod holds;
pub(crate) mod hooks;
mod prices;
mod serve;
mod simulated;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use reqwest::Url;
use tollway_core::wire::LegacyKey;

use crate::discovery::Discovery;
use crate::lightning::SimulatedNode;
use crate::metrics::Metrics;
use crate::payouts::Rights;
use crate::paywall::Paywall;
use crate::prices::Prices;
use crate::rates::Rates;
use crate::x402::X402;
pub(crate) use auth::BearerToken;
use error::ApiError;
pub(crate) use serve::serve;

/// The longest body a door reads; a full batch of postings is about a third of it.
const BODY_BYTES_MAX: usize = 256 * 1_024;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Doors {
    pub(crate) paywall: Paywall,
    pub(crate) metrics: Arc<Metrics>,
    /// What other paywalls signed their tokens with.
    pub(crate) legacy_keys: Arc<[LegacyKey]>,
    pub(crate) rates: Rates,
    pub(crate) prices: Prices,
    /// Whether the payout wallet lets us pay; `None` without payouts.
    pub(crate) rights: Option<Arc<Rights>>,
    /// Sells requests on x402, where the operator wants that.
    pub(crate) x402: Option<X402>,
    pub(crate) discovery: Discovery,
}

impl Doors {
    /// Where clients of x402 find the API.
    fn public_url(&self) -> Option<&Url> {
        let over_lightning = self.paywall.x402_over_lightning.as_ref();
        self.x402.as_ref().map(X402::public_url).or(over_lightning)
    }
}

/// The doors of the gate's listener.
pub(crate) fn gate_router(doors: Doors, token: BearerToken) -> Router {
    let router = gate::router().merge(prices::router());
    #[cfg(debug_assertions)]
    let router = failpoint::around(router);
    let guarded = router.route_layer(from_fn_with_state(token, auth::require));
    let open = health::gate_router().merge(hooks::router()).merge(discovery::router());
    finish(guarded.merge(open), doors)
}

/// The doors of the operator's listener; the simulated node has one that pays its invoices.
pub(crate) fn admin_router(
    doors: Doors,
    token: BearerToken,
    simulated: Option<Arc<SimulatedNode>>,
) -> Router {
    let guarded = admin::router().route_layer(from_fn_with_state(token, auth::require));
    let open = simulated.map_or_else(Router::new, simulated::router);
    finish(guarded.merge(admin::open_router()).merge(open).merge(health::admin_router()), doors)
}

fn finish(router: Router<Doors>, doors: Doors) -> Router {
    let metrics = Arc::clone(&doors.metrics);
    router
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(metrics, envelope::wrap))
        .with_state(doors)
}
