//! A request that goes on to the upstream: what it takes along, and what is kept of it.

use tollway_core::compat::Format;
use tollway_core::credential::VerifiedCredential;
use tollway_core::header_block::HeaderBlock;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;

use super::ending::{Asked, Lasting};
use super::leased::Payment;
use super::metering::Metering;
use super::response::Recording;
use super::settling::Unsettled;
use super::{Admitted, Context, Exchange, Passed, State, Step};
use crate::config::Idempotency;
use crate::headers::{self, ResponseMarks};
use crate::host::{LogField, Stream};
use crate::metrics::Decision;

/// A request that is paid for.
pub(super) struct Admission {
    pub(super) context: Context,
    pub(super) payment: Payment,
    /// What the credential proved.
    pub(super) token: PaymentHash,
    pub(super) account: PaymentHash,
    /// What the account has left.
    pub(super) balance: Msat,
    pub(super) keyed: bool,
    /// What a success tells of a payment on another rail.
    pub(super) receipt: Vec<(String, String)>,
    /// What has to be done before an answer leaves.
    pub(super) settle: Option<Box<Unsettled>>,
}

impl Context {
    /// The tier that the upstream is told and prices follow, for an account of this tier: what the
    /// client wishes where it may, or else the account's own, or else what its token was minted
    /// with.
    pub(super) fn tier(&self, account: Tier) -> Tier {
        match self.wish {
            Some(wish) => wish,
            None if account.is_none() => self.minted_tier(),
            None => account,
        }
    }

    /// The tier that the token was minted with.
    pub(super) fn minted_tier(&self) -> Tier {
        let minted = self.minted.iter().find(|caveat| caveat.name() == "tier");
        minted.and_then(|caveat| Tier::parse(caveat.value())).unwrap_or_default()
    }
}

impl Exchange {
    pub(super) fn admit(&mut self, stream: &impl Stream, admission: Admission) -> Step {
        let Admission { context, payment, token, account, balance, keyed, receipt, settle } =
            admission;
        let tier = context.tier(self.gate.tier_of(&token));
        let digits = account.hex_digits();
        let Context { route, cost, ceiling, quote, headers: list, call_started_ms, .. } = context;
        self.strip(stream, &list, context.authorization_rest.as_deref());
        if self.shadow {
            headers::mark_free_request(stream);
        } else {
            headers::mark_paid_request(stream, &digits, cost, balance);
            if route.service.form.profile == Format::TollBooth {
                headers::mark_toll_booth_request(stream, balance);
            }
            if !tier.is_none() {
                headers::mark_tier(stream, tier.name().as_bytes());
            }
            headers::mark_minted(stream, &context.minted);
        }
        stream.note(LogField::Account, digits.as_str());
        self.decided(stream, Decision::Ok);
        // A gRPC response ends with trailers, which a stored one has not.
        let replayable = keyed && !context.grpc && route.idempotency == Idempotency::Replay;
        let recording = replayable.then(Recording::default);
        let metering = Metering::begin(stream, &route, &quote);
        let lasting = match payment {
            Payment::Hold(hold) if !self.shadow && settle.is_none() => {
                let asked = Asked { hold, cost, ceiling, at_ms: call_started_ms };
                Some(Lasting::begin(stream, &self.gate.keeper, &route, metering.as_ref(), asked))
            }
            _ => None,
        };
        self.state = State::Admitted(Admitted {
            payment,
            route,
            cost,
            ceiling,
            balance,
            from_browser: context.from_browser,
            answer: None,
            metering,
            lasting,
            complete: false,
            recording,
            receipt,
            settle,
        });
        Step::Continue
    }

    /// A session needs no call: the signature, the proof and the time say all, and the keyring
    /// names what was revoked.
    pub(super) fn admit_session(
        &mut self,
        stream: &impl Stream,
        context: Context,
        credential: &VerifiedCredential,
    ) -> Step {
        let account = credential.payment_hash().hex_digits();
        self.strip(stream, &context.headers, context.authorization_rest.as_deref());
        headers::mark_session_request(stream, &account);
        headers::mark_minted(stream, &context.minted);
        stream.note(LogField::Account, account.as_str());
        stream.note(LogField::CostMsat, "0");
        self.pass(stream, Decision::Ok, Some(ResponseMarks::Session), context.from_browser)
    }

    /// Lets a request go on that costs nothing.
    pub(super) fn pass_free(&mut self, stream: &impl Stream, list: &HeaderBlock) -> Step {
        let rest = headers::authorization_rest(list, self.gate.config().other_rails);
        self.strip(stream, list, rest.as_deref());
        headers::mark_free_request(stream);
        self.pass(stream, Decision::Free, None, false)
    }

    /// Takes off what must not reach the upstream.
    pub(super) fn strip(&self, stream: &impl Stream, list: &HeaderBlock, rest: Option<&[u8]>) {
        headers::strip_request(stream, list, rest, self.gate.config().other_rails);
    }

    pub(super) fn pass(
        &mut self,
        stream: &impl Stream,
        decision: Decision,
        marks: Option<ResponseMarks>,
        from_browser: bool,
    ) -> Step {
        self.decided(stream, decision);
        let marks = marks.filter(|_| !self.shadow);
        self.state = State::Passed(Passed { marks, from_browser });
        Step::Continue
    }
}
