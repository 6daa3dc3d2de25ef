//! Prices by the time of the week, in UTC.

use alloc::vec::Vec;

use super::price::{BodyNeed, Price, PricedRequest, Quote};
use super::{PriceFault, PriceProblem};

/// The minutes of a day.
pub const DAY_MINUTES: u16 = 24 * 60;
const MINUTE_MS: u64 = 60 * 1_000;
const DAY_MS: u64 = DAY_MINUTES as u64 * MINUTE_MS;
/// The first day of Unix time was a Thursday.
const FIRST_WEEKDAY: u64 = 3;

/// Prices at certain times, and one for the rest of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// The times; the first that has begun and not ended decides.
    pub windows: Vec<(Window, WindowPrice)>,
    /// What requests cost at all other times.
    pub otherwise: Price,
}

/// A time of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bit 0 for a window that begins on Mondays, bit 6 for Sundays.
    pub weekdays: u8,
    /// The minute of the day with which it begins.
    pub from: u16,
    /// The minute before which it ends; on the next day, if it is not after the beginning.
    pub to: u16,
}

/// What requests cost within a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowPrice {
    /// A price of its own.
    Price(Price),
    /// So many hundredths of what they cost otherwise, rounded up.
    Percent(u32),
}

impl Window {
    /// Whether this moment, in Unix time, is within the window.
    #[must_use]
    pub const fn contains(self, now_ms: u64) -> bool {
        let weekday = (now_ms / DAY_MS + FIRST_WEEKDAY) % 7;
        let minute = (now_ms % DAY_MS / MINUTE_MS) as u16;
        if self.from < self.to {
            return self.begins(weekday) && self.from <= minute && minute < self.to;
        }
        let yesterday = (weekday + 6) % 7;
        (self.begins(weekday) && self.from <= minute)
            || (self.begins(yesterday) && minute < self.to)
    }

    const fn begins(self, weekday: u64) -> bool {
        self.weekdays >> weekday & 1 == 1
    }
}

impl Windows {
    pub(super) fn body_need(&self) -> BodyNeed {
        self.prices().map(Price::body_need).fold(BodyNeed::Nothing, BodyNeed::max)
    }

    pub(super) fn prices(&self) -> impl Iterator<Item = &Price> {
        let own = self.windows.iter().filter_map(|(_, price)| match price {
            WindowPrice::Price(price) => Some(price),
            WindowPrice::Percent(_) => None,
        });
        own.chain([&self.otherwise])
    }

    pub(super) fn quote(&self, request: &PricedRequest<'_>) -> Result<Quote, PriceFault<'_>> {
        let now = self.windows.iter().find(|(window, _)| window.contains(request.now_ms));
        match now {
            None => self.otherwise.quote(request),
            Some((_, WindowPrice::Price(price))) => price.quote(request),
            Some((_, WindowPrice::Percent(percent))) => {
                let Quote { cost, .. } = self.otherwise.quote(request)?;
                let cost = cost.percent_rounded_up(*percent).ok_or(PriceProblem::OutOfRange)?;
                Ok(Quote::fixed(cost))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::price::tests::{fixed, request};
    use super::*;
    use crate::money::Msat;

    /// Monday, 2027-01-18, 00:00 UTC.
    const MONDAY_MS: u64 = 1_800_230_400_000;

    fn at(weekday: u64, hour: u64, minute: u64) -> u64 {
        MONDAY_MS + weekday * DAY_MS + (hour * 60 + minute) * MINUTE_MS
    }

    #[test]
    fn a_window_begins_with_its_first_minute_and_ends_before_its_last() {
        let happy = Window { weekdays: 0b1_0001, from: 17 * 60, to: 19 * 60 + 30 };
        for (moment, expected) in [
            (at(0, 16, 59), false),
            (at(0, 17, 0), true),
            (at(0, 19, 29), true),
            (at(0, 19, 30), false),
            (at(1, 18, 0), false),
            (at(4, 18, 0), true),
            (at(7, 18, 0), true),
            (at(0, 17, 0) - 1, false),
            (at(0, 19, 30) - 1, true),
        ] {
            assert_eq!(happy.contains(moment), expected, "{moment}");
        }
        // The first second of Unix time was on a Thursday.
        assert!(Window { weekdays: 0b1000, from: 0, to: DAY_MINUTES }.contains(0));
    }

    #[test]
    fn a_window_goes_on_after_midnight_and_over_the_end_of_the_week() {
        let night = Window { weekdays: 0b100_0000, from: 22 * 60, to: 6 * 60 };
        for (moment, expected) in [
            (at(6, 21, 59), false),
            (at(6, 22, 0), true),
            (at(7, 0, 0), true),
            (at(7, 5, 59), true),
            (at(7, 6, 0), false),
            (at(6, 3, 0), false),
            (at(0, 22, 0), false),
        ] {
            assert_eq!(night.contains(moment), expected, "{moment}");
        }
        let whole = Window { weekdays: 0b1, from: 0, to: 0 };
        assert!(whole.contains(at(0, 0, 0)) && whole.contains(at(0, 23, 59)));
        assert!(!whole.contains(at(1, 0, 0)) && !whole.contains(at(6, 23, 59)));
        let never = Window { weekdays: 0, from: 0, to: DAY_MINUTES };
        assert!(!never.contains(at(0, 12, 0)));
    }

    #[test]
    fn the_moment_decides_and_the_first_window_wins() {
        let window =
            |from: u16, to: u16| Window { weekdays: 0b111_1111, from: from * 60, to: to * 60 };
        let rule = Windows {
            windows: vec![
                (window(17, 19), WindowPrice::Percent(50)),
                (window(18, 20), WindowPrice::Price(fixed(70))),
                (window(20, 21), WindowPrice::Price(Price::Free)),
                (window(21, 22), WindowPrice::Price(Price::Denied)),
                (window(22, 23), WindowPrice::Percent(300)),
                (window(23, 24), WindowPrice::Percent(u32::MAX)),
            ],
            otherwise: fixed(101),
        };
        for (hour, expected) in [
            (16, Ok(101)),
            (17, Ok(51)),
            (18, Ok(51)),
            (19, Ok(70)),
            (20, Ok(0)),
            (21, Err(PriceProblem::NotSold)),
            (22, Ok(303)),
        ] {
            let quote = rule.quote(&PricedRequest { now_ms: at(2, hour, 30), ..request() });
            let found = quote.map(|quote| quote.cost.get()).map_err(|fault| fault.problem);
            assert_eq!(found, expected, "{hour}");
        }
        let dear = Windows { otherwise: Price::Fixed(Msat::MAX), ..rule };
        let quote = dear.quote(&PricedRequest { now_ms: at(2, 23, 0), ..request() });
        assert_eq!(quote.unwrap_err().problem, PriceProblem::OutOfRange);
    }
}
