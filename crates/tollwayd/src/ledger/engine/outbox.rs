//! What is written down for others outside, and what becomes of it.

use serde::Serialize;
use tollway_core::digest::Digest;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::Buys;

use super::Engine;
use crate::ledger::deposits::{RETURNS, ReturnOrder};
use crate::ledger::outbox::{Claim, Claimed, Happening, News, PayoutOrder, Report, Split};
use crate::ledger::retry::{Retry, RetryOutcome};
use crate::ledger::rows::{Action, ActionKind, Delivery, DeliveryKind, DeliveryState, Invoice};

/// What a webhook says. Never a preimage: who reads it could spend the credit.
#[derive(Serialize)]
struct WebhookBody<'a> {
    /// The same for every receiver, and in every try.
    id: String,
    #[serde(rename = "type")]
    happening: &'static str,
    payment_hash: PaymentHash,
    account: PaymentHash,
    /// What was paid, or given back.
    amount_msat: Msat,
    /// What the account got for it.
    credit_msat: Msat,
    #[serde(skip_serializing_if = "Option::is_none")]
    buys: Option<Buys>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refunded_at: Option<u64>,
}

impl Engine {
    /// Tells of a payment, in the transaction that credits it.
    pub(super) fn tell_of_payment(&mut self, invoice: &Invoice, paid: Msat, credit: Msat) {
        let happening = match invoice.account == invoice.payment_hash {
            true => Happening::Payment,
            false => Happening::TopUp,
        };
        let id = event_id(happening, invoice.payment_hash.as_bytes());
        let body = WebhookBody {
            id: hex::encode(id),
            happening: happening.word(),
            payment_hash: invoice.payment_hash,
            account: invoice.account,
            amount_msat: paid,
            credit_msat: if invoice.buys == Buys::Session { Msat::ZERO } else { credit },
            buys: Some(invoice.buys),
            route: Some(&invoice.route),
            settled_at: Some(self.now_ms / 1_000),
            refunded_at: None,
        };
        self.tell(happening, id, &body);
        for split in &self.subscriptions.clone().splits {
            self.share(split, invoice, paid);
        }
    }

    /// Puts a share of a payment aside for somebody else: what was paid, without any bonus, times
    /// the share, rounded down to whole sats. The rest of the sat stays with the operator.
    fn share(&mut self, split: &Split, invoice: &Invoice, paid: Msat) {
        if split.routes.as_ref().is_some_and(|routes| !routes.contains(&invoice.route)) {
            return;
        }
        let share = u128::from(paid.get()) * u128::from(split.basis_points) / 10_000;
        let sats = u64::try_from(share / 1_000).unwrap_or(u64::MAX);
        // A part of an amount is an amount.
        let amount = Msat::from_sats(sats).unwrap_or(paid);
        if amount < split.min {
            return;
        }
        let event = short(&[b"event", b"share", invoice.payment_hash.as_bytes()]);
        let kind = DeliveryKind::Payout;
        let mut delivery = Delivery {
            id: delivery_id(kind, &split.target, &event),
            kind,
            target: split.target.clone(),
            account: invoice.account,
            payment_hash: invoice.payment_hash,
            // A number always serialises.
            body: serde_json::to_string(&PayoutOrder { amount_msat: amount }).unwrap_or_default(),
            note: None,
            state: DeliveryState::Open,
            attempts: 0,
            due_at_ms: self.now_ms,
            created_at_ms: self.now_ms,
        };
        if amount > split.max {
            let reason = format!("a share of {amount} is above splits.max_sats");
            self.give_up(&mut delivery, &reason);
        }
        self.set.deliveries.put(delivery);
    }

    /// Has what is left of a session returned to its payer.
    pub(super) fn order_return(&mut self, session: PaymentHash, order: &ReturnOrder) {
        self.set.deliveries.put(Delivery {
            id: return_id(&session),
            kind: DeliveryKind::Payout,
            target: RETURNS.to_owned(),
            account: session,
            payment_hash: session,
            // A number and text always serialise.
            body: serde_json::to_string(order).unwrap_or_default(),
            note: None,
            state: DeliveryState::Open,
            attempts: 0,
            due_at_ms: self.now_ms,
            created_at_ms: self.now_ms,
        });
    }

