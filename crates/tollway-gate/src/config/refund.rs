//! When a request is not charged.

use super::reader::{ConfigError, Node, Object};

/// The most conditions of one route; there are not many more statuses than this.
const CONDITIONS_MAX: usize = 64;

/// The outcomes of a request for which its customer is not charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundOn {
    statuses: Vec<Statuses>,
    /// Where only these are charged.
    only: Option<Vec<Statuses>>,
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
        Self { statuses: vec![Statuses::Class(5)], only: None, reset: true, timeout: true }
    }
}

impl RefundOn {
    /// Whether a response with this status is not charged.
    #[must_use]
    pub fn covers_status(&self, status: u16) -> bool {
        let among = |list: &[Statuses]| {
            list.iter().any(|statuses| match *statuses {
                Statuses::Class(class) => status / 100 == class,
                Statuses::One(one) => status == one,
            })
        };
        self.only.as_deref().map_or_else(|| among(&self.statuses), |only| !among(only))
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

    /// Reads `refund_on` and `charge_on`.
    pub(super) fn read(fields: &Object<'_>) -> Result<Self, ConfigError> {
        let mut refund = match fields.optional("refund_on") {
            Some(node) => Self::listed(&node)?,
            None => Self::default(),
        };
        let Some(node) = fields.optional("charge_on") else { return Ok(refund) };
        if fields.optional("refund_on").is_some() && !refund.statuses.is_empty() {
            return Err(node.problem(
                "expected none beside the statuses of refund_on, but found one; name the statuses \
                 in one of the two"
                    .to_owned(),
            ));
        }
        let items = node.items(CONDITIONS_MAX)?;
        refund.only = Some(items.iter().map(charged).collect::<Result<_, _>>()?);
        Ok(refund)
    }

    fn listed(node: &Node<'_>) -> Result<Self, ConfigError> {
        const EXPECTED: &str =
            "\"5xx\", \"4xx\", a status such as \"404\", \"reset\" or \"timeout\"";
        let mut refund = Self { statuses: Vec::new(), only: None, reset: false, timeout: false };
        for item in node.items(CONDITIONS_MAX)? {
            match item.text(EXPECTED)? {
                "reset" => refund.reset = true,
                "timeout" => refund.timeout = true,
                "4xx" => refund.statuses.push(Statuses::Class(4)),
                "5xx" => refund.statuses.push(Statuses::Class(5)),
                _ => refund.statuses.push(status(&item, EXPECTED)?),
            }
        }
        Ok(refund)
    }
}

fn charged(item: &Node<'_>) -> Result<Statuses, ConfigError> {
    const EXPECTED: &str = "\"2xx\" to \"5xx\" or a status such as \"404\"";
    Ok(match item.text(EXPECTED)? {
        "2xx" => Statuses::Class(2),
        "3xx" => Statuses::Class(3),
        "4xx" => Statuses::Class(4),
        "5xx" => Statuses::Class(5),
        _ => status(item, EXPECTED)?,
    })
}

fn status(item: &Node<'_>, expected: &str) -> Result<Statuses, ConfigError> {
    let text = item.text(expected)?;
    let status = text.parse().ok().filter(|_| text.len() == 3);
    status
        .filter(|status| (200..=599).contains(status))
        .map(Statuses::One)
        .ok_or_else(|| item.fault(expected, "statuses go from 200 to 599"))
}
