//! What changes a sale beside its price: coupons, and routes of which only so much is sold.
//!
//! The configuration says what there is, the ledger counts what is taken.

use std::collections::BTreeMap;

use tollway_core::budget::BudgetWindow;
use tollway_core::digest::Digest;
use tollway_core::money::Msat;
use tollway_core::tier::Tier;
use tollway_core::wire::{ChallengeRequest, SaleRefusal};

use crate::config::{Coupon, Gives, SalesConfig, Supply};
use crate::ledger::{CouponOrder, StockOrder};

/// The least that an invoice asks after a coupon: some wallets pay no less.
const LEAST: Msat = match Msat::new(1_000) {
    Some(sat) => sat,
    None => Msat::MAX,
};

/// The coupons and supplies of the configuration.
#[derive(Debug)]
pub(crate) struct Sales {
    coupons: BTreeMap<String, (Coupon, CouponOrder)>,
    /// By route.
    supplies: BTreeMap<String, StockOrder>,
    /// Percent of what is bought.
    tier_credit: Vec<(Tier, u64)>,
}

impl Sales {
    pub(crate) fn new(config: &SalesConfig) -> Self {
        let SalesConfig { tier_credit, coupons, supplies } = config;
        let coupon = |(code, coupon): (&String, &Coupon)| {
            let limit = coupon.max_uses.unwrap_or(u64::MAX);
            let stock = stock("coupon", code, limit, BudgetWindow::Total);
            let order = CouponOrder { stock, per_account: coupon.per_account };
            (code.clone(), (coupon.clone(), order))
        };
        let supply = |supply: &Supply| {
            let stock = stock("supply", &supply.name, supply.calls, supply.per);
            supply.routes.iter().map(move |route| (route.clone(), stock.clone())).collect()
        };
        Self {
            coupons: coupons.iter().map(coupon).collect(),
            supplies: supplies.iter().flat_map::<Vec<_>, _>(supply).collect(),
            tier_credit: tier_credit.clone(),
        }
    }

    /// What a call of this route is taken of.
    pub(crate) fn supply(&self, route: &str) -> Option<&StockOrder> {
        self.supplies.get(route)
    }

    /// The routes of which only so many calls are sold.
    pub(crate) fn limited_routes(&self) -> Vec<String> {
        self.supplies.keys().cloned().collect()
    }

    /// The credit that an account of this tier gets where others get this much.
    pub(crate) fn credit_for(&self, tier: Tier, credit: Msat) -> Msat {
        let known = self.tier_credit.iter().find(|(known, _)| *known == tier);
        known.map_or(credit, |(_, percent)| share(credit, *percent).max(credit))
    }

    /// Changes a purchase as its coupon says.
    ///
    /// # Errors
    /// [`SaleRefusal`] for a coupon that is none, or not for this.
    pub(crate) fn apply(
        &self,
        request: &mut ChallengeRequest,
        now_s: u64,
    ) -> Result<Option<CouponOrder>, SaleRefusal> {
        let Some(code) = &request.coupon else { return Ok(None) };
        let (coupon, order) = self.coupons.get(code).ok_or(SaleRefusal::CouponUnknown)?;
        let named =
            coupon.routes.contains(&request.route) || coupon.services.contains(&request.service);
        let for_all = coupon.routes.is_empty() && coupon.services.is_empty();
        if !(for_all || named) {
            return Err(SaleRefusal::CouponNotForThis);
        }
        if coupon.expires_at.is_some_and(|ends| now_s >= ends) {
            return Err(SaleRefusal::CouponExpired);
        }
        let (amount, credit) = (request.amount_msat, request.credit_msat);
        let (less, more) = match coupon.gives {
            Gives::PercentOff(percent) => (share(amount, percent), Msat::ZERO),
            Gives::MsatOff(less) => (less, Msat::ZERO),
            Gives::BonusPercent(percent) => (Msat::ZERO, share(amount, percent)),
            Gives::BonusMsat(more) => (Msat::ZERO, more),
        };
        if more > Msat::ZERO && !request.buys.is_credit() {
            return Err(SaleRefusal::CouponNotForThis);
        }
        let least = LEAST.min(amount);
        request.amount_msat = amount.checked_sub(less).unwrap_or(least).max(least);
        request.credit_msat = credit.checked_add(more).unwrap_or(credit);
        Ok(Some(order.clone()))
    }
}

/// So many hundredths, rounded down.
fn share(amount: Msat, percent: u64) -> Msat {
    let share = u128::from(amount.get()) * u128::from(percent) / 100;
    u64::try_from(share).ok().and_then(Msat::new).unwrap_or(Msat::MAX)
}

