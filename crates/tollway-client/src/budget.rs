//! How much may be paid.

use tollway_core::money::Msat;

use crate::invoice::Invoice;
use crate::store::PaymentRecord;

/// A day of the budget is the last 24 hours: no midnight opens a second one.
pub(crate) const DAY_S: u64 = 24 * 60 * 60;

/// The most that may be paid: for one request, to one host within 24 hours, and in all within 24
/// hours. Fees count towards the two sums once they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub(crate) request: Msat,
    pub(crate) host: Option<Msat>,
    pub(crate) day: Option<Msat>,
    pub(crate) fee: Option<Msat>,
}

/// Which limit an invoice would break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The one for one request.
    Request,
    /// The one for this host within 24 hours.
    Host,
    /// The one for everything within 24 hours.
    Day,
}

/// An invoice that asks for more than the budget has left. Nothing was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server asks for {} sats, but {}", asked.to_sats_rounded_up(), self.what_is_left())]
pub struct OverBudget {
    /// The limit that it breaks.
    pub limit: Limit,
    /// What the invoice asks.
    pub asked: Msat,
    /// The limit's amount.
    pub budget: Msat,
    /// What was spent of it before.
    pub spent: Msat,
}

impl OverBudget {
    fn what_is_left(&self) -> String {
        let budget = self.budget.to_sats_rounded_up();
        let spent = self.spent.to_sats_rounded_up();
        match self.limit {
            Limit::Request => format!("the budget is {budget} sats"),
            Limit::Host => format!("{spent} of {budget} sats for this host and day are spent"),
            Limit::Day => format!("{spent} of {budget} sats for this day are spent"),
        }
    }
}

impl Default for Budget {
    /// 100 sats for one request, and no other limit.
    fn default() -> Self {
        Self::per_request_sats(100)
    }
}

impl Budget {
    /// At most this for one request. 0 pays nothing.
    #[must_use]
    pub const fn per_request(amount: Msat) -> Self {
        Self { request: amount, host: None, day: None, fee: None }
    }

    /// As [`Budget::per_request`], in satoshi.
    #[must_use]
    pub const fn per_request_sats(sats: u64) -> Self {
        Self::per_request(msat(sats))
    }

    /// At most this many satoshi to one host within 24 hours.
    #[must_use]
    pub const fn per_host_sats(self, sats: u64) -> Self {
        Self { host: Some(msat(sats)), ..self }
    }

    /// At most this many satoshi within 24 hours, to whomever.
    #[must_use]
    pub const fn per_day_sats(self, sats: u64) -> Self {
        Self { day: Some(msat(sats)), ..self }
    }

    /// At most this many satoshi of fees for one payment. Without it: a hundredth of the amount,
    /// and 10 sats for small amounts.
    #[must_use]
    pub const fn fee_sats(self, sats: u64) -> Self {
        Self { fee: Some(msat(sats)), ..self }
    }

    pub(crate) fn fee_max(&self, invoice: &Invoice) -> Msat {
        self.fee.unwrap_or_else(|| {
            let hundredth = invoice.amount().percent_rounded_up(1);
            hundredth.unwrap_or(Msat::ZERO).max(msat(10))
        })
    }

    /// Whether one request may cost this.
    pub(crate) fn allows_request(&self, asked: Msat) -> Result<(), OverBudget> {
        let budget = self.request;
        if asked <= budget {
            return Ok(());
        }
        Err(OverBudget { limit: Limit::Request, asked, budget, spent: Msat::ZERO })
    }

    /// Whether this may be paid to the host now, after those payments.
    pub(crate) fn allows<'a>(
        &self,
        asked: Msat,
        host: &str,
        now_s: u64,
        payments: impl Iterator<Item = &'a PaymentRecord> + Clone,
    ) -> Result<(), OverBudget> {
        self.allows_request(asked)?;
        let today = payments.filter(|payment| payment.at_s.saturating_add(DAY_S) > now_s);
        let sum = |chosen: &dyn Fn(&PaymentRecord) -> bool| {
            let mut amounts = today.clone().filter(|payment| chosen(payment));
            // What cannot be counted is over every budget.
            amounts.try_fold(Msat::ZERO, |sum, payment| {
                sum.checked_add(payment.amount)?.checked_add(payment.fee)
            })
        };
        let to_host = sum(&|payment| payment.host == host);
        let to_all = sum(&|_| true);
        for (limit, budget, spent) in
            [(Limit::Host, self.host, to_host), (Limit::Day, self.day, to_all)]
        {
            let Some(budget) = budget else { continue };
            let spent = spent.unwrap_or(Msat::MAX);
            if spent.checked_add(asked).is_none_or(|sum| sum > budget) {
                return Err(OverBudget { limit, asked, budget, spent });
            }
        }
        Ok(())
    }
}

const fn msat(sats: u64) -> Msat {
    match Msat::from_sats(sats) {
        Some(msat) => msat,
        None => Msat::MAX,
    }
}

#[cfg(test)]
mod tests {
    use tollway_core::payment::PaymentHash;

    use super::*;
    use crate::store::PaymentState;

    fn payment(at_s: u64, host: &str, sats: u64, fee_sats: u64) -> PaymentRecord {
        PaymentRecord {
            at_s,
            host: host.into(),
            path: "/".into(),
            amount: msat(sats),
            fee: msat(fee_sats),
            payment_hash: PaymentHash::from_bytes([0; 32]),
            state: PaymentState::Pending,
        }
    }

    #[test]
    fn each_limit_is_told_apart_and_the_exact_rest_is_allowed() {
        let budget = Budget::per_request_sats(50).per_host_sats(100).per_day_sats(150);
        let spent = [payment(1_000, "a", 60, 1), payment(2_000, "b", 40, 0)];
        let asked = |sats, host| budget.allows(msat(sats), host, 3_000, spent.iter());
        let limit = |sats, host| asked(sats, host).map_err(|over| over.limit);
        assert_eq!(limit(51, "c"), Err(Limit::Request));
        assert_eq!(limit(40, "a"), Err(Limit::Host));
        assert_eq!(limit(39, "a"), Ok(()));
        assert_eq!(limit(50, "c"), Err(Limit::Day));
        assert_eq!(limit(49, "c"), Ok(()));
        assert_eq!(
            asked(40, "a").unwrap_err().to_string(),
            "the server asks for 40 sats, but 61 of 100 sats for this host and day are spent"
        );
        assert_eq!(
            asked(50, "c").unwrap_err().to_string(),
            "the server asks for 50 sats, but 101 of 150 sats for this day are spent"
        );
    }

    #[test]
    fn a_day_is_the_last_24_hours() {
        let budget = Budget::per_request_sats(10).per_day_sats(10);
        let spent = [payment(1_000, "a", 10, 0)];
        let at = |now_s| budget.allows(msat(1), "a", now_s, spent.iter()).is_ok();
        assert!(!at(1_000) && !at(1_000 + DAY_S - 1) && at(1_000 + DAY_S));
    }

    #[test]
    fn sums_that_cannot_be_counted_are_over_every_budget() {
        let budget = Budget::per_request_sats(u64::MAX).per_day_sats(u64::MAX);
        let spent = [payment(0, "a", u64::MAX, 0), payment(0, "a", u64::MAX, 0)];
        assert!(budget.allows(msat(1), "a", 0, spent.iter()).is_err());
    }
}
