//! Allowances: requests that a client has free.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::FieldMissing;
use crate::money::Msat;

/// Asks whether a client may have a request free, and counts it if so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowanceRequest {
    /// What the allowance is for: `<service>`, or `<service>/<route>` where the route has an
    /// allowance of its own. Each plan counts apart.
    pub plan: String,
    /// The route that the request is for.
    #[serde(default)]
    pub route: String,
    /// Who asks.
    pub client: AllowanceClient,
    /// What the request takes of how much.
    pub quota: Quota,
    /// When the allowance is whole again.
    pub window: Window,
}

/// A client, known by its network. `tollwayd` keeps the address under a keyed hash only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowanceClient {
    /// The client's address as the proxy trusts it, without a port.
    pub address: String,
    /// How many leading bits of an IPv4 address make one client: 24 to 32.
    pub ipv4_prefix: u8,
    /// How many leading bits of an IPv6 address make one client: 48 to 64.
    pub ipv6_prefix: u8,
}

/// What a request takes of an allowance, and how much there is in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Quota {
    /// Counted in requests.
    Requests {
        /// What this request takes.
        cost: u64,
        /// How many a client has.
        limit: u64,
    },
    /// Counted by price.
    Msat {
        /// What this request takes.
        cost: Msat,
        /// How much a client has.
        limit: Msat,
    },
}

/// When an allowance is whole again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Window {
    /// At midnight, UTC.
    Day,
    /// So long after the first free request of the window.
    Rolling {
        /// How long, at most [`WINDOW_SECONDS_MAX`](super::WINDOW_SECONDS_MAX).
        seconds: u64,
    },
}

/// The answer to an [`AllowanceRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", try_from = "FlatReply")]
pub enum AllowanceReply {
    /// The request is free.
    Granted {
        /// What the client has left in this window, in the unit of the [`Quota`].
        remaining: u64,
        /// When the window ends, Unix time in seconds.
        resets_at: u64,
    },
    /// The client has too little left in this window; nothing was counted.
    Exhausted {
        /// When the window ends, Unix time in seconds.
        resets_at: u64,
    },
}

/// An [`AllowanceReply`] as it travels: read once, see [`HoldReply`](super::HoldReply).
#[derive(Deserialize)]
struct FlatReply {
    outcome: FlatOutcome,
    remaining: Option<u64>,
    resets_at: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FlatOutcome {
    Granted,
    Exhausted,
}

impl TryFrom<FlatReply> for AllowanceReply {
    type Error = FieldMissing;

    fn try_from(flat: FlatReply) -> Result<Self, FieldMissing> {
        let resets_at = flat.resets_at;
        Ok(match flat.outcome {
            FlatOutcome::Granted => {
                Self::Granted { remaining: flat.remaining.ok_or(FieldMissing)?, resets_at }
            }
            FlatOutcome::Exhausted => Self::Exhausted { resets_at },
        })
    }
}
