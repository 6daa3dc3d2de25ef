//! Why a request has no price.

use core::fmt;

use super::Field;

/// Why a request has no price, and the field that is at fault where one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceFault<'p> {
    /// What is wrong.
    pub problem: PriceProblem,
    /// Where.
    pub field: Option<&'p Field>,
}

/// What is wrong with a request that has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceProblem {
    /// The price table says `deny` to what it asks for.
    NotSold,
    /// A field that the price is reckoned from is not there.
    Missing,
    /// A field comes more than once, or under a name that could pass for it.
    Repeated,
    /// A field, or what it stands in, is not what it has to be.
    Malformed,
    /// The price would be no amount of money.
    OutOfRange,
    /// The body is nested too deeply.
    TooDeep,
    /// Several calls in one request.
    Batch,
    /// No fault of the request: there is no rate of exchange that still holds.
    NoRate,
}

impl PriceProblem {
    /// A stable name for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotSold => "not_sold",
            Self::Missing => "price_field_missing",
            Self::Repeated => "price_field_repeated",
            Self::Malformed => "price_field_malformed",
            Self::OutOfRange => "price_out_of_range",
            Self::TooDeep => "body_too_deep",
            Self::Batch => "batch_refused",
            Self::NoRate => "rate_unknown",
        }
    }

    pub(super) const fn of(self, field: &Field) -> PriceFault<'_> {
        PriceFault { problem: self, field: Some(field) }
    }
}

impl<'p> PriceFault<'p> {
    /// The same fault, at this field if at no other.
    pub(super) fn or_at(self, field: &'p Field) -> Self {
        Self { field: self.field.or(Some(field)), ..self }
    }
}

impl From<PriceProblem> for PriceFault<'_> {
    fn from(problem: PriceProblem) -> Self {
        Self { problem, field: None }
    }
}

impl fmt::Display for PriceFault<'_> {
    /// A sentence for the client, with the remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, remedy) = match self.problem {
            PriceProblem::NotSold => ("one that is not sold", "ask for another"),
            PriceProblem::Missing => ("none", "send it, since the price depends on it"),
            PriceProblem::Repeated => {
                ("several, or one under a name that could pass for it", "send it once, as named")
            }
            PriceProblem::Malformed => {
                ("something that cannot be read in one way only", "send it in its plain form")
            }
            PriceProblem::OutOfRange => ("one whose price is no amount", "ask for less"),
            PriceProblem::NoRate => ("one without a rate of exchange", "try again later"),
            PriceProblem::TooDeep => ("it nested too deeply", "send a flatter body"),
            PriceProblem::Batch => ("a batch", "send each call in a request of its own"),
        };
        match self.field {
            Some(field) => write!(f, "expected {field}, but found {found}; {remedy}"),
            None => write!(f, "expected a request with a price, but found {found}; {remedy}"),
        }
    }
}

impl core::error::Error for PriceFault<'_> {}
