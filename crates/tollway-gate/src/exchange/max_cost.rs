//! The most that a client lets its request cost: a dearer one is answered, not charged, and one
//! that turns out dearer is charged no more than this.

use core::fmt;

use tollway_core::money::Msat;

use super::{Context, Exchange, Step};
use crate::headers;
use crate::host::{LogField, Stream};
use crate::metrics::Decision;
use crate::reply;

/// The header that says it. As all of its prefix it never reaches the upstream.
const HEADER: &str = "x-toll-max-cost-msat";

/// A limit that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected one {HEADER} with an integer from 0 to {}, but found something else; write \
             the limit in digits or leave the header out",
            Msat::MAX.get()
        )
    }
}

impl Exchange {
    /// Answers a request that costs more than its client wants; `None` for one that may go on,
    /// up to this cost.
    pub(super) fn too_dear(&mut self, stream: &impl Stream, context: &mut Context) -> Option<Step> {
        let Context { cost, grpc, .. } = *context;
        let answer = match limit(context) {
            Ok(Some(limit)) if cost > limit => {
                stream.note(LogField::Reason, "max_cost_exceeded");
                let answer = reply::too_dear(cost, limit, grpc);
                return Some(self.answer(stream, Decision::Challenged, answer));
            }
            Ok(limit) => {
                context.ceiling = context.ceiling.min(limit.unwrap_or(Msat::MAX));
                return None;
            }
            Err(fault) => reply::bad_request("max_cost_malformed", fault, grpc),
        };
        Some(self.answer(stream, Decision::Denied, answer))
    }
}

fn limit(context: &Context) -> Result<Option<Msat>, Malformed> {
    let Some(value) = headers::single(&context.headers, HEADER).map_err(|_| Malformed)? else {
        return Ok(None);
    };
    core::str::from_utf8(value)
        .ok()
        // Digits only: Rust's own reading would let a plus sign pass.
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| Msat::new(text.parse().ok()?))
        .map(Some)
        .ok_or(Malformed)
}
