//! Payments that a facilitator settles. The order is the whole safety: reserved before the
//! upstream is reached, marked before the facilitator is asked, credited when it has said so.

use tollway_core::money::Msat;
use tollway_core::wire::{Buys, Proof};

use super::{Decided, Engine, Question};
use crate::ledger::rows::{Counted, Invoice, Transfer, TransferState};
use crate::ledger::transfers::{
    EndOutcome, Reservation, ReservationOutcome, SettlementEnd, SettlementStart, StartOutcome,
    TransferId, Verdict,
};
use crate::ledger::work::Needs;

fn name(id: TransferId, needs: &mut Needs) {
    needs.transfers.insert(id.bytes());
    needs.payments.insert(id.payment_hash());
}

impl Question for Reservation {
    type Answer = ReservationOutcome;

    fn name(&self, needs: &mut Needs) {
        name(self.id, needs);
    }

    fn decide(&self, engine: &mut Engine) -> Decided<ReservationOutcome> {
        Ok(engine.reserve_transfer(self))
    }
}

impl Question for SettlementStart {
    type Answer = StartOutcome;

    fn name(&self, needs: &mut Needs) {
        name(self.id, needs);
    }

    fn decide(&self, engine: &mut Engine) -> Decided<StartOutcome> {
        Ok(engine.start_settlement(self))
    }
}

impl Question for SettlementEnd {
    type Answer = EndOutcome;

    fn name(&self, needs: &mut Needs) {
        name(self.id, needs);
    }

    fn decide(&self, engine: &mut Engine) -> Decided<EndOutcome> {
        engine.end_settlement(self)
    }
}

impl Engine {
    fn reserve_transfer(&mut self, order: &Reservation) -> ReservationOutcome {
        if let Some(known) = self.set.transfers.get(&(order.id.bytes(),)) {
            let standing = known.standing(self.now_ms);
            let own = known.is_reserved_by(order.hold);
            match standing {
                Some(ReservationOutcome::Taken) if own => {
                    let same = known.units == order.units
                        && known.payer == order.payer
                        && known.price_msat == order.price
                        && known.route == order.route;
                    return if same {
                        ReservationOutcome::Reserved
                    } else {
                        ReservationOutcome::Conflict
                    };
                }
                Some(standing) => return standing,
                None => {}
            }
        }
        self.set.transfers.put(Transfer {
            id: order.id.bytes(),
            hold_id: order.hold,
            state: TransferState::Reserved,
            units: order.units.clone(),
            payer: order.payer.clone(),
            price_msat: order.price,
            route: order.route.clone(),
            until_ms: self.now_ms.saturating_add(order.ttl_ms),
            asked: 0,
            txid: None,
            created_at_ms: self.now_ms,
            settled_at_ms: None,
        });
        ReservationOutcome::Reserved
    }

    fn start_settlement(&mut self, order: &SettlementStart) -> StartOutcome {
        let Some(known) = self.set.transfers.get(&(order.id.bytes(),)).cloned() else {
            return StartOutcome::Lost;
        };
        match known.state {
            TransferState::Settled => return StartOutcome::Settled,
            _ if known.units != order.units => return StartOutcome::Lost,
            TransferState::Settling if known.until_ms > self.now_ms => return StartOutcome::Taken,
            TransferState::Reserved if known.hold_id != order.hold => return StartOutcome::Lost,
            TransferState::Refused => return StartOutcome::Lost,
            TransferState::Settling | TransferState::Reserved => {}
        }
        self.set.transfers.put(Transfer {
            hold_id: order.hold,
            state: TransferState::Settling,
            until_ms: self.now_ms.saturating_add(order.ttl_ms),
            asked: known.asked.saturating_add(1),
            ..known
        });
        StartOutcome::Ask
    }

    fn end_settlement(&mut self, order: &SettlementEnd) -> Decided<EndOutcome> {
        let Some(known) = self.set.transfers.get(&(order.id.bytes(),)).cloned() else {
            return Ok(EndOutcome::Lost);
        };
        if known.state == TransferState::Settled {
            return Ok(EndOutcome::Credited);
        }
        match &order.verdict {
            Verdict::Settled { transaction } => self.credit_transfer(order.id, &known, transaction),
            // Whoever asks now waits for an answer of its own.
            _ if known.hold_id != order.hold => Ok(EndOutcome::Unknown),
            // After a silence, "no" may be about a transfer that was done then.
            Verdict::Refused if known.state == TransferState::Settling && known.asked == 1 => {
                self.set.transfers.put(Transfer { state: TransferState::Refused, ..known });
                Ok(EndOutcome::Refused)
            }
            Verdict::Refused | Verdict::Unknown => {
                let until_ms = known.until_ms.min(self.now_ms);
                self.set.transfers.put(Transfer { until_ms, ..known });
                Ok(EndOutcome::Unknown)
            }
        }
    }

    /// What a facilitator has settled is credit, whoever asked it and whatever became of that
    /// request.
    fn credit_transfer(
        &mut self,
        id: TransferId,
        known: &Transfer,
        transaction: &str,
    ) -> Decided<EndOutcome> {
        let payment_hash = id.payment_hash();
        let invoice = Invoice {
            payment_hash,
            account: payment_hash,
            amount_msat: known.price_msat,
            buys: Buys::Credit,
            credit_msat: known.price_msat,
            seed_msat: Msat::ZERO,
            credit_ttl_ms: None,
            proof: Proof::Preimage,
            route: known.route.clone(),
            bolt11: String::new(),
            client: None,
            offer: None,
            created_at_ms: known.created_at_ms,
            expires_at_ms: known.until_ms,
            settled_at_ms: None,
            received_msat: None,
            spent_by: None,
            coupon: None,
            node: None,
            revoked_at_ms: None,
        };
        self.count(Counted::Challenge.word(), &known.route, 0);
        if self.credit_invoice(invoice, None)?.is_err() {
            return Ok(EndOutcome::Lost);
        }
        self.set.transfers.put(Transfer {
            state: TransferState::Settled,
            txid: Some(transaction.to_owned()),
            settled_at_ms: Some(self.now_ms),
            ..known.clone()
        });
        Ok(EndOutcome::Credited)
    }
}
