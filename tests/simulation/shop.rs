//! What is sold, told twice: to the gates as their configuration, to the auditor as plain facts.

use serde_json::{Value, json};

/// Short, so that late messages meet holds that are over.
pub(crate) const HOLD_TTL_MS: u64 = 2_000;
pub(crate) const DAY_MS: u64 = 86_400_000;

/// What a payment on a route buys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Credits,
    SingleUse,
    /// For so many seconds.
    Session(u64),
}

/// What a repeated `Idempotency-Key` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    Ignored,
    ChargeOnce,
    Replay,
}

/// When a free tier is whole again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    Day,
    RollingMs(u64),
}

/// What a client has free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Free {
    pub(crate) limit: u64,
    /// What one request takes of it.
    pub(crate) cost: u64,
    pub(crate) span: Span,
}

/// What a payment brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sale {
    pub(crate) amount_msat: u64,
    pub(crate) credit_msat: u64,
    /// Beside the first credit of an account.
    pub(crate) seed_msat: u64,
    pub(crate) ttl_ms: Option<u64>,
}

/// A route and its terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteFacts {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) service: &'static str,
    pub(crate) price_msat: u64,
    /// Whether failures are refunded.
    pub(crate) refunds: bool,
    pub(crate) mode: Mode,
    pub(crate) keys: Keys,
    pub(crate) free: Option<Free>,
    pub(crate) sale: Sale,
    /// What a client gets that chooses to buy [`CHOSEN_SATS`].
    pub(crate) chosen: Option<Sale>,
}

/// What clients choose who do not take what is offered: enough for the bonus.
pub(crate) const CHOSEN_SATS: &str = "40";

const DEMO: Sale =
    Sale { amount_msat: 20_000, credit_msat: 20_000, seed_msat: 1_000, ttl_ms: None };
const DEMO_CHOSEN: Sale = Sale { amount_msat: 40_000, credit_msat: 44_000, ..DEMO };

const JOKE: RouteFacts = RouteFacts {
    name: "joke",
    path: "/api/joke",
    service: "demo",
    price_msat: 5_000,
    refunds: true,
    mode: Mode::Credits,
    keys: Keys::Replay,
    free: None,
    sale: DEMO,
    chosen: Some(DEMO_CHOSEN),
};

/// The routes of the simulation.
pub(crate) const ROUTES: [RouteFacts; 8] = [
    JOKE,
    RouteFacts {
        name: "strict",
        path: "/api/strict",
        price_msat: 3_000,
        refunds: false,
        keys: Keys::ChargeOnce,
        ..JOKE
    },
    RouteFacts { name: "dear", path: "/api/dear", price_msat: 17_000, keys: Keys::Ignored, ..JOKE },
    RouteFacts {
        name: "brief",
        path: "/brief",
        service: "brief",
        // Something is left of each purchase when the next one comes.
        price_msat: 8_000,
        keys: Keys::Ignored,
        sale: Sale {
            amount_msat: 10_000,
            credit_msat: 10_000,
            seed_msat: 2_000,
            ttl_ms: Some(20_000),
        },
        chosen: None,
        ..JOKE
    },
    RouteFacts {
        name: "hour",
        path: "/hour",
        service: "hour",
        price_msat: 30_000,
        mode: Mode::Session(2),
        keys: Keys::Ignored,
        // Time is no credit.
        sale: Sale { amount_msat: 30_000, credit_msat: 0, seed_msat: 0, ttl_ms: None },
        chosen: None,
        ..JOKE
    },
    RouteFacts {
        name: "once",
        path: "/once",
        service: "once",
        price_msat: 9_000,
        mode: Mode::SingleUse,
        keys: Keys::ChargeOnce,
        sale: Sale { amount_msat: 9_000, credit_msat: 9_000, seed_msat: 0, ttl_ms: None },
        chosen: None,
        ..JOKE
    },
    RouteFacts {
        name: "daily",
        path: "/daily",
        service: "daily",
        price_msat: 4_000,
        keys: Keys::Ignored,
        free: Some(Free { limit: 3, cost: 1, span: Span::Day }),
        sale: Sale { amount_msat: 4_000, credit_msat: 4_000, seed_msat: 0, ttl_ms: None },
        chosen: None,
        ..JOKE
    },
    RouteFacts {
        name: "rolling",
        path: "/rolling",
        service: "rolling",
        price_msat: 4_000,
        keys: Keys::Ignored,
        free: Some(Free { limit: 9_000, cost: 4_000, span: Span::RollingMs(2_000) }),
        sale: Sale { amount_msat: 4_000, credit_msat: 4_000, seed_msat: 0, ttl_ms: None },
        chosen: None,
        ..JOKE
    },
];

/// The gates' configuration.
pub(crate) fn config() -> Value {
    let mut config = json!({
        "tollwayd": {"cluster": "tollwayd", "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": [
            {"name": "demo", "seed_sats": 1, "purchase":
                {"default_sats": 20, "bonus": [{"from_sats": 40, "add_percent": 10}]}},
            {"name": "brief", "seed_sats": 2, "credit_ttl_s": 20,
             "purchase": {"default_sats": 10}},
            {"name": "hour"},
            {"name": "once"},
            {"name": "daily"},
            {"name": "rolling"}
        ],
        "routes": [
            {"name": "joke", "service": "demo", "match": {"path": "/api/joke"},
             "price_sats": 5, "idempotency": "replay"},
            {"name": "strict", "service": "demo", "match": {"path": "/api/strict"},
             "price_sats": 3, "refund_on": [], "idempotency": "charge_once"},
            {"name": "dear", "service": "demo", "match": {"path": "/api/dear"},
             "price_sats": 17, "overrun": "debit_rest"},
            {"name": "brief", "service": "brief", "match": {"path": "/brief"},
             "price_sats": 8, "overrun": {"debt_sats": 2}},
            {"name": "hour", "service": "hour", "match": {"path": "/hour"},
             "price_sats": 30, "mode": {"session": {"duration_s": 2}}},
            {"name": "once", "service": "once", "match": {"path": "/once"},
             "price_sats": 9, "mode": "single_use", "idempotency": "charge_once"},
            {"name": "daily", "service": "daily", "match": {"path": "/daily"},
             "price_sats": 4, "free_tier": {"requests": 3, "window": "day"}},
            {"name": "rolling", "service": "rolling", "match": {"path": "/rolling"},
             "price_sats": 4, "free_tier": {"sats": 9, "window": "2s"}}
        ],
        "unmatched": "deny",
        "tick_ms": 20,
        "keyring_refresh_s": 1
    });
    for route in config["routes"].as_array_mut().into_iter().flatten() {
        if route["name"] != "hour" {
            route["hold_ttl_s"] = json!(HOLD_TTL_MS / 1_000);
        }
    }
    config
}
