//! A request that may be paid from a lease, and the credit of leases that other requests need.

use std::rc::Rc;

use tollway_core::credential::VerifiedCredential;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{HoldRefusal, TakeBack};

use super::admit::Admission;
use super::offer::Offer;
use super::{Asks, Context, Exchange, Holding, Parked, State, Step};
use crate::config::{Idempotency, Spend as Paying};
use crate::gate::Gate;
use crate::host::Stream;
use crate::lease::{self, Ask, Grant, Opened, Paid, Relief, Spend, Taken, Tally};
use crate::ledger::CallFault;
use crate::metrics::LeaseEvent;

/// A request that waited for leases so often places a hold of its own.
const LEASE_ROUNDS_MAX: u8 = 2;
/// A request that waited so often for holds to come back is told to pay: two ticks, in which those
/// that another request has made superfluous are released.
const RETURN_ROUNDS_MAX: u8 = LEASE_ROUNDS_MAX + 2;
/// A request that waited so often for a lease to give credit back is told to pay.
const RELIEF_ROUNDS_MAX: u8 = 20;

/// What a hold is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plan {
    /// This request alone.
    Exact,
    /// A lease of this size.
    Lease { amount: Msat },
    /// This request alone, with credit that a lease gives back.
    Relieved(Taken),
}

impl Plan {
    /// How much to ask for, the least that is of use, and what gives for it.
    pub(super) fn terms(self, cost: Msat) -> (Msat, Option<Msat>, Option<TakeBack>) {
        match self {
            Self::Exact => (cost, None, None),
            Self::Lease { amount } => (amount, Some(cost), None),
            Self::Relieved(Taken { hold, amount, .. }) => {
                (cost, None, Some(TakeBack { hold, amount_msat: amount }))
            }
        }
    }

    /// Whether this grant is an answer to what was asked.
    pub(super) fn accepts(self, granted: Msat, cost: Msat) -> bool {
        match self {
            Self::Lease { amount } => (cost..=amount).contains(&granted),
            Self::Exact | Self::Relieved(_) => granted == cost,
        }
    }
}

/// What pays for an admitted request.
#[derive(Debug)]
pub(super) enum Payment {
    /// A hold of its own.
    Hold(HoldId),
    /// A share of a lease.
    Lease(Rc<Tally>),
}

/// What the ledger said to a hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    pub(super) account: PaymentHash,
    pub(super) granted: Msat,
    pub(super) balance: Msat,
}

impl Exchange {
    /// Pays from a lease where the route and the request allow it, else with a hold of its own.
    pub(super) fn pay(
        &mut self,
        stream: &impl Stream,
        context: Context,
        credential: Rc<VerifiedCredential>,
    ) -> Step {
        let leases = &self.gate.leases;
        // Of a revoked token the ledger says so itself.
        let ask = leased_ask(&self.gate, &context, &credential);
        let Some(ask) = ask.filter(|ask| !self.shadow && !self.gate.is_revoked(&ask.token)) else {
            return self.hold(stream, context, credential, Plan::Exact);
        };
        match leases.spend(stream, &ask) {
            Spend::Paid(paid) => self.admit(stream, Admission::leased(context, ask.token, paid)),
            Spend::Open(size) if context.rounds < LEASE_ROUNDS_MAX => {
                match leases.open(&ask, size) {
                    Some(amount) => self.hold(stream, context, credential, Plan::Lease { amount }),
                    None => self.park(context, credential),
                }
            }
            Spend::Open(_) | Spend::Busy => {
                stream.count_lease(LeaseEvent::Bypassed);
                self.hold(stream, context, credential, Plan::Exact)
            }
        }
    }

    fn park(&mut self, context: Context, credential: Rc<VerifiedCredential>) -> Step {
        self.state = State::Parked(Box::new(Parked { context, credential }));
        Step::Wait
    }

    /// The token whose lease the request waits for, if it waits for one.
    #[must_use]
    pub fn parked_for(&self) -> Option<PaymentHash> {
        match &self.state {
            State::Parked(parked) => Some(parked.credential.payment_hash()),
            _ => None,
        }
    }

    /// The lease that this request waits for may be there. `may_call` says whether the reply to
    /// a call that is sent now would find this request.
    pub fn woken(&mut self, stream: &impl Stream, may_call: bool) -> Step {
        let parked = match core::mem::replace(&mut self.state, State::Undecided) {
            State::Parked(parked) => parked,
            state => {
                self.state = state;
                return Step::Wait;
            }
        };
        let Parked { mut context, credential } = *parked;
        context.call_started_ms = stream.now_ms();
        if may_call {
            context.rounds = context.rounds.saturating_add(1);
            return self.pay(stream, context, credential);
        }
        let spend = leased_ask(&self.gate, &context, &credential);
        match spend.map(|ask| self.gate.leases.spend(stream, &ask)) {
            Some(Spend::Paid(paid)) => {
                let token = credential.payment_hash();
                self.admit(stream, Admission::leased(context, token, paid))
            }
            _ => self.park(context, credential),
        }
    }

