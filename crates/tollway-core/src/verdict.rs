//! What a credential is judged by, and why it may be refused.

use core::fmt;

use crate::money::Msat;
use crate::wire::Proof;

/// The facts of one request that caveats are checked against.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// The service that the request's route belongs to.
    pub service: &'a str,
    /// The tier at which its route is sold; see [`crate::caveat::TIER_CREDITS`].
    pub tier: u8,
    /// The path as the proxy normalised it; a query is ignored.
    pub path: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// The client's address as trusted text; a token bound to an address refuses without it.
    pub client_ip: Option<&'a str>,
    /// Unix time in milliseconds.
    pub now_ms: u64,
    /// What the request costs.
    pub cost: Msat,
    /// What the route asks for.
    pub proof: Proof,
}

/// Why a well-formed credential does not admit a request, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// The identifier is not ours: not 66 bytes, or another version.
    IdentifierUnknown,
    /// The token names a master key that the ring does not hold.
    KeyUnknown,
    /// The signature does not fit: another key, or a token that was changed.
    SignatureInvalid,
    /// The macaroons of one credential belong to different payments.
    PaymentsDiffer,
    /// The preimage does not belong to the payment, or to the token's own `preimage` caveat.
    PreimageMismatch,
    /// A caveat that this gate does not know.
    CaveatUnknown,
    /// A known caveat with a value that cannot be read.
    CaveatMalformed,
    /// A later caveat allows what an earlier one did not.
    CaveatWidens,
    /// No preimage came along, and the route asks for one.
    PreimageMissing,
    /// The service does not accept tokens of this format.
    FormatNotAccepted,
    /// No `services` caveat, or one without this request's service.
    WrongService,
    /// The token was bought for another way of paying.
    WrongTier,
    /// Too late.
    Expired,
    /// The token is bound to another path.
    WrongEndpoint,
    /// The token is bound to another method.
    WrongMethod,
    /// The token is bound to another client address.
    WrongIp,
    /// The request costs more than the token allows.
    CostTooHigh,
}

impl Rejection {
    /// A stable name for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::IdentifierUnknown => "identifier_unknown",
            Self::KeyUnknown => "key_unknown",
            Self::SignatureInvalid => "signature_invalid",
            Self::PaymentsDiffer => "payments_differ",
            Self::PreimageMissing => "preimage_missing",
            Self::PreimageMismatch => "preimage_mismatch",
            Self::CaveatUnknown => "caveat_unknown",
            Self::CaveatMalformed => "caveat_malformed",
            Self::CaveatWidens => "caveat_widens",
            Self::FormatNotAccepted => "format_not_accepted",
            Self::WrongService => "wrong_service",
            Self::WrongTier => "wrong_tier",
            Self::Expired => "credential_expired",
            Self::WrongEndpoint => "wrong_endpoint",
            Self::WrongMethod => "wrong_method",
            Self::WrongIp => "wrong_ip",
            Self::CostTooHigh => "cost_too_high",
        }
    }
}

impl fmt::Display for Rejection {
    /// A sentence for the payer, with the remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IdentifierUnknown => {
                "The token was not issued by this gate. Pay this challenge for a new one."
            }
            Self::KeyUnknown => {
                "The key of this token is no longer in use. Pay this challenge for a new one."
            }
            Self::SignatureInvalid => {
                "The token's signature does not fit. Send the token exactly as it was issued."
            }
            Self::PaymentsDiffer => {
                "The tokens belong to different payments. Send the tokens of one payment."
            }
            Self::PreimageMissing => {
                "The preimage is missing. Send it after the token, as <token>:<preimage>."
            }
            Self::PreimageMismatch => {
                "The preimage does not belong to this token. Send the one its payment revealed."
            }
            Self::CaveatUnknown => {
                "The token has a caveat that this gate does not know. Send it without that caveat."
            }
            Self::CaveatMalformed => {
                "The token has a caveat that cannot be read. Send it without that caveat."
            }
            Self::CaveatWidens => {
                "A caveat added to the token allows more than an earlier one. Caveats only narrow."
            }
            Self::FormatNotAccepted => {
                "Tokens of this format are not accepted here any more. Pay this challenge for a new one."
            }
            Self::WrongService => {
                "The token is for another service. Pay this challenge for one that fits."
            }
            Self::WrongTier => {
                "The token was bought for another way of paying: by credit, or by time. Pay this \
                 challenge for one that fits."
            }
            Self::Expired => "The token has expired. Pay this challenge for a new one.",
            Self::WrongEndpoint => "The token is bound to another path. Send one that fits.",
            Self::WrongMethod => "The token is bound to another method. Send one that fits.",
            Self::WrongIp => "The token is bound to another client address. Send one that fits.",
            Self::CostTooHigh => {
                "The request costs more than the token allows. Send one with a higher limit."
            }
        })
    }
}

impl core::error::Error for Rejection {}
