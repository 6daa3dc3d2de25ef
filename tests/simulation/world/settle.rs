//! The end of a run: no more faults, everything arrives, and the books are closed.

use super::requests::Order;
use super::{CLIENTS, GATES, Message, World};
use crate::auditor::Verdict;
use crate::companion::Door;
use crate::flight::Stage;
use crate::shop::HOLD_TTL_MS;

/// Rounds of the last settling; each carries every message that waits.
const ROUNDS_MAX: u32 = 200;
/// How often a client comes back at the end; far less is needed once nothing fails.
const TRIES_MAX: u32 = 20;
/// Longer than any credit that ends, in steps that end one lot after the other.
const CREDIT_MS: u64 = 24_000;
const CREDIT_STEP_MS: u64 = 1_500;
/// Longer than any hold lives.
const HOLDS_OVER_MS: u64 = 2 * HOLD_TTL_MS + 1;

impl World {
    /// No more faults: every message arrives, every client gets its proofs and spends once more,
    /// every hold ends. Then all accounts are compared, and every request is accounted for.
    pub(super) fn settle(&mut self) -> Verdict {
        self.faults = false;
        self.start_companion();
        self.drain()?;
        for client in 0..CLIENTS {
            for bill in self.clients[client].unpaid() {
                if self.auditor.books.paid.contains(&self.clients[client].bills[bill].payment_hash)
                {
                    self.pay_bill(client, bill, false, false)?;
                }
            }
        }
        self.spend_once_more()?;
        self.clock.advance_ms(HOLDS_OVER_MS);
        self.drain()?;
        for account in self.auditor.books.names() {
            let view = self.compare_account(&account)?;
            if view["held_msat"] != 0 {
                return Err(format!("a hold of {account} never ended: {view}"));
            }
        }
        self.buy_once_more()?;
        self.outlive_credit()?;
        if let Some(hash) = self.auditor.uncredited() {
            return Err(format!("{hash} was paid and never credited"));
        }
        let (_, audit) = self.companion.call(Door::Admin, "GET", "/admin/v1/audit", None);
        if audit["differences"].as_array().is_none_or(|found| !found.is_empty()) {
            return Err(format!("the ledger's own audit: {audit}"));
        }
        let gave = self.auditor.books.holds.values().filter(|hold| hold.given_msat > 0).count();
        self.summary.count("holds that gave credit back", gave as u64);
        let lost = self.auditor.close()?;
        self.summary.count("msat of operator's loss", lost);
        Ok(())
    }

    /// What is topped up now ends later than what is left.
    fn buy_once_more(&mut self) -> Verdict {
        for client in 0..CLIENTS {
            for bill in self.clients[client].unpaid() {
                if self.clients[client].bills[bill].route.sale.ttl_ms.is_some() {
                    self.pay_bill(client, bill, true, false)?;
                    self.compare()?;
                }
            }
        }
        Ok(())
    }

    /// One lot of credit ends after the other, as the books say.
    fn outlive_credit(&mut self) -> Verdict {
        for _ in 0..CREDIT_MS.div_ceil(CREDIT_STEP_MS) {
            let expiring: Vec<String> = self.auditor.books.expiring();
            expiring.iter().try_for_each(|account| self.compare_account(account).map(|_| ()))?;
            self.clock.advance_ms(CREDIT_STEP_MS);
        }
        Ok(())
    }

    /// Every paid bill, as a client does that is told to come back: until the gate has decided.
    fn spend_once_more(&mut self) -> Verdict {
        let mut open = self.bought();
        for _ in 0..TRIES_MAX {
            let first = self.flights.len();
            for (client, bill) in &open {
                let bill = &self.clients[*client].bills[*bill];
                let order = Order {
                    client: *client,
                    route: bill.route,
                    shown: bill.shown(),
                    credential: bill.credential(),
                    chooses: false,
                    tops_up: false,
                    key: None,
                    query: "",
                };
                self.ask(order)?;
            }
            self.drain()?;
            let asked = open.into_iter().enumerate();
            let failed = asked.filter(|(at, _)| self.flights[first + at].answered == Some(503));
            open = failed.map(|(_, bill)| bill).collect();
            if open.is_empty() {
                return Ok(());
            }
        }
        Err(format!("paid requests of {open:?} never got an answer but 503"))
    }

    /// Carries everything, in turns with ticks, until nothing is on its way.
    fn drain(&mut self) -> Verdict {
        for _ in 0..ROUNDS_MAX {
            let messages = std::mem::take(&mut self.messages);
            let idle = messages.is_empty();
            messages.into_iter().try_for_each(|message| self.carry(message))?;
            self.compare()?;
            // Longer than the pauses after failures, shorter than a hold's life.
            self.clock.advance_ms(100);
            (0..GATES).try_for_each(|gate| self.tick(gate))?;
            let reporting = self.messages.iter().any(|message| match message {
                Message::Call { call, .. } => call.header(":path") != "/v1/keyring",
                _ => true,
            });
            let busy = self.flights.iter().any(|flight| flight.stage != Stage::Over);
            if idle && !reporting && !busy {
                return Ok(());
            }
        }
        Err("the messages never end".to_owned())
    }
}