    /// The ledger granted what the plan was.
    pub(super) fn granted(
        &mut self,
        stream: &impl Stream,
        holding: Holding,
        credential: &VerifiedCredential,
        granted: Granted,
    ) -> Step {
        let Holding { context, hold, keyed, plan, .. } = holding;
        let Granted { account, balance, .. } = granted;
        let alone = Payment::Hold(hold);
        let payment = match plan {
            Plan::Exact => alone,
            Plan::Relieved(taken) => {
                self.gate.leases.taken_back(stream, &taken);
                stream.count_lease(LeaseEvent::TakenBack);
                alone
            }
            Plan::Lease { .. } => {
                let ask = ask(&context, credential);
                let grant = Grant {
                    hold,
                    account,
                    granted: granted.granted,
                    balance,
                    asked_at_ms: context.call_started_ms,
                    ttl_ms: self.lease_ttl_ms(&context),
                };
                let now_ms = stream.now_ms();
                let (opened, over) =
                    self.gate.leases.install(stream, &Ask { now_ms, ..ask }, &grant);
                self.gate.leases.opened(&ask.token);
                if let Some(row) = over {
                    self.gate.post(row);
                }
                match opened {
                    Opened::New(paid) => {
                        stream.count_lease(LeaseEvent::Opened);
                        return self.admit(stream, Admission::leased(context, ask.token, paid));
                    }
                    Opened::Other(paid) => {
                        self.gate.post(lease::release(hold, 0));
                        return self.admit(stream, Admission::leased(context, ask.token, paid));
                    }
                    Opened::Alone => {
                        stream.count_lease(LeaseEvent::Bypassed);
                        alone
                    }
                }
            }
        };
        let token = credential.payment_hash();
        let receipt = Vec::new();
        self.admit(
            stream,
            Admission { context, payment, token, account, balance, keyed, receipt, settle: None },
        )
    }

    /// What was asked for will not come. Where the ledger has not even begun, `refused`, credit
    /// that a lease was to give can be spent again.
    pub(super) fn forget_plan(&self, stream: &impl Stream, holding: &Holding, refused: bool) {
        match holding.plan {
            Plan::Exact => {}
            Plan::Lease { .. } => {
                if let Asks::Own(credential) = &holding.asks {
                    self.gate.leases.opened(&credential.payment_hash());
                }
            }
            Plan::Relieved(taken) if refused => {
                self.gate.leases.take_back_refused(stream, &taken);
            }
            Plan::Relieved(taken) => self.gate.leases.take_back_failed(stream, &taken),
        }
    }

    /// The account cannot pay; a lease of the same token may.
    pub(super) fn relieve(
        &mut self,
        stream: &impl Stream,
        holding: Holding,
        credential: Rc<VerifiedCredential>,
        balance: Msat,
    ) -> Step {
        let Holding { mut context, plan, .. } = holding;
        context.call_started_ms = stream.now_ms();
        let ask = ask(&context, &credential);
        let relief = match plan {
            // Its credit did not do.
            Plan::Relieved(_) => Relief::TooLittle { rest: Msat::ZERO, leased: true },
            Plan::Exact | Plan::Lease { .. } => self.gate.leases.take_back(stream, &ask, balance),
        };
        match relief {
            Relief::Taken(taken) => self.hold(stream, context, credential, Plan::Relieved(taken)),
            Relief::Later if context.rounds < RELIEF_ROUNDS_MAX => {
                self.ask_again(context, credential)
            }
            Relief::TooLittle { leased: true, .. } if context.rounds < RETURN_ROUNDS_MAX => {
                self.ask_again(context, credential)
            }
            relief => {
                let rest = match relief {
                    Relief::TooLittle { rest, .. } => rest,
                    Relief::Taken(_) | Relief::Later => Msat::ZERO,
                };
                let balance = balance.checked_add(rest).unwrap_or(Msat::MAX);
                let paid = credential.payment_hash();
                let refusal = HoldRefusal::InsufficientCredit;
                match Offer::refused(refusal, &context, paid, balance) {
                    Some(offer) => self.challenge(stream, context, offer),
                    None => self.fail(stream, context, Some(CallFault::Garbage)),
                }
            }
        }
    }

    /// Waits for the next tick, and asks for a hold of its own then.
    fn ask_again(&mut self, mut context: Context, credential: Rc<VerifiedCredential>) -> Step {
        context.rounds = context.rounds.max(LEASE_ROUNDS_MAX);
        self.park(context, credential)
    }

    /// How long a hold lives that becomes a lease.
    pub(super) fn lease_ttl_ms(&self, context: &Context) -> u64 {
        self.gate.config().lease_ttl_ms.unwrap_or(context.route.hold_ttl_ms)
    }
}

impl Admission {
    /// One that a lease has paid for.
    pub(super) fn leased(context: Context, token: PaymentHash, paid: Paid) -> Self {
        let Paid { tally, account, balance } = paid;
        let (payment, receipt) = (Payment::Lease(tally), Vec::new());
        Self { context, payment, token, account, balance, keyed: false, receipt, settle: None }
    }
}

/// What the request needs of its token's lease.
fn ask(context: &Context, credential: &VerifiedCredential) -> Ask {
    Ask {
        token: credential.payment_hash(),
        cost: context.cost,
        hold_ttl_ms: context.route.hold_ttl_ms,
        lease_max: match context.route.spend {
            Paying::Leased { max, .. } => max,
            Paying::Exact => context.cost,
        },
        now_ms: context.call_started_ms,
    }
}

/// The same, where the request may be paid from one: not with an idempotency key, which belongs
/// to a hold, nor within a budget, at the price of a tier or where calls are counted, which the
/// ledger judges hold by hold.
fn leased_ask(gate: &Gate, context: &Context, credential: &VerifiedCredential) -> Option<Ask> {
    let keyed = context.route.idempotency != Idempotency::Off
        && context.headers.find("idempotency-key").is_some();
    // Of what is not proven here, the ledger judges every request.
    let judged = !context.budgets.is_empty()
        || context.tiers.is_some()
        || gate.is_limited(&context.route.name)
        || !credential.shown().is_preimage();
    // What tokens cost may be more than was set aside.
    let exact = keyed || judged || context.quote.tokens.is_some();
    match context.route.spend {
        Paying::Leased { exact_above, .. } if !exact && context.cost <= exact_above => {
            Some(ask(context, credential))
        }
        _ => None,
    }
}
