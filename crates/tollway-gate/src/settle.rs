//! What a finished request costs.

use tollway_core::money::Msat;

use crate::config::Route;
use crate::host::{ResponseTrouble, Stream};

/// What is known of a response when its headers pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    status: u16,
    /// The proxy wrote it, not the upstream.
    local: bool,
}

impl Answer {
    /// Reads the response whose headers pass now.
    pub(crate) fn read(stream: &impl Stream) -> Self {
        let status = stream
            .response_header(":status")
            .and_then(|value| core::str::from_utf8(&value).ok()?.parse().ok())
            .unwrap_or(0);
        // Below 400 the question is not asked: it costs a host call on every paid request, and
        // an answer that is no error is worth its price whoever wrote it.
        Self { status, local: status >= 400 && stream.response_is_local() }
    }

    /// The status.
    pub(crate) const fn status(self) -> u16 {
        self.status
    }

    /// Whether the status is a success.
    pub(crate) const fn is_success(self) -> bool {
        self.status / 100 == 2
    }

    /// Whether the status is an error of the client or of the server.
    pub(crate) const fn is_error(self) -> bool {
        self.status >= 400
    }
}

/// The charge for a request of this cost: the cost, or nothing.
///
/// Nothing, whatever the route says, when there was no answer, or the upstream was never
/// reached. Nothing, when the route's `refund_on` names what happened.
pub(crate) fn charge<T: From<Msat>>(
    route: &Route,
    answer: Option<Answer>,
    trouble: ResponseTrouble,
    cost: impl FnOnce() -> T,
) -> T {
    let refund = &route.refund_on;
    let Some(answer) = answer else { return Msat::ZERO.into() };
    let void = trouble.unreached
        || (trouble.reset && refund.on_reset())
        || (trouble.timeout && refund.on_timeout())
        || refund.covers_status(answer.status)
        // Another filter refused the request, so the upstream did no work for it.
        || (answer.local && !trouble.reset && !trouble.timeout);
    if void { Msat::ZERO.into() } else { cost() }
}
