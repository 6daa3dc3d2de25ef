//! When a request is not charged.

use super::reader::{ConfigError, Node};

/// The most conditions of one route; there are not many more statuses than this.
const CONDITIONS_MAX: usize = 64;

/// The outcomes of a request for which its customer is not charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundOn {
    statuses: Vec<Statuses>,
    reset: bool,
    timeout: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statuses {
    /// The hundred that begins with this digit.
    Class(u16),
    One(u16),
}

/// What no upstream served is not charged.
impl Default for RefundOn {
    fn default() -> Self {
        Self { statuses: vec![Statuses::Class(5)], reset: true, timeout: true }
    }
}

impl RefundOn {
    /// Whether a response with this status is not charged.
    #[must_use]
    pub fn covers_status(&self, status: u16) -> bool {
        self.statuses.iter().any(|statuses| match *statuses {
            Statuses::Class(class) => status / 100 == class,
            Statuses::One(one) => status == one,
        })
    }

    /// Whether a request whose stream was reset is not charged.
    #[must_use]
    pub const fn on_reset(&self) -> bool {
        self.reset
    }

    /// Whether a request that the upstream did not answer in time is not charged.
    #[must_use]
    pub const fn on_timeout(&self) -> bool {
        self.timeout
    }

    pub(super) fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        const EXPECTED: &str =
            "\"5xx\", \"4xx\", a status such as \"404\", \"reset\" or \"timeout\"";
        let mut refund = Self { statuses: Vec::new(), reset: false, timeout: false };
        for item in node.items(CONDITIONS_MAX)? {
            match item.text(EXPECTED)? {
                "reset" => refund.reset = true,
                "timeout" => refund.timeout = true,
                "4xx" => refund.statuses.push(Statuses::Class(4)),
                "5xx" => refund.statuses.push(Statuses::Class(5)),
                text => {
                    let fault = || item.fault(EXPECTED, "statuses go from 200 to 599");
                    let status = text.parse().ok().filter(|_| text.len() == 3).ok_or_else(fault)?;
                    if !(200..=599).contains(&status) {
                        return Err(fault());
                    }
                    refund.statuses.push(Statuses::One(status));
                }
            }
        }
        Ok(refund)
    }
}