/// Another window makes another stock: what was counted in the old one means nothing there.
fn stock(kind: &str, name: &str, limit: u64, window: BudgetWindow) -> StockOrder {
    let text = window.to_string();
    let id = Digest::of(&[kind.as_bytes(), name.as_bytes(), text.as_bytes()]);
    StockOrder { id, name: format!("{kind} {name}"), limit, window }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tollway_core::wire::{Buys, Proof};

    use super::*;

    fn msat(amount: u64) -> Msat {
        Msat::new(amount).unwrap()
    }

    fn request(amount: u64, coupon: &str) -> ChallengeRequest {
        ChallengeRequest {
            route: "joke".to_owned(),
            service: "demo".to_owned(),
            amount_msat: msat(amount),
            buys: Buys::Credit,
            credit_msat: msat(amount),
            seed_msat: Msat::ZERO,
            credit_ttl_s: None,
            memo: String::new(),
            top_up: None,
            client: None,
            pending: None,
            other: None,
            proof: Proof::default(),
            certificate: None,
            coupon: Some(coupon.to_owned()),
        }
    }

    fn coupon(gives: Gives) -> Coupon {
        let (routes, services) = (BTreeSet::new(), BTreeSet::new());
        Coupon { gives, max_uses: None, per_account: None, expires_at: None, routes, services }
    }

    fn sales(coupon: Coupon) -> Sales {
        Sales::new(&SalesConfig {
            coupons: BTreeMap::from([("X".to_owned(), coupon)]),
            ..SalesConfig::default()
        })
    }

    #[test]
    fn a_coupon_changes_what_is_asked_or_what_it_brings() {
        for (gives, amount, asked, credit) in [
            (Gives::PercentOff(20), 10_000, 8_000, 10_000),
            // In favour of the operator, once.
            (Gives::PercentOff(33), 10_001, 6_701, 10_001),
            (Gives::PercentOff(99), 20_000, 1_000, 20_000),
            // What costs less than a sat anyway does not become dearer.
            (Gives::PercentOff(50), 600, 600, 600),
            (Gives::MsatOff(msat(2_500)), 10_000, 7_500, 10_000),
            (Gives::MsatOff(msat(50_000)), 10_000, 1_000, 10_000),
            (Gives::BonusPercent(150), 10_000, 10_000, 25_000),
            (Gives::BonusMsat(msat(7)), 10_000, 10_000, 10_007),
        ] {
            let mut request = request(amount, "X");
            let order = sales(coupon(gives)).apply(&mut request, 0).unwrap().unwrap();
            assert_eq!(order.stock.name, "coupon X");
            let found = (request.amount_msat.get(), request.credit_msat.get());
            assert_eq!(found, (asked, credit), "{gives:?}");
        }
    }

    #[test]
    fn a_tier_gets_more_for_its_money_and_never_less() {
        let [gold, silver] = ["gold", "silver"].map(|name| Tier::parse(name).unwrap());
        let sales =
            Sales::new(&SalesConfig { tier_credit: vec![(gold, 150)], ..SalesConfig::default() });
        for (tier, credit, more) in
            [(gold, 10_001, 15_001), (gold, 1, 1), (silver, 10_001, 10_001), (Tier::NONE, 5, 5)]
        {
            assert_eq!(sales.credit_for(tier, msat(credit)).get(), more);
        }
        assert_eq!(sales.credit_for(gold, Msat::MAX), Msat::MAX);
    }

    #[test]
    fn a_coupon_is_for_what_and_when_it_says() {
        let gives = Gives::PercentOff(20);
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let timed = Coupon { expires_at: Some(100), ..coupon(gives) };
        let routed = Coupon { routes: named(&["time"]), ..coupon(gives) };
        let served = Coupon { services: named(&["demo"]), routes: named(&["x"]), ..coupon(gives) };
        for (coupon, now_s, refusal) in [
            (timed.clone(), 99, None),
            (timed, 100, Some(SaleRefusal::CouponExpired)),
            (routed, 0, Some(SaleRefusal::CouponNotForThis)),
            (served, 0, None),
        ] {
            let found = sales(coupon).apply(&mut request(10_000, "X"), now_s);
            assert_eq!(found.err(), refusal);
        }
        let sales = sales(coupon(Gives::BonusPercent(10)));
        for code in ["x", "", "Y"] {
            let found = sales.apply(&mut request(10_000, code), 0);
            assert_eq!(found, Err(SaleRefusal::CouponUnknown), "{code}");
        }
        let mut session = request(10_000, "X");
        (session.buys, session.credit_msat) = (Buys::Session, Msat::ZERO);
        assert_eq!(sales.apply(&mut session, 0), Err(SaleRefusal::CouponNotForThis));
        let mut none = ChallengeRequest { coupon: None, ..request(10_000, "") };
        assert_eq!(sales.apply(&mut none, 0), Ok(None));
    }
}
