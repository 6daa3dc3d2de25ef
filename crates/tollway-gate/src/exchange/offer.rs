//! What a challenge says to the client: the reason, and which account the payment feeds.

use core::fmt;

use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::pricing::memo;
use tollway_core::wire::HoldRefusal;

use super::Context;
use crate::config::Mode;

impl Context {
    /// What is sold, in the words of the route.
    pub(super) fn description(&self) -> String {
        let text = |name| self.headers.find(name).unwrap_or_default();
        let mut target = text(":path").splitn(2, |byte| *byte == b'?');
        let (path, query) = (target.next().unwrap_or_default(), target.next().unwrap_or_default());
        memo(&self.route.description, text(":method"), path, query)
    }
}

/// Why a challenge is made, and for which account.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) code: &'static str,
    pub(super) detail: Box<str>,
    pub(super) feeds: Feeds,
    pub(super) balance: Option<Msat>,
    /// A credential was shown and is not accepted.
    pub(super) rejected: bool,
    /// The same in lightning-toll's words, if it answers with an error.
    pub(super) error: Option<Box<str>>,
    /// The same as a problem of another rail, if its credential was shown.
    pub(super) problem: Option<Box<str>>,
}

/// Which account the payment feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feeds {
    /// A new one.
    New,
    /// The one that this payment feeds.
    Known(PaymentHash),
    /// The one that this payment will feed, which has not arrived.
    Pending(PaymentHash),
}

impl Offer {
    /// For a client that presents nothing.
    pub(super) fn first_payment() -> Self {
        let detail = "This request is paid for in advance. Pay the invoice, then repeat the \
                      request with Authorization: L402 <macaroon>:<preimage>.";
        Self::unpaid("payment_required", detail.into())
    }

    /// For a client that has had what is free.
    pub(super) fn free_tier_exhausted(resets_at: u64) -> Self {
        let detail = format!(
            "What is free is used up until {resets_at} (Unix time in seconds). Pay the invoice, \
             then repeat the request with Authorization: L402 <macaroon>:<preimage>."
        );
        Self::unpaid("free_tier_exhausted", detail)
    }

    fn unpaid(code: &'static str, detail: String) -> Self {
        let detail = detail.into();
        let (feeds, balance, error, problem) = (Feeds::New, None, None, None);
        Self { code, detail, feeds, balance, rejected: false, error, problem }
    }

    /// For a client that wants more credit for its account, whatever it has left.
    pub(super) fn top_up(paid: PaymentHash) -> Self {
        let detail =
            "Pay the invoice to top up the same account; the old credential keeps working.";
        Self { feeds: Feeds::Known(paid), ..Self::unpaid("top_up", detail.into()) }
    }

    /// For a token whose account takes none: it was revoked, or paid for a session.
    pub(super) fn no_top_up() -> Self {
        Self::rejected(
            "no_top_up",
            "This token's account cannot be topped up. Pay this challenge for a new one.",
        )
    }

    /// For a credential that is not accepted; the payment opens a new account.
    pub(super) fn rejected(code: &'static str, why: impl fmt::Display) -> Self {
        Self { rejected: true, ..Self::unpaid(code, why.to_string()) }
    }

    /// For a credential of another rail, which is always answered by a challenge.
    pub(super) fn of_rail(problem: &str, why: impl fmt::Display) -> Self {
        let rejected = Self::rejected("payment_rejected", why);
        Self { problem: Some(problem.into()), rejected: false, ..rejected }
    }

    /// For a token that the operator revoked, or whose account.
    pub(super) fn account_revoked() -> Self {
        Self::rejected(
            "account_revoked",
            "The operator revoked this token. Pay this challenge for a new one.",
        )
    }

    /// For a hold that the ledger refused; `None` for a refusal that no payment heals.
    pub(super) fn refused(
        refusal: HoldRefusal,
        context: &Context,
        paid: PaymentHash,
        balance: Msat,
    ) -> Option<Self> {
        Some(match refusal {
            HoldRefusal::UnknownPayment => Self::rejected(
                "payment_unknown",
                "The ledger does not know this token's payment. Pay this challenge for a new one.",
            ),
            HoldRefusal::PaymentNotProven => Self::rejected(
                "payment_not_proven",
                "The ledger does not accept the preimage. Send the one the payment revealed.",
            ),
            HoldRefusal::PaymentPending => Self {
                feeds: Feeds::Pending(paid),
                ..Self::unpaid(
                    "payment_pending",
                    "The payment has not arrived. Pay the invoice, or try again soon.".into(),
                )
            },
            HoldRefusal::OtherRail => Self::rejected(
                "payment_used",
                "This payment was spent in another way. Pay this challenge for a new token.",
            ),
            HoldRefusal::AccountRevoked => Self::account_revoked(),
            HoldRefusal::InsufficientCredit if context.route.mode == Mode::SingleUse => {
                Self::rejected(
                    "credential_used",
                    "This token was good for one request. Pay this challenge for a new one.",
                )
            }
            HoldRefusal::InsufficientCredit => Self {
                feeds: Feeds::Known(paid),
                balance: Some(balance),
                ..Self::unpaid(
                    "insufficient_credit",
                    format!(
                        "This request costs {}, the account has {balance} left. Pay the invoice \
                         to top up the same account; the old credential keeps working.",
                        context.cost
                    ),
                )
            },
            HoldRefusal::IdempotencyMismatch
            | HoldRefusal::IdempotencyInFlight
            | HoldRefusal::TierDiffers
            | HoldRefusal::BudgetExhausted
            | HoldRefusal::SoldOut => return None,
        })
    }
}