    /// Nobody knows whether the shares of a payment that the ledger had lost went out before.
    pub(super) fn hold_shares_back(&mut self, payment: &PaymentHash) {
        let is_share = |it: &&Delivery| {
            it.kind == DeliveryKind::Payout
                && it.payment_hash == *payment
                && it.state == DeliveryState::Open
        };
        let shares: Vec<Delivery> = self.set.deliveries.iter().filter(is_share).cloned().collect();
        for mut share in shares {
            let reason = "the ledger had lost the payment: its share may have been paid out before";
            self.give_up(&mut share, reason);
            self.set.deliveries.put(share);
        }
    }

    fn give_up(&mut self, delivery: &mut Delivery, reason: &str) {
        (delivery.state, delivery.due_at_ms) = (DeliveryState::GivenUp, self.now_ms);
        self.set.actions.put(delivery.line(reason, self.now_ms));
        self.tally.deliveries_given_up += 1;
    }

    /// Tells of a refund, in the transaction that gives the charge back.
    pub(super) fn tell_of_refund(
        &mut self,
        account: PaymentHash,
        (payment_hash, amount): (PaymentHash, Msat),
        action: &[u8; 16],
    ) {
        let id = event_id(Happening::Refund, action);
        let body = WebhookBody {
            id: hex::encode(id),
            happening: Happening::Refund.word(),
            payment_hash,
            account,
            amount_msat: amount,
            credit_msat: amount,
            buys: None,
            route: None,
            settled_at: None,
            refunded_at: Some(self.now_ms / 1_000),
        };
        self.tell(Happening::Refund, id, &body);
    }

    fn tell(&mut self, happening: Happening, event: [u8; 16], body: &WebhookBody<'_>) {
        let subscriptions = self.subscriptions.clone();
        let wants = |of: &&crate::ledger::Subscription| of.happenings.contains(&happening);
        for subscription in subscriptions.webhooks.iter().filter(wants) {
            let kind = DeliveryKind::Webhook;
            self.set.deliveries.put(Delivery {
                id: delivery_id(kind, &subscription.target, &event),
                kind,
                target: subscription.target.clone(),
                account: body.account,
                payment_hash: body.payment_hash,
                // Numbers, hashes and text always serialise.
                body: serde_json::to_string(body).unwrap_or_default(),
                note: None,
                state: DeliveryState::Open,
                attempts: 0,
                due_at_ms: self.now_ms,
                created_at_ms: self.now_ms,
            });
        }
    }

    /// Takes what is due, the longest waiting first.
    pub(in crate::ledger) fn claim(&mut self, claim: &Claim) -> Vec<Claimed> {
        let now_ms = self.now_ms;
        let is_wanted = |it: &&Delivery| {
            it.kind == claim.kind && it.target == claim.target && it.is_due(now_ms)
        };
        let mut due: Vec<Delivery> =
            self.set.deliveries.iter().filter(is_wanted).cloned().collect();
        due.sort_by_key(|it| (it.due_at_ms, it.id));
        due.truncate(usize::try_from(claim.max).unwrap_or(usize::MAX));
        let mut claimed = Vec::new();
        for mut delivery in due {
            delivery.attempts = delivery.attempts.saturating_add(1);
            delivery.due_at_ms = now_ms.saturating_add(claim.lease_ms);
            claimed.push(Claimed::from(&delivery));
            self.set.deliveries.put(delivery);
        }
        claimed
    }

    /// Puts what was given up back to what is tried, as an operator orders it.
    pub(in crate::ledger) fn retry(&mut self, order: &Retry) -> RetryOutcome {
        let known = self.set.deliveries.get(&(order.delivery,)).cloned();
        let Some(mut delivery) = known else { return RetryOutcome::Unknown };
        let (kind, target) = (delivery.kind.word(), &delivery.target);
        let reason = format!("{} ({kind} {target:?})", order.reason);
        let line = delivery.action((ActionKind::Retry, reason), self.now_ms);
        let line = Action { id: order.id, actor: order.actor.clone(), ..line };
        if let Some(before) = self.set.actions.get(&(order.id,)) {
            let same = *before == Action { at_ms: before.at_ms, ..line };
            return if same { RetryOutcome::Done } else { RetryOutcome::Conflict };
        }
        if delivery.state != DeliveryState::GivenUp {
            return RetryOutcome::NotGivenUp;
        }
        // It counts as a try, so that no sender of before can report for one of now.
        delivery.attempts = delivery.attempts.saturating_add(1);
        (delivery.state, delivery.due_at_ms) = (DeliveryState::Open, self.now_ms);
        self.set.deliveries.put(delivery);
        self.set.actions.put(line);
        RetryOutcome::Done
    }

