//! One request on its way: its exchange in the gate, and how it ends at the upstream.

use tollway_gate::exchange::Exchange;
use tollway_gate::host::ResponseTrouble;
use tollway_testkit::fake_host::FakeHost;

/// What a route costs, and whether failures are refunded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteFacts {
    pub(crate) path: &'static str,
    pub(crate) price_msat: u64,
    pub(crate) refunds: bool,
}

/// The routes of the simulation; `world::config` says the same to the gate.
pub(crate) const ROUTES: [RouteFacts; 3] = [
    RouteFacts { path: "/api/joke", price_msat: 5_000, refunds: true },
    RouteFacts { path: "/api/strict", price_msat: 3_000, refunds: false },
    RouteFacts { path: "/api/dear", price_msat: 17_000, refunds: true },
];

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

    /// What the customer owes for it: the auditor's own table.
    pub(crate) const fn owed_msat(self, route: RouteFacts) -> u64 {
        match self {
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
    pub(crate) route: RouteFacts,
    pub(crate) host: FakeHost,
    pub(crate) exchange: Exchange,
    pub(crate) stage: Stage,
    /// The status of the gate's own answer.
    pub(crate) answered: Option<u16>,
}

impl Flight {
    /// The response's headers pass, if there is a response.
    pub(crate) fn respond(&mut self, ending: Ending) {
        let Some((status, local)) = ending.response() else { return };
        self.host.begin_response(&[(":status", status)], local);
        if ending != Ending::ResetAfterHeaders {
            self.host.set_trouble(ending.trouble());
        }
        self.exchange.response_headers(&self.host);
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
