//! A request that its client may have sent before, by its `Idempotency-Key`.

use core::fmt;

use tollway_core::digest::Digest;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{IdempotencyKey, StoredResponse};

use super::{Context, Exchange, Step};
use crate::config::Idempotency;
use crate::headers::{self, ResponseMarks};
use crate::host::{LogField, Stream};
use crate::ledger::CallFault;
use crate::metrics::Decision;
use crate::reply;

/// The longest key of a client, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// A key that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyMalformed;

impl fmt::Display for KeyMalformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected one Idempotency-Key of 1 to {KEY_BYTES_MAX} visible ASCII characters, but \
             found something else"
        )
    }
}

/// The request's key and what it stands for; `None` where there is none, or the route has no use
/// for one.
pub(super) fn idempotency_key(context: &Context) -> Result<Option<IdempotencyKey>, KeyMalformed> {
    if context.route.idempotency == Idempotency::Off {
        return Ok(None);
    }
    let list = &context.headers;
    let Some(key) = headers::single(list, "idempotency-key").map_err(|_| KeyMalformed)? else {
        return Ok(None);
    };
    let visible = key.iter().all(u8::is_ascii_graphic);
    if !visible || !(1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Err(KeyMalformed);
    }
    let fields = [":method", ":authority", ":path", "content-length"]
        .map(|name| list.find(name).unwrap_or_default());
    Ok(Some(IdempotencyKey { key: Digest::of(&[key]), fields: Digest::of(&fields) }))
}

impl Exchange {
    /// The request was charged before: its response is given again, or it goes to the upstream
    /// once more for nothing.
    pub(super) fn repeated(
        &mut self,
        stream: &impl Stream,
        context: Context,
        account: &PaymentHash,
        balance: Msat,
        stored: Option<StoredResponse>,
    ) -> Step {
        let account = account.hex_digits();
        stream.note(LogField::Account, account.as_str());
        stream.note(LogField::CostMsat, "0");
        let stored = stored.filter(|_| context.route.idempotency == Idempotency::Replay);
        let Some(stored) = stored else {
            let rest = context.authorization_rest.as_deref();
            self.strip(stream, &context.headers, rest);
            headers::mark_paid_request(stream, &account, Msat::ZERO, balance);
            let marks = ResponseMarks::Paid { cost: Msat::ZERO, balance, low: None };
            return self.pass(stream, Decision::Ok, Some(marks), context.from_browser);
        };
        match stored.body() {
            Some(body) => {
                let answer = reply::replayed(&stored, body, balance);
                self.answer(stream, Decision::Replayed, answer)
            }
            None => self.fail(stream, context, Some(CallFault::Garbage)),
        }
    }
}