    /// Writes down what became of a try, unless somebody else has taken the delivery since.
    pub(in crate::ledger) fn report(&mut self, report: &Report) -> bool {
        let known = self.set.deliveries.get(&(report.id,)).cloned();
        let is_ours =
            |it: &Delivery| it.state == DeliveryState::Open && it.attempts == report.attempt;
        let Some(mut delivery) = known.filter(is_ours) else { return false };
        match &report.news {
            News::Sent => {
                (delivery.state, delivery.due_at_ms) = (DeliveryState::Done, self.now_ms);
                self.tally.deliveries_sent += 1;
            }
            News::PaidOut { amount, invoice } => {
                (delivery.state, delivery.due_at_ms) = (DeliveryState::Done, self.now_ms);
                let reason = format!("paid to {:?} by way of {invoice}", delivery.target);
                let line = delivery.action((ActionKind::Payout, reason), self.now_ms);
                self.set.actions.put(Action { amount_msat: Some(*amount), ..line });
                self.tally.deliveries_sent += 1;
                self.tally.paid_out_msat = self.tally.paid_out_msat.saturating_add(amount.get());
            }
            News::Chosen { note, until_ms } => {
                (delivery.note, delivery.due_at_ms) = (Some(note.clone()), *until_ms);
            }
            News::Later(due_at_ms) => {
                delivery.due_at_ms = *due_at_ms;
                self.tally.deliveries_delayed += 1;
            }
            News::GivenUp(reason) => {
                self.give_up(&mut delivery, reason);
            }
        }
        self.set.deliveries.put(delivery);
        true
    }
}

impl Happening {
    const fn word(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::TopUp => "top_up",
            Self::Refund => "refund",
        }
    }
}

impl Delivery {
    /// Whether somebody may take it.
    pub(in crate::ledger) fn is_due(&self, now_ms: u64) -> bool {
        self.state == DeliveryState::Open && self.due_at_ms <= now_ms
    }

    /// Its line in the audit log, where it was given up.
    fn line(&self, reason: &str, at_ms: u64) -> Action {
        let (kind, target, tries) = (self.kind.word(), &self.target, self.attempts);
        let reason = format!("{kind} {target:?} was given up after {tries} tries: {reason}");
        self.action((ActionKind::GiveUp, reason), at_ms)
    }

    /// A line in the audit log about its end.
    fn action(&self, (kind, reason): (ActionKind, String), at_ms: u64) -> Action {
        Action {
            // It may be given up again after more tries.
            id: short(&[kind.word().as_bytes(), &self.id, &self.attempts.to_be_bytes()]),
            kind,
            actor: "tollwayd".to_owned(),
            reason,
            subject: Some(self.payment_hash),
            account: Some(self.account),
            amount_msat: None,
            key_id: None,
            tier: None,
            at_ms,
        }
    }
}

/// The return of a session, of which there is one.
pub(super) fn return_id(session: &PaymentHash) -> [u8; 16] {
    delivery_id(DeliveryKind::Payout, RETURNS, &short(&[b"event", b"return", session.as_bytes()]))
}

fn event_id(happening: Happening, of: &[u8]) -> [u8; 16] {
    short(&[b"event", happening.word().as_bytes(), of])
}

fn delivery_id(kind: DeliveryKind, target: &str, event: &[u8; 16]) -> [u8; 16] {
    short(&[b"delivery", kind.word().as_bytes(), target.as_bytes(), event])
}

fn short(parts: &[&[u8]]) -> [u8; 16] {
    let mut id = [0; 16];
    id.iter_mut().zip(Digest::of(parts).as_bytes()).for_each(|(to, from)| *to = *from);
    id
}
