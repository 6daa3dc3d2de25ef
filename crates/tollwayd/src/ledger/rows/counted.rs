//! What the totals count.

use super::field::words;

words! {
    /// What is counted beside the entries.
    pub(in crate::ledger) enum Counted {
        /// Something was credited to a new account.
        Account = "account",
        /// An invoice was made.
        Challenge = "challenge",
        /// A charge that waits for credit.
        Debt = "debt",
        /// A request of a free tier.
        Free = "free",
        /// An account was charged for the first time.
        Payer = "payer",
        /// A request that was charged.
        Request = "request",
        /// A request of a hold's route released it without any charge.
        Void = "void",
    }
}
