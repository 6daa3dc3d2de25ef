//! A credential under a key that this gate does not know: after a rotation another worker may
//! have fetched the new key first and minted with it. The keys are fetched once more before
//! anything is refused, so that nobody pays twice because one worker is behind another.

use tollway_core::wire::KeyringReply;

use super::{Context, Exchange, Refreshing, State, Step};
use crate::host::{CallReply, Stream};
use crate::ledger;

/// How old the keys are that a request is judged with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// Fetched at some time before.
    Known,
    /// Fetched for this request.
    Fresh,
}

impl Exchange {
    /// Asks for the keys of now.
    pub(super) fn refresh(&mut self, stream: &impl Stream, context: Context) -> Step {
        match ledger::fetch_keyring(stream, &self.gate.config().tollwayd) {
            Ok(call) => {
                self.state = State::Refreshing(Refreshing { call, context });
                Step::Wait
            }
            Err(fault) => self.fail(stream, context, Some(fault)),
        }
    }

    pub(super) fn keys_answered(
        &mut self,
        stream: &impl Stream,
        mut context: Context,
        reply: &CallReply,
    ) -> Step {
        let adopted =
            ledger::decode::<KeyringReply>(reply).and_then(|reply| self.gate.adopt(&reply));
        match adopted {
            Ok(()) => {
                self.gate.reached(stream);
                context.call_started_ms = stream.now_ms();
                self.presented(stream, context, Keys::Fresh)
            }
            Err(fault) => self.fail(stream, context, Some(fault)),
        }
    }
}
