//! Clients: they buy, repeat, keep what they bought, and try what they should not.

use serde_json::Value;

use crate::auditor::Shown;
use crate::shop::RouteFacts;

/// Where clients come from: the first two share a network, and so a free tier.
pub(crate) const ADDRESSES: [&str; 4] =
    ["203.0.113.7", "203.0.113.99", "198.51.100.7", "2001:db8::7"];
/// What the free tiers know each of them by.
pub(crate) const NETWORKS: [&str; 4] =
    ["203.0.113.0/24", "203.0.113.0/24", "198.51.100.0/24", "2001:db8::/48"];

/// A challenge that a client was given.
#[derive(Clone, Debug)]
pub(crate) struct Bill {
    pub(crate) payment_hash: String,
    pub(crate) invoice: String,
    pub(crate) macaroon: String,
    pub(crate) amount_msat: u64,
    /// What it was sold for.
    pub(crate) route: RouteFacts,
    /// Until when its token is good, Unix time in seconds.
    pub(crate) valid_until_s: u64,
    /// The proof, once the client has it.
    pub(crate) preimage: Option<String>,
    /// It can no longer be paid.
    pub(crate) dead: bool,
}

impl Bill {
    /// Reads the body of a 402.
    pub(crate) fn read(body: &Value, route: RouteFacts) -> Option<Self> {
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        Some(Self {
            payment_hash: text("paymentHash")?,
            invoice: text("invoice")?,
            macaroon: text("macaroon")?,
            amount_msat: body["amountSats"].as_u64()? * 1_000,
            route,
            valid_until_s: body["expiresAt"].as_u64()?,
            preimage: None,
            dead: false,
        })
    }

    /// The `Authorization` of a paid bill.
    pub(crate) fn credential(&self) -> Option<String> {
        let preimage = self.preimage.as_ref()?;
        Some(format!("L402 {}:{preimage}", self.macaroon))
    }

    /// What a gate sees of it that it fits.
    pub(crate) fn shown(&self) -> Shown {
        let payment_hash = self.payment_hash.clone();
        Shown::Genuine { payment_hash, valid_until_s: self.valid_until_s }
    }

    /// One that proves nothing.
    pub(crate) fn forged_credential(&self) -> String {
        format!("L402 {}:{}", self.macaroon, "5a".repeat(32))
    }
}

/// One client and everything it ever got.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    pub(crate) bills: Vec<Bill>,
}

impl Client {
    fn numbers(&self, which: impl Fn(&Bill) -> bool) -> Vec<usize> {
        (0..self.bills.len()).filter(|at| which(&self.bills[*at])).collect()
    }

    /// The bills that were paid and can be presented.
    pub(crate) fn paid(&self) -> Vec<usize> {
        self.numbers(|bill| bill.preimage.is_some())
    }

    /// Those of them that open the routes of a service, or the others.
    pub(crate) fn paid_for(&self, service: &str, opens: bool) -> Vec<usize> {
        self.numbers(|bill| bill.preimage.is_some() && (bill.route.service == service) == opens)
    }

    /// The bills without a proof; some may have been paid all the same.
    pub(crate) fn unpaid(&self) -> Vec<usize> {
        self.numbers(|bill| bill.preimage.is_none() && !bill.dead)
    }
}
