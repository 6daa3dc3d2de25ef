//! A request that lasts: its hold lasts as long, or the gate ends its stream.

use std::rc::Rc;

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::sse::Boundary;

use super::metering::Metering;
use crate::config::Route;
use crate::host::{LogField, Stream};
use crate::keep::{Ending, Keeper, Kept, Terms};
use crate::reply;

/// What a request with a hold of its own needs to last, or to end.
#[derive(Debug)]
pub(super) struct Lasting {
    kept: Rc<Kept>,
    boundary: Boundary,
}

/// A hold that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) hold: HoldId,
    pub(super) cost: Msat,
    pub(super) ceiling: Msat,
    pub(super) at_ms: u64,
}

impl Lasting {
    /// Begins when a request is admitted.
    pub(super) fn begin(
        stream: &impl Stream,
        keeper: &Keeper,
        route: &Rc<Route>,
        metering: Option<&Metering>,
        Asked { hold, cost, ceiling, at_ms }: Asked,
    ) -> Self {
        let (most, clock) = Metering::bounds(metering, route, cost);
        let kept = keeper.keep(Terms {
            stream: stream.id(),
            hold,
            route: Rc::clone(route),
            amount: cost,
            most,
            ceiling,
            clock,
            asked_at_ms: at_ms,
        });
        Self { kept, boundary: Boundary::default() }
    }

    /// The response's headers are here.
    pub(super) fn response_headers(&self, stream: &impl Stream, metering: Option<&Metering>) {
        if let Some(metering) = metering {
            metering.tell(&self.kept);
        }
        if !self.kept.may_end() {
            return;
        }
        let header = |name| stream.response_header(name).unwrap_or_default();
        let coding = header("content-encoding");
        let is_plain = coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
        if is_plain && header("content-type").starts_with(b"text/event-stream") {
            self.kept.is_events.set(true);
            // An event more makes it longer.
            stream.set_response_header("content-length", None);
        }
    }

    /// Whether the client was told that the stream has ended.
    pub(super) fn is_told(&self) -> bool {
        self.kept.ended().is_some()
    }

    /// A part of the response's body passes that is not the last; `bytes` of it go on.
    pub(super) fn part_passed(
        &mut self,
        stream: &impl Stream,
        metering: Option<&Metering>,
        bytes: usize,
    ) {
        if let Some(metering) = metering {
            metering.tell(&self.kept);
        }
        if !self.kept.may_end() || !self.kept.is_events.get() {
            return;
        }
        let Ending::Due(reason, _) = self.kept.ending(stream.now_ms()) else { return };
        let mut part = stream.response_body(bytes);
        if let Some(at) = self.boundary.find(&part) {
            part.truncate(at);
            part.extend_from_slice(reply::last_event(reason).as_bytes());
            stream.replace_response_body(bytes, &part);
            self.kept.told(reason);
        }
    }

    /// The most that is charged where the gate has ended the stream.
    pub(super) fn ended(&self, stream: &impl Stream) -> Option<Msat> {
        let reason = self.kept.ended()?;
        stream.note(LogField::Reason, reason.code());
        Some(self.kept.capacity())
    }
}
