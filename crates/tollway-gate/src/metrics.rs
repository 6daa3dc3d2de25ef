//! What is counted, and what each count means.

/// What became of a request. Every request that the gate sees counts exactly once here, save
/// that [`Decision::Invalid`] is counted beside the challenge that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Paid and admitted.
    Ok,
    /// Answered 402, with an invoice or with the price alone.
    Challenged,
    /// Refused: no price is configured, the path is not in normal form, or the request asks for
    /// what is not sold or contradicts an earlier one.
    Denied,
    /// Passed without payment: a free route, a preflight, or a free tier.
    Free,
    /// Answered 503: the gate could not decide.
    Error,
    /// Passed without payment because `failure_mode_allow` says so.
    FailureModeAllowed,
    /// Answered with the response to an earlier request, which was paid.
    Replayed,
    /// Presented a credential that is malformed or not accepted.
    Invalid,
    /// Answered 429: the client asked for too many invoices.
    Limited,
    /// The client went away before the gate had decided.
    Abandoned,
    /// Passed in shadow mode, which counts beside it what would have become of the request.
    Shadowed,
}

impl Decision {
    /// Every decision, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Ok,
        Self::Challenged,
        Self::Denied,
        Self::Free,
        Self::Error,
        Self::FailureModeAllowed,
        Self::Replayed,
        Self::Invalid,
        Self::Limited,
        Self::Abandoned,
        Self::Shadowed,
    ];

    /// The label value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Challenged => "challenged",
            Self::Denied => "denied",
            Self::Free => "free",
            Self::Error => "error",
            Self::FailureModeAllowed => "failure_mode_allowed",
            Self::Replayed => "replayed",
            Self::Invalid => "invalid",
            Self::Limited => "limited",
            Self::Abandoned => "abandoned",
            Self::Shadowed => "shadowed",
        }
    }
}

/// The calls whose duration is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// Asking for an invoice.
    Challenge,
    /// Setting credit aside.
    Hold,
    /// Asking for a free request.
    Allowance,
}

impl CallKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Challenge, Self::Hold, Self::Allowance];

    /// The label value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Challenge => "challenge",
            Self::Hold => "hold",
            Self::Allowance => "allowance",
        }
    }
}

/// What happens to leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseEvent {
    /// A hold was granted for a lease.
    Opened,
    /// A lease got more credit or more time.
    Refilled,
    /// An idle lease was given back.
    Returned,
    /// A request that a lease could have paid placed a hold of its own.
    Bypassed,
    /// A lease gave credit to a hold of the same account.
    TakenBack,
}

impl LeaseEvent {
    /// Every event, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Opened, Self::Refilled, Self::Returned, Self::Bypassed, Self::TakenBack];

    /// The label value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Refilled => "refilled",
            Self::Returned => "returned",
            Self::Bypassed => "bypassed",
            Self::TakenBack => "taken_back",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_in_its_list_at_the_place_of_its_number() {
        for (at, decision) in Decision::ALL.into_iter().enumerate() {
            assert_eq!(decision as usize, at);
        }
        for (at, kind) in CallKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }
}
