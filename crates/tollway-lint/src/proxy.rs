//! A proxy that only pretends: it knows one request, and writes down what the gate asks for.

use std::cell::{Cell, RefCell};

use tollway_core::header_block::HeaderBlock;
use tollway_core::id::HoldId;
use tollway_gate::host::{
    CAS_ABSENT, Call, CallId, CasMismatch, Host, LogField, NotSent, ResponseTrouble, Stream,
    StreamId,
};
use tollway_gate::metrics::{CallKind, Decision, LeaseEvent};

/// A call that the gate sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) id: CallId,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

/// The proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    request: HeaderBlock,
    body: Vec<u8>,
    calls: Cell<u32>,
    sent: RefCell<Option<Sent>>,
    notes: RefCell<Vec<(LogField, String)>>,
}

impl Proxy {
    pub(crate) const fn new(request: HeaderBlock, body: Vec<u8>) -> Self {
        Self {
            request,
            body,
            calls: Cell::new(0),
            sent: RefCell::new(None),
            notes: RefCell::new(Vec::new()),
        }
    }

    /// The call that was sent last and not yet taken.
    pub(crate) fn take_sent(&self) -> Option<Sent> {
        self.sent.take()
    }

    /// What was filed last under this name.
    pub(crate) fn note_of(&self, field: LogField) -> Option<String> {
        let notes = self.notes.borrow();
        notes.iter().rev().find(|(known, _)| *known == field).map(|(_, value)| value.clone())
    }
}

impl Host for Proxy {
    fn now_ms(&self) -> u64 {
        // Any time does: nothing that is presented could have expired.
        1_800_000_000_000
    }

    fn call(&self, call: &Call<'_>) -> Result<CallId, NotSent> {
        let id = CallId(self.calls.get() + 1);
        self.calls.set(id.0);
        let path = call.headers.iter().find(|(name, _)| *name == ":path");
        let path = path.map_or("", |(_, value)| *value).to_owned();
        let body = call.body.unwrap_or_default().into();
        self.sent.replace(Some(Sent { id, path, body }));
        Ok(id)
    }

    fn pool(&self, _: HoldId, _: &[u8]) -> Option<CallId> {
        None
    }

    fn count(&self, _: Decision) {}

    fn count_shadow(&self, _: Decision) {}

    fn count_shadow_msat(&self, _: Decision, _: u64) {}

    fn record_call_ms(&self, _: CallKind, _: u64) {}

    fn count_lost_postings(&self, _: u64) {}

    fn count_lease(&self, _: LeaseEvent) {}

    fn shared(&self, _: &str) -> (Vec<u8>, u32) {
        (Vec::new(), CAS_ABSENT)
    }

    fn set_shared(&self, _: &str, _: &[u8], _: u32) -> Result<(), CasMismatch> {
        Ok(())
    }

    fn end_stream(&self, _: StreamId) {}

    fn warn(&self, _: &str) {}
}

impl Stream for Proxy {
    fn id(&self) -> StreamId {
        StreamId(0)
    }

    fn request_headers(&self) -> HeaderBlock {
        self.request.clone()
    }

    fn request_body(&self, bytes: usize) -> Vec<u8> {
        self.body.iter().take(bytes).copied().collect()
    }

    fn replace_request_body(&self, _: usize, _: &[u8]) {}

    fn set_request_header(&self, _: &str, _: Option<&[u8]>) {}

    fn add_request_header(&self, _: &str, _: &[u8]) {}

    fn client_address(&self) -> Option<String> {
        Some("192.0.2.1".to_owned())
    }

    fn response_header(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn set_response_header(&self, _: &str, _: Option<&[u8]>) {}

    fn add_response_header(&self, _: &str, _: &[u8]) {}

    fn response_body(&self, _: usize) -> Vec<u8> {
        Vec::new()
    }

    fn replace_response_body(&self, _: usize, _: &[u8]) {}

    fn response_trouble(&self) -> ResponseTrouble {
        ResponseTrouble::default()
    }

    fn response_is_local(&self) -> bool {
        false
    }

    fn note(&self, field: LogField, value: &str) {
        self.notes.borrow_mut().push((field, value.to_owned()));
    }
}
