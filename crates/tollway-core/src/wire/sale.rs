//! Why something is not sold, although it has a price.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Why something is not sold, although it has a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaleRefusal {
    /// No coupon has this code.
    CouponUnknown,
    /// The coupon is for something else.
    CouponNotForThis,
    /// The coupon's time is over.
    CouponExpired,
    /// The coupon was used as often as it may be, by this account or by all.
    CouponUsedUp,
    /// As much was sold as there is.
    SoldOut,
}

impl SaleRefusal {
    /// A stable name for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::CouponUnknown => "coupon_unknown",
            Self::CouponNotForThis => "coupon_not_for_this",
            Self::CouponExpired => "coupon_expired",
            Self::CouponUsedUp => "coupon_used_up",
            Self::SoldOut => "sold_out",
        }
    }
}

impl fmt::Display for SaleRefusal {
    /// A sentence for the client, with the remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CouponUnknown => "no such coupon; correct x-toll-coupon or leave it out",
            Self::CouponNotForThis => "this coupon is for something else; leave it out",
            Self::CouponExpired => "this coupon's time is over; leave it out",
            Self::CouponUsedUp => "this coupon was used as often as it may be; leave it out",
            Self::SoldOut => "as much was sold as there is; nothing was charged",
        })
    }
}
