//! Budgets: what a token may spend in a window, however much its account has.
//!
//! A holder adds one offline, as the caveat `budget=<msat>/<window>` or
//! `budget=<msat>/<window>/<name>`, and hands the narrower token to somebody else; the ledger
//! counts. A token may have several: each was added to a token that had the earlier ones, and
//! what it spends counts against all of them.

use core::fmt;
use core::str::FromStr;

use alloc::string::{String, ToString};
use serde::{Deserialize, Serialize};

use crate::caveat::{CaveatError, is_service_name};
use crate::digest::Digest;
use crate::money::Msat;
use crate::wire::WINDOW_SECONDS_MAX;

/// The most budgets of one token; the ledger locks and writes a row for each.
pub const BUDGETS_MAX: usize = 8;

/// A spend cap, as it stands in a caveat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// The most that one window may cost in all.
    pub limit: Msat,
    /// When it begins anew.
    pub window: BudgetWindow,
    /// Keeps two tokens apart that are else narrowed in the same way: without it they are the
    /// same token, and share what it may spend. Written as a service's name is.
    pub name: Option<String>,
}

impl Budget {
    /// Reads the value of a `budget` caveat.
    pub(crate) fn parse(text: &str) -> Result<Self, CaveatError> {
        let mut parts = text.splitn(3, '/');
        let limit = parts.next().and_then(digits).and_then(Msat::new);
        let limit = limit.ok_or(CaveatError::Malformed)?;
        let window = parts.next().unwrap_or_default().parse();
        let window = window.map_err(|UnknownWindow| CaveatError::Malformed)?;
        let name = parts.next();
        if name.is_some_and(|name| !is_service_name(name)) {
            return Err(CaveatError::Malformed);
        }
        Ok(Self { limit, window, name: name.map(Into::into) })
    }
}

impl fmt::Display for Budget {
    /// As in a caveat.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.limit.get(), self.window)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, "/{name}"))
    }
}

/// When a budget is whole again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum BudgetWindow {
    /// At the next full hour, UTC.
    Hour,
    /// At midnight, UTC.
    Day,
    /// On the first of the month at midnight, UTC.
    Month,
    /// So many seconds after what was first spent in it, at most [`WINDOW_SECONDS_MAX`].
    Rolling(u64),
    /// Never.
    Total,
}

impl fmt::Display for BudgetWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hour => f.write_str("hour"),
            Self::Day => f.write_str("day"),
            Self::Month => f.write_str("month"),
            Self::Rolling(seconds) => write!(f, "{seconds}s"),
            Self::Total => f.write_str("total"),
        }
    }
}

impl FromStr for BudgetWindow {
    type Err = UnknownWindow;

    fn from_str(text: &str) -> Result<Self, UnknownWindow> {
        Ok(match text {
            "hour" => Self::Hour,
            "day" => Self::Day,
            "month" => Self::Month,
            "total" => Self::Total,
            _ => {
                let seconds = text.strip_suffix('s').and_then(digits).ok_or(UnknownWindow)?;
                // One text for one window: a leading zero would be another.
                let canonical = !text.starts_with('0') && seconds <= WINDOW_SECONDS_MAX;
                if !canonical {
                    return Err(UnknownWindow);
                }
                Self::Rolling(seconds)
            }
        })
    }
}

impl TryFrom<String> for BudgetWindow {
    type Error = UnknownWindow;

    fn try_from(text: String) -> Result<Self, UnknownWindow> {
        text.parse()
    }
}

impl From<BudgetWindow> for String {
    fn from(window: BudgetWindow) -> Self {
        window.to_string()
    }
}

/// A text that names no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWindow;

impl fmt::Display for UnknownWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected `hour`, `day`, `month`, `total` or a number of seconds up to \
             {WINDOW_SECONDS_MAX} like `3600s`, but found another window"
        )
    }
}

impl core::error::Error for UnknownWindow {}

/// A budget of a genuine token, as the ledger keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenBudget {
    /// Names the token as it was when the budget was added: all that were narrowed from it
    /// spend from one budget.
    pub id: Digest,
    /// The most that one window may cost in all.
    pub limit_msat: Msat,
    /// When it begins anew.
    pub window: BudgetWindow,
}

/// Reads decimal digits only.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_every_window_and_a_name() {
        for (text, limit, window, name) in [
            ("0/hour", 0, BudgetWindow::Hour, None),
            ("5000/day", 5_000, BudgetWindow::Day, None),
            ("5000/month/agent-7", 5_000, BudgetWindow::Month, Some("agent-7")),
            ("9007199254740991/total", Msat::MAX.get(), BudgetWindow::Total, None),
            ("1/1s/a", 1, BudgetWindow::Rolling(1), Some("a")),
            ("1/2678400s", 1, BudgetWindow::Rolling(WINDOW_SECONDS_MAX), None),
        ] {
            let limit = Msat::new(limit).unwrap();
            let expected = Budget { limit, window, name: name.map(Into::into) };
            assert_eq!(Budget::parse(text), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), text);
        }
    }

    #[test]
    fn err_what_is_no_budget() {
        for text in [
            "",
            "5000",
            "5000/",
            "/day",
            "+5/day",
            "-5/day",
            "5.0/day",
            "5 /day",
            "5/Day",
            "5/days",
            "5/week",
            "5/0s",
            "5/01s",
            "5/2678401s",
            "5/s",
            "5/60",
            "5/60 s",
            "5/day/",
            "5/day/A",
            "5/day/a/b",
            "9007199254740992/day",
            "5/99999999999999999999s",
        ] {
            assert_eq!(Budget::parse(text), Err(CaveatError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_window_travels_as_its_text() {
        let day = serde_json::to_string(&BudgetWindow::Day).unwrap();
        assert_eq!(day, "\"day\"");
        assert_eq!(serde_json::from_str::<BudgetWindow>(&day).unwrap(), BudgetWindow::Day);
        assert!(serde_json::from_str::<BudgetWindow>("\"0s\"").is_err());
    }
}
