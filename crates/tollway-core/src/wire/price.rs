//! Prices that the operator's own service tells.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::money::Msat;
use crate::payment::PaymentHash;
use crate::pricing::Said;

/// Asks what a request costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceRequest {
    /// The route, as named in the filter's configuration.
    pub route: String,
    /// The service that the route belongs to.
    pub service: String,
    /// The method.
    pub method: String,
    /// The path without its query, in normal form.
    pub path: String,
    /// What the request says in the fields that the route names, in their order.
    pub fields: Said,
    /// The payment hash of the genuine credential that came with the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<PaymentHash>,
}

/// The answer to a [`PriceRequest`]: what it costs, at least 1 msat; `None` where it is not sold.
pub type PriceReply = Option<Msat>;
