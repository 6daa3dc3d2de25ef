//! What operators order of the ledger.

use tollway_core::id::KeyId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;

/// What an operator does. It leaves a line in the audit log, in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdminOrder {
    /// Chosen by the operator's client: a repeat with the same fields changes nothing.
    pub(crate) id: [u8; 16],
    /// Who.
    pub(crate) actor: String,
    /// Why.
    pub(crate) reason: String,
    pub(crate) act: AdminAct,
}

/// The operations of an operator. An account is named by any payment hash that pays into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdminAct {
    /// Gives charges back, at most what was charged and not given back before.
    Refund(PaymentHash, Msat),
    /// Gives credit away.
    Grant(PaymentHash, Msat),
    /// Credits an invoice that was paid, with what was paid, if that is known.
    Settle(PaymentHash, Option<Msat>),
    /// Stops all spending of an account.
    Revoke(PaymentHash),
    /// Lets it spend again.
    Unrevoke(PaymentHash),
    /// Ends the token of this payment; its account and the other tokens of it go on.
    RevokeToken(PaymentHash),
    /// Lets that token spend again.
    UnrevokeToken(PaymentHash),
    /// Says what kind of customer it is, or that it is none.
    Tier(PaymentHash, Tier),
    /// Lets a key verify no more; every credential under it ends.
    RetireKey(KeyId),
}

/// What became of an [`AdminOrder`], in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdminOutcome {
    /// It is done, now or when the same order first came.
    Done,
    /// An order with this id and other fields was done before.
    Conflict,
    /// Nothing was ever credited to such an account, or there is no such invoice or key.
    Unknown,
    /// The invoice was credited before.
    AlreadyCredited,
    /// The account paid for a session: nothing could spend what it is given.
    HasNoCredit,
    /// More than was charged and not given back.
    ExceedsCharges,
    /// The balance would rise above [`Msat::MAX`].
    BalanceLimit,
    /// The current key cannot be retired; rotate first.
    KeyInUse,
}
