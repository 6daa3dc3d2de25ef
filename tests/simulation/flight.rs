//! One request on its way: its exchange in the gate, and how it ends at the upstream.

use tollway_gate::exchange::Exchange;
use tollway_gate::host::ResponseTrouble;
use tollway_testkit::fake_host::FakeHost;

use crate::auditor::Why;
use crate::shop::RouteFacts;

/// What became of a request that went to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Served,
    NotFound,
    Failed,
    Unreached,
    ResetBeforeHeaders,
    ResetAfterHeaders,
    TimedOut,
    ClientLeft,
}

impl Ending {
    pub(crate) const ALL: [Self; 12] = [
        Self::Served,
        Self::Served,
        Self::Served,
        Self::Served,
        Self::Served,
        Self::NotFound,
        Self::Failed,
        Self::Unreached,
        Self::ResetBeforeHeaders,
        Self::ResetAfterHeaders,
        Self::TimedOut,
        Self::ClientLeft,
    ];

    /// What the customer owes for it: the auditor's own table. Only a hold is ever charged.
    pub(crate) fn owed_msat(self, route: RouteFacts, why: Option<Why>) -> u64 {
        match self {
            _ if why != Some(Why::Hold) => 0,
            Self::Served | Self::NotFound => route.price_msat,
            Self::Failed | Self::ResetBeforeHeaders | Self::ResetAfterHeaders | Self::TimedOut => {
                if route.refunds {
                    0
                } else {
                    route.price_msat
                }
            }
            Self::Unreached | Self::ClientLeft => 0,
        }
    }

    /// The response headers that pass, if any do, and whether the proxy wrote them.
    const fn response(self) -> Option<(&'static [u8], bool)> {
        match self {
            Self::Served | Self::ResetAfterHeaders => Some((b"200", false)),
            Self::NotFound => Some((b"404", false)),
            Self::Failed => Some((b"500", false)),
            Self::Unreached | Self::ResetBeforeHeaders => Some((b"503", true)),
            Self::TimedOut => Some((b"504", true)),
            Self::ClientLeft => None,
        }
    }

    const fn trouble(self) -> ResponseTrouble {
        ResponseTrouble {
            unreached: matches!(self, Self::Unreached),
            reset: matches!(self, Self::ResetBeforeHeaders | Self::ResetAfterHeaders),
            timeout: matches!(self, Self::TimedOut),
        }
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// In the gate.
    Deciding,
    /// At the upstream.
    Upstream,
    Over,
}

/// One request.
pub(crate) struct Flight {
    pub(crate) client: usize,
    pub(crate) gate: usize,
    pub(crate) route: RouteFacts,
    /// Why it was let through.
    pub(crate) why: Option<Why>,
    pub(crate) host: FakeHost,
    pub(crate) exchange: Exchange,
    pub(crate) stage: Stage,
    /// The status of the gate's own answer.
    pub(crate) answered: Option<u16>,
}

impl Flight {
    /// The response passes, if there is one.
    pub(crate) fn respond(&mut self, ending: Ending, body: &str) {
        let Some((status, local)) = ending.response() else { return };
        self.host.begin_response(&[(":status", status)], local);
        if ending != Ending::ResetAfterHeaders {
            self.host.set_trouble(ending.trouble());
        }
        self.exchange.response_headers(&self.host);
        let parts = body.split_at(body.len() / 2);
        let ends = ending != Ending::ResetAfterHeaders;
        for (part, last) in [(parts.0, false), (parts.1, ends)] {
            self.host.set_response_body(part.as_bytes());
            self.exchange.response_body(&self.host, part.len(), last);
        }
    }

    /// The stream ends.
    pub(crate) fn finish(&mut self, ending: Ending) {
        self.host.set_trouble(ending.trouble());
        self.exchange.finished(&self.host);
        self.stage = Stage::Over;
    }

    /// The client goes away while the gate decides.
    pub(crate) fn abandon(&mut self) {
        self.exchange.finished(&self.host);
        self.stage = Stage::Over;
    }
}
