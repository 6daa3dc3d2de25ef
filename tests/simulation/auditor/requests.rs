//! What becomes of requests: none is served without a reason, none is answered without one, and
//! nobody pays for more than was delivered.

use super::{Auditor, Shown, Told, Verdict, agree};
use crate::shop::{Keys, Mode};

/// What the gate tells the upstream.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    pub(crate) account: String,
    pub(crate) cost_msat: Option<u64>,
    pub(crate) free: bool,
}

impl Auditor {
    /// The gate lets a request go to the upstream; returns why it may.
    pub(crate) fn admitted(&self, request: usize, marks: &Marks) -> Result<Why, String> {
        let seen = &self.requests[request];
        let route = seen.asked.route;
        if marks.free {
            let granted = seen.told.contains(&Told::Free) && seen.asked.shown == Shown::Nothing;
            return match granted {
                true => Ok(Why::Free),
                false => {
                    Err(format!("request {request} was free, the ledger said {:?}", seen.told))
                }
            };
        }
        if let (Mode::Session(_), Shown::Genuine { valid_until_s, payment_hash }) =
            (route.mode, &seen.asked.shown)
        {
            let now_s = seen.began_ms / 1_000;
            if now_s >= *valid_until_s {
                return Err(format!("a session was served at {now_s}, over since {valid_until_s}"));
            }
            let told = self.revoked.get(&seen.asked.gate);
            if told.is_some_and(|tokens| tokens.contains(payment_hash)) {
                return Err(format!("a revoked session was served: {payment_hash}"));
            }
            agree("account of a session", &marks.account, payment_hash)?;
            return Ok(Why::Session);
        }
        let before = seen.told.iter().any(|told| matches!(told, Told::ChargedBefore(_)));
        if before && marks.cost_msat == Some(0) {
            return Ok(Why::Repeat);
        }
        let hold = seen.hold.as_ref().and_then(|id| self.books.holds.get(id));
        match hold {
            Some(hold)
                if seen.told.contains(&Told::Granted)
                    && hold.amount_msat == route.price_msat
                    && hold.account == marks.account
                    && marks.cost_msat == Some(route.price_msat) =>
            {
                Ok(Why::Hold)
            }
            _ => Err(format!("request {request} reached the upstream without its hold")),
        }
    }

    /// The gate answers a request itself.
    pub(crate) fn answered(
        &mut self,
        request: usize,
        status: u16,
        code: &str,
        body: &[u8],
    ) -> Verdict {
        let seen = &mut self.requests[request];
        seen.owed_msat = Some(0);
        let refused = |why: &str| seen.told.contains(&Told::Refused(why.to_owned()));
        let route = seen.asked.route;
        let sold_out = refused("insufficient_credit");
        let session = matches!(route.mode, Mode::Session(_));
        let justified = match (status, code) {
            (503, "payments_unavailable") => true,
            (402, "payment_required") => seen.asked.shown == Shown::Nothing && route.free.is_none(),
            (402, "free_tier_exhausted") => seen.told.contains(&Told::NotFree),
            (402, "top_up") => {
                let genuine = matches!(seen.asked.shown, Shown::Genuine { .. });
                genuine && seen.asked.tops_up && route.mode == Mode::Credits
            }
            (402, "no_top_up") => seen.told.contains(&Told::NoTopUp),
            (402, "insufficient_credit") => sold_out && route.mode == Mode::Credits,
            (402, "credential_used") => sold_out && route.mode == Mode::SingleUse,
            (402, "account_revoked") if session => seen.revoked,
            (402, "account_revoked") => refused("account_revoked"),
            (402, "credential_expired") => match seen.asked.shown {
                Shown::Genuine { valid_until_s, .. } => seen.began_ms / 1_000 >= valid_until_s,
                _ => false,
            },
            (402, "wrong_service" | "wrong_tier") => seen.asked.shown == Shown::Foreign,
            (402, _) => seen.asked.shown == Shown::Forged,
            (409 | 422, code) => refused(code),
            (429, _) => {
                !matches!(seen.asked.shown, Shown::Genuine { .. })
                    || seen.told.iter().any(|told| matches!(told, Told::Refused(_)))
                    || session
            }
            _ => false,
        };
        let stored = seen.told.iter().find_map(|told| match told {
            Told::ChargedBefore(stored) => stored["body_base64"].as_str(),
            _ => None,
        });
        if let Some(stored) = stored.filter(|_| route.keys == Keys::Replay && status == 200) {
            return agree("response given again", base64(body).as_str(), stored);
        }
        if justified {
            return Ok(());
        }
        Err(format!(
            "request {request} ({:?}, {:?}) was answered {status} {code}",
            seen.asked.shown, seen.told
        ))
    }

    /// A request is over; its customer owes this.
    pub(crate) fn ended(&mut self, request: usize, owed_msat: u64) {
        self.requests[request].owed_msat = Some(owed_msat);
    }

    /// The VM of a gate dies. What it had not reported by now is never reported by it.
    pub(crate) fn vm_died(&mut self, gate: usize) {
        self.revoked.remove(&gate);
        for seen in self.requests.iter_mut().filter(|seen| seen.asked.gate == gate) {
            let posted = |hold: &String| self.books.postings.contains_key(&(hold.clone(), 0));
            seen.orphaned |= !seen.hold.as_ref().is_some_and(posted);
            // Without an end nothing is owed: the client has no answer.
            seen.owed_msat.get_or_insert(0);
        }
    }

    /// All messages have arrived and all holds are over: nothing is open, nothing is lost beyond
    /// what dead VMs and late postings explain. Returns the operator's loss.
    pub(crate) fn close(&self) -> Result<u64, String> {
        let mut lost_msat = 0;
        for (number, seen) in self.requests.iter().enumerate() {
            let owed = seen.owed_msat.ok_or(format!("request {number} never ended"))?;
            let charge =
                seen.hold.as_ref().and_then(|hold| self.books.postings.get(&(hold.clone(), 0)));
            let charged = charge.map_or(0, |posting| posting.taken_msat);
            if charged == owed {
                continue;
            }
            if charged > owed || !(seen.orphaned || seen.too_late) {
                return Err(format!("request {number} owed {owed} and was charged {charged}"));
            }
            lost_msat += owed;
        }
        Ok(lost_msat)
    }

    /// A payment that nobody credited.
    pub(crate) fn uncredited(&self) -> Option<&String> {
        self.books.paid.iter().find(|hash| {
            let invoice = &self.books.invoices[*hash];
            // The gate alone accepts a session, until the node's own report.
            !invoice.credited && !matches!(invoice.mode, Mode::Session(_))
        })
    }
}

/// Why a request was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Hold,
    Repeat,
    Session,
    Free,
}

/// Standard base64 with padding, spelled out: the auditor shares no code.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let at = |n: usize| u32::from(part.get(n).copied().unwrap_or(0));
        let all = at(0) << 16 | at(1) << 8 | at(2);
        for n in 0..4 {
            let letter = LETTERS[(all >> (18 - 6 * n) & 63) as usize];
            text.push(if n > part.len() { '=' } else { char::from(letter) });
        }
    }
    text
}
