//! Prices that are reckoned: shares of a number, bytes, times of the week.

use std::num::NonZeroU64;

use tollway_core::money::Msat;
use tollway_core::pricing::{
    BySize, DAY_MINUTES, Percent, Price, Rate, Rule, Window, WindowPrice, Windows,
};

use super::price::{PriceReader, field, msat, sats};
use super::reader::{ConfigError, Node, Object};

/// The highest percentage of a window.
const PERCENT_MAX: u64 = 100_000;
/// The most windows of one price.
const WINDOWS_MAX: usize = 100;
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const EVERY_DAY: u8 = 0b111_1111;

/// A share of the number that a field says.
pub(super) fn percent(node: &Node<'_>) -> Result<Price, ConfigError> {
    const EXPECTED: &str = "a percentage above 0 such as 2.5";
    let fields = node.object(&["percent", "of", "unit", "min", "max"])?;
    let percent = fields.required("percent", "write how much of it")?;
    let share = percent
        .decimal()
        .filter(|share| !share.is_zero())
        .ok_or_else(|| percent.fault(EXPECTED, "write the number without a % sign"))?;
    let unit = fields.required("unit", "say what the field counts: \"sat\" or \"msat\"")?;
    let unit = match unit.text("\"sat\" or \"msat\"")? {
        "sat" => Msat::from_sats(1),
        "msat" => Msat::new(1),
        _ => return Err(unit.fault("\"sat\" or \"msat\"", "write one of the two")),
    };
    let bound = |name| fields.optional(name).map(|node| amount(&node)).transpose();
    let (min, max) = (bound("min")?.unwrap_or(Msat::ZERO), bound("max")?);
    if max.is_some_and(|max| max < min) {
        return Err(node.problem(
            "expected a max of at least min, but found less; change one of the two".to_owned(),
        ));
    }
    Ok(Price::rule(Rule::Percent(Percent {
        of: field(&fields.required("of", "name the field that says the amount")?)?,
        unit: unit.unwrap_or(Msat::MAX),
        percent: share,
        min,
        max,
    })))
}

/// An amount that is not free: `{"sats": 5}` or `{"msat": 1500}`.
fn amount(node: &Node<'_>) -> Result<Msat, ConfigError> {
    match node.object(&["sats", "msat"])?.one_of(&["sats", "msat"])? {
        Some((node, 0)) => sats(&node, "msat"),
        Some((node, _)) => msat(&node),
        None => Err(node.fault("an amount such as {\"sats\": 5}", "write sats or msat")),
    }
}

/// A price and what the bytes of the body cost besides.
pub(super) fn by_size(
    prices: &PriceReader,
    node: &Node<'_>,
    depth: usize,
) -> Result<Price, ConfigError> {
    let fields = node.object(&["base", "request_bytes"])?;
    let base = fields.required("base", "say what a request costs without a body, or \"free\"")?;
    let bytes = fields.required("request_bytes", "say what the bytes of the body cost")?;
    let price = prices.price_at(&base, depth)?;
    known_before(&base, &price)?;
    Ok(Price::rule(Rule::BySize(BySize { base: price, request: rate(&bytes)? })))
}

/// What follows from a response cannot be added to, nor be taken a share of.
fn known_before(node: &Node<'_>, price: &Price) -> Result<(), ConfigError> {
    if price.follows_usage() {
        return Err(node.problem(
            "expected a price that is known before the response, but found one by tokens; write \
             that one alone"
                .to_owned(),
        ));
    }
    Ok(())
}

/// So much for so many: `{"msat": 10, "per": 1024}`.
fn rate(node: &Node<'_>) -> Result<Rate, ConfigError> {
    let fields = node.object(&["sats", "msat", "per"])?;
    let amount = match fields.one_of(&["sats", "msat"])? {
        Some((node, 0)) => sats(&node, "msat")?,
        Some((node, _)) => msat(&node)?,
        None => {
            return Err(node.fault("a rate such as {\"msat\": 10, \"per\": 1024}", "write msat"));
        }
    };
    let per = fields.integer("per", 1, 1..=Msat::MAX.get())?;
    Ok(Rate { amount, per: NonZeroU64::new(per).unwrap_or(NonZeroU64::MIN) })
}

/// Prices at times of the week.
pub(super) fn windows(
    prices: &PriceReader,
    node: &Node<'_>,
    depth: usize,
) -> Result<Price, ConfigError> {
    let fields = node.object(&["windows", "otherwise"])?;
    let list = fields.required("windows", "list the times of the week")?;
    let otherwise = fields.required("otherwise", "say what requests cost at all other times")?;
    let other = prices.price_at(&otherwise, depth)?;
    let window = |node: &Node<'_>| {
        let fields = node.object(&["days", "from", "to", "percent", "price"])?;
        let price = match fields.one_of(&["percent", "price"])? {
            Some((node, 0)) => {
                let percent = node.integer(1, PERCENT_MAX)?;
                WindowPrice::Percent(u32::try_from(percent).unwrap_or(u32::MAX))
            }
            Some((node, _)) => WindowPrice::Price(prices.price_at(&node, depth)?),
            None => {
                return Err(fields.problem(
                    "expected a price or a percentage of the other price, but found neither; \
                     write \"price\" or \"percent\""
                        .to_owned(),
                ));
            }
        };
        let time = |name| minute(&fields.required(name, "write a time in UTC, such as \"17:00\"")?);
        let window = Window { weekdays: weekdays(&fields)?, from: time("from")?, to: time("to")? };
        Ok((window, price))
    };
    let windows = list.items(WINDOWS_MAX)?.iter().map(window).collect::<Result<Vec<_>, _>>()?;
    if windows.iter().any(|(_, price)| matches!(price, WindowPrice::Percent(_))) {
        known_before(&otherwise, &other)?;
    }
    Ok(Price::rule(Rule::Windows(Windows { windows, otherwise: other })))
}

fn weekdays(fields: &Object<'_>) -> Result<u8, ConfigError> {
    const EXPECTED: &str = "a day of the week: mon, tue, wed, thu, fri, sat or sun";
    let Some(list) = fields.optional("days") else { return Ok(EVERY_DAY) };
    list.items(WEEKDAYS.len())?.iter().try_fold(0, |days, node| {
        let text = node.text(EXPECTED)?;
        match WEEKDAYS.iter().position(|day| *day == text) {
            Some(bit) => Ok(days | 1 << bit),
            None => Err(node.fault(EXPECTED, "write it so")),
        }
    })
}

/// The minute of a day, from `00:00` to `24:00`.
fn minute(node: &Node<'_>) -> Result<u16, ConfigError> {
    const EXPECTED: &str = "a time in UTC from \"00:00\" to \"24:00\"";
    let text = node.text(EXPECTED)?;
    let digits = |text: &str| {
        let proper = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| proper)
    };
    text.split_once(':')
        .and_then(|(hour, minute)| Some((digits(hour)?, digits(minute)?)))
        .filter(|(_, minute)| *minute < 60)
        .map(|(hour, minute)| hour * 60 + minute)
        .filter(|minute| *minute <= DAY_MINUTES)
        .ok_or_else(|| node.fault(EXPECTED, "write two digits, a colon and two digits"))
}
