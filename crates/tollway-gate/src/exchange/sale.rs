//! What has a price and is not sold all the same: a coupon that does not fit, a stock that is out.

use tollway_core::header_block::HeaderBlock;
use tollway_core::wire::{COUPON_BYTES_MAX, SaleRefusal};

use super::{Exchange, Step};
use crate::headers;
use crate::host::{LogField, Stream};
use crate::metrics::Decision;
use crate::reply;

impl Exchange {
    pub(super) fn not_for_sale(
        &mut self,
        stream: &impl Stream,
        refusal: SaleRefusal,
        resets_at: Option<u64>,
        grpc: bool,
    ) -> Step {
        self.gate.reached(stream);
        stream.note(LogField::Reason, refusal.code());
        let wait_s = resets_at.map(|at| at.saturating_sub(stream.now_ms() / 1_000));
        self.answer(stream, Decision::Denied, reply::not_for_sale(refusal, wait_s, grpc))
    }

    /// The token has spent what it may.
    pub(super) fn over_budget(
        &mut self,
        stream: &impl Stream,
        resets_at: Option<u64>,
        grpc: bool,
    ) -> Step {
        self.gate.reached(stream);
        let wait_s = resets_at.map(|at| at.saturating_sub(stream.now_ms() / 1_000));
        stream.note(LogField::Reason, "budget_exhausted");
        self.answer(stream, Decision::Denied, reply::budget_exhausted(wait_s, grpc))
    }
}

/// The coupon that the client shows. Two of them, or what is too long for one, are none that
/// anybody knows.
pub(super) fn coupon(headers: &HeaderBlock) -> Option<String> {
    let code = headers::single(headers, "x-toll-coupon").unwrap_or(Some(b""))?;
    let code = core::str::from_utf8(code).unwrap_or_default();
    Some(if code.len() <= COUPON_BYTES_MAX { code.to_owned() } else { String::new() })
}
