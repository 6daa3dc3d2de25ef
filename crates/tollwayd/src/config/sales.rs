//! Coupons, and routes of which only so many calls are sold.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tollway_core::budget::BudgetWindow;
use tollway_core::money::Msat;
use tollway_core::tier::Tier;
use tollway_core::wire::{COUPON_BYTES_MAX, ROUTE_NAME_BYTES_MAX};

use super::ConfigError;

/// The most coupons, supplies, and names in one list.
const ENTRIES_MAX: usize = 1_000;
/// A coupon may multiply what is bought by eleven.
const BONUS_PERCENT_MAX: u64 = 1_000;
/// Beyond it a number is no bound.
const LIMIT_MAX: u64 = 1_000_000_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCoupon {
    code: String,
    percent_off: Option<u64>,
    msat_off: Option<u64>,
    bonus_percent: Option<u64>,
    bonus_msat: Option<u64>,
    max_uses: Option<u64>,
    per_account: Option<u64>,
    expires_at: Option<u64>,
    #[serde(default)]
    routes: BTreeSet<String>,
    #[serde(default)]
    services: BTreeSet<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSupply {
    name: String,
    routes: BTreeSet<String>,
    calls: u64,
    per: Per,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Per {
    Hour,
    Day,
    Month,
    Total,
}

/// A coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coupon {
    /// What it does to a purchase.
    pub gives: Gives,
    /// How often it may be used in all.
    pub max_uses: Option<u64>,
    /// How often one account may use it.
    pub per_account: Option<u64>,
    /// When its time is over, Unix time in seconds.
    pub expires_at: Option<u64>,
    /// What it is for; all where both lists are empty.
    pub routes: BTreeSet<String>,
    /// The same, by service.
    pub services: BTreeSet<String>,
}

/// What a coupon does to a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// The invoice asks so many hundredths less, for the same credit.
    PercentOff(u64),
    /// The invoice asks so much less.
    MsatOff(Msat),
    /// The payment brings so many hundredths of it more credit.
    BonusPercent(u64),
    /// The payment brings so much more credit.
    BonusMsat(Msat),
}

/// What changes a sale beside its price.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SalesConfig {
    /// How much credit accounts of a tier get for what they pay, in percent.
    pub tier_credit: Vec<(Tier, u64)>,
    /// What makes purchases cheaper, by code.
    pub coupons: BTreeMap<String, Coupon>,
    /// Of what only so much is sold.
    pub supplies: Vec<Supply>,
}

/// Checks what the file says.
pub(super) fn resolve(
    tier: &BTreeMap<String, u64>,
    coupon: &[RawCoupon],
    supply: &[RawSupply],
) -> Result<SalesConfig, ConfigError> {
    let (tier_credit, coupons) = (tier_credit(tier)?, coupons(coupon)?);
    Ok(SalesConfig { tier_credit, coupons, supplies: supplies(supply)? })
}

/// Routes of which only so many calls are sold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supply {
    /// What the operator calls it.
    pub name: String,
    /// The routes.
    pub routes: BTreeSet<String>,
    /// How many calls there are in one window.
    pub calls: u64,
    /// The window.
    pub per: BudgetWindow,
}

/// Reads the coupons, by their codes.
fn coupons(raw: &[RawCoupon]) -> Result<BTreeMap<String, Coupon>, ConfigError> {
    let mut coupons = BTreeMap::new();
    for one in raw {
        let coupon = one.resolve()?;
        if coupons.insert(one.code.clone(), coupon).is_some() || coupons.len() > ENTRIES_MAX {
            let problem = format!("expected each code once, and at most {ENTRIES_MAX}");
            return Err(fault("coupons.code", problem, "rename or remove one"));
        }
    }
    Ok(coupons)
}

/// Reads how much more credit accounts of a tier get for their money, in percent of what they buy.
fn tier_credit(raw: &BTreeMap<String, u64>) -> Result<Vec<(Tier, u64)>, ConfigError> {
    let read = |(name, percent): (&String, &u64)| {
        let tier = Tier::parse(name).filter(|tier| !tier.is_none());
        let range = 100..=100 + BONUS_PERCENT_MAX;
        tier.filter(|_| range.contains(percent)).map(|tier| (tier, *percent)).ok_or_else(|| {
            let (least, most) = range.into_inner();
            let problem =
                format!("expected a tier and {least} to {most}, but found {name} = {percent}");
            fault("tier_credit", problem, "write it like gold = 120, for a fifth more")
        })
    };
    raw.iter().map(read).collect()
}

