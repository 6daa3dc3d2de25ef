//! A request that may be free: asked of `tollwayd`, which counts for all gates.

use tollway_core::wire::{
    AllowanceClient, AllowanceReply, AllowanceRequest, CLIENT_TEXT_BYTES_MAX, PLAN_IN_SHADOW,
};

use super::offer::Offer;
use super::{Asking, Context, Exchange, State, Step};
use crate::config::FreeTier;
use crate::headers::{self, ResponseMarks};
use crate::host::{CallReply, LogField, Stream};
use crate::ledger;
use crate::metrics::Decision;

impl Exchange {
    /// A request without a credential: free, where its route has a free tier and the client's
    /// address is known; else to be paid for.
    pub(super) fn unpaid(&mut self, stream: &impl Stream, mut context: Context) -> Step {
        let Some(request) = allowance(stream, &context, self.shadow) else {
            return self.challenge(stream, context, Offer::first_payment());
        };
        context.call_started_ms = stream.now_ms();
        match ledger::ask_allowance(stream, &self.gate.config().tollwayd, &request) {
            Ok(call) => {
                self.state = State::Asking(Asking { call, context });
                Step::Wait
            }
            Err(fault) => self.fail(stream, context, Some(fault)),
        }
    }

    pub(super) fn allowance_answered(
        &mut self,
        stream: &impl Stream,
        asking: Asking,
        reply: &CallReply,
    ) -> Step {
        let Asking { context, .. } = asking;
        match ledger::decode::<AllowanceReply>(reply) {
            Ok(AllowanceReply::Granted { remaining, resets_at }) => {
                self.gate.reached(stream);
                self.strip(stream, &context.headers, context.authorization_rest.as_deref());
                headers::mark_free_request(stream);
                stream.note(LogField::Reason, "free_tier");
                let marks = ResponseMarks::FreeTier { remaining, resets_at };
                self.pass(stream, Decision::Free, Some(marks), context.from_browser)
            }
            Ok(AllowanceReply::Exhausted { resets_at }) => {
                self.gate.reached(stream);
                self.challenge(stream, context, Offer::free_tier_exhausted(resets_at))
            }
            Err(fault) => self.fail(stream, context, Some(fault)),
        }
    }
}

/// What to ask; `None` where nothing is free. A HEAD request only asks for the price.
fn allowance(stream: &impl Stream, context: &Context, shadow: bool) -> Option<AllowanceRequest> {
    let FreeTier { plan, window, ipv4_prefix, ipv6_prefix, .. } =
        context.route.free_tier.as_ref()?;
    if context.headers.find(":method") == Some(b"HEAD") {
        return None;
    }
    let address = stream.client_address().filter(|text| text.len() <= CLIENT_TEXT_BYTES_MAX)?;
    Some(AllowanceRequest {
        // What is only counted uses nothing up.
        plan: if shadow { format!("{PLAN_IN_SHADOW}{plan}") } else { plan.clone() },
        route: context.route.name.clone(),
        client: AllowanceClient { address, ipv4_prefix: *ipv4_prefix, ipv6_prefix: *ipv6_prefix },
        quota: context.route.free_tier.as_ref()?.quota(context.cost),
        window: *window,
    })
}
