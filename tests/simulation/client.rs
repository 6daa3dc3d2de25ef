//! Clients: they buy, repeat, keep what they bought, and try what they should not.

use serde_json::Value;

/// A challenge that a client was given.
#[derive(Clone, Debug)]
pub(crate) struct Bill {
    pub(crate) payment_hash: String,
    pub(crate) invoice: String,
    pub(crate) macaroon: String,
    /// The proof, once the client has it.
    pub(crate) preimage: Option<String>,
}

impl Bill {
    /// Reads the body of a 402.
    pub(crate) fn read(body: &Value) -> Option<Self> {
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        Some(Self {
            payment_hash: text("paymentHash")?,
            invoice: text("invoice")?,
            macaroon: text("macaroon")?,
            preimage: None,
        })
    }

    /// The `Authorization` of a paid bill.
    pub(crate) fn credential(&self) -> Option<String> {
        let preimage = self.preimage.as_ref()?;
        Some(format!("L402 {}:{preimage}", self.macaroon))
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
    /// The bills that were paid and can be presented.
    pub(crate) fn paid(&self) -> Vec<usize> {
        (0..self.bills.len()).filter(|at| self.bills[*at].preimage.is_some()).collect()
    }

    /// The bills without a proof; some may have been paid all the same.
    pub(crate) fn unpaid(&self) -> Vec<usize> {
        (0..self.bills.len()).filter(|at| self.bills[*at].preimage.is_none()).collect()
    }
}