/// Reads the supplies. A route belongs to one.
fn supplies(raw: &[RawSupply]) -> Result<Vec<Supply>, ConfigError> {
    let (mut names, mut routes) = (BTreeSet::new(), BTreeSet::new());
    for one in raw {
        is_name("supply.name", &one.name)?;
        check("supply.calls", Some(one.calls), 0..=LIMIT_MAX)?;
        if one.routes.is_empty() {
            let problem = "expected at least one route, but found none".to_owned();
            return Err(fault("supply.routes", problem, "name them as the filter does"));
        }
        check_names("supply.routes", &one.routes)?;
        let twice = one.routes.iter().any(|route| !routes.insert(route));
        if twice || !names.insert(&one.name) || names.len() > ENTRIES_MAX {
            let problem =
                format!("expected each name and each route once, and at most {ENTRIES_MAX}");
            return Err(fault("supply.routes", problem, "put each route into one supply"));
        }
    }
    let supply = |one: &RawSupply| Supply {
        name: one.name.clone(),
        routes: one.routes.clone(),
        calls: one.calls,
        per: match one.per {
            Per::Hour => BudgetWindow::Hour,
            Per::Day => BudgetWindow::Day,
            Per::Month => BudgetWindow::Month,
            Per::Total => BudgetWindow::Total,
        },
    };
    Ok(raw.iter().map(supply).collect())
}

impl RawCoupon {
    fn resolve(&self) -> Result<Coupon, ConfigError> {
        is_name("coupons.code", &self.code)?;
        check("coupons.percent_off", self.percent_off, 1..=99)?;
        check("coupons.bonus_percent", self.bonus_percent, 1..=BONUS_PERCENT_MAX)?;
        check("coupons.msat_off", self.msat_off, 1..=Msat::MAX.get())?;
        check("coupons.bonus_msat", self.bonus_msat, 1..=Msat::MAX.get())?;
        check("coupons.max_uses", self.max_uses, 1..=LIMIT_MAX)?;
        check("coupons.per_account", self.per_account, 1..=LIMIT_MAX)?;
        let msat = |amount| Msat::new(amount).unwrap_or(Msat::MAX);
        let given = [
            self.percent_off.map(Gives::PercentOff),
            self.msat_off.map(|amount| Gives::MsatOff(msat(amount))),
            self.bonus_percent.map(Gives::BonusPercent),
            self.bonus_msat.map(|amount| Gives::BonusMsat(msat(amount))),
        ];
        let mut given = given.into_iter().flatten();
        let (Some(gives), None) = (given.next(), given.next()) else {
            let problem = format!("{:?} gives nothing, or two things", self.code);
            let remedy = "write one of percent_off, msat_off, bonus_percent and bonus_msat";
            return Err(fault("coupons", problem, remedy));
        };
        check_names("coupons.routes", &self.routes)?;
        check_names("coupons.services", &self.services)?;
        Ok(Coupon {
            gives,
            max_uses: self.max_uses,
            per_account: self.per_account,
            expires_at: self.expires_at,
            routes: self.routes.clone(),
            services: self.services.clone(),
        })
    }
}

fn is_name(field: &'static str, name: &str) -> Result<(), ConfigError> {
    let proper = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if (1..=COUPON_BYTES_MAX).contains(&name.len()) && name.bytes().all(proper) {
        return Ok(());
    }
    let problem = format!("expected 1 to {COUPON_BYTES_MAX} of A-Z, a-z, 0-9, \"-\" and \"_\"");
    Err(fault(field, problem, "rename it"))
}

fn check_names(field: &'static str, names: &BTreeSet<String>) -> Result<(), ConfigError> {
    let fits = |name: &String| (1..=ROUTE_NAME_BYTES_MAX).contains(&name.len());
    if names.len() <= ENTRIES_MAX && names.iter().all(fits) {
        return Ok(());
    }
    let problem = format!("expected at most {ENTRIES_MAX} names as the filter has them");
    Err(fault(field, problem, "write the names of its configuration"))
}

fn check(
    field: &'static str,
    number: Option<u64>,
    range: std::ops::RangeInclusive<u64>,
) -> Result<(), ConfigError> {
    match number.filter(|number| !range.contains(number)) {
        None => Ok(()),
        Some(number) => {
            let (least, most) = range.into_inner();
            let problem = format!("expected {least} to {most}, but found {number}");
            Err(fault(field, problem, "write a number in between"))
        }
    }
}

fn fault(field: &'static str, problem: String, remedy: &str) -> ConfigError {
    ConfigError::Value { field, problem, remedy: remedy.to_owned() }
}
