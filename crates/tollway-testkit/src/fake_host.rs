//! A proxy made of memory: the second implementation of the gate's host traits.
//!
//! A test sets what the proxy would know (headers, address, what went wrong), drives the gate,
//! and reads what the gate asked for. Nothing is answered by itself: the test plays `tollwayd`.

mod sent;
mod shared;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use tollway_core::header_block::HeaderBlock;
use tollway_core::id::HoldId;
use tollway_gate::host::{
    Call, CallId, CasMismatch, Host, LogField, NotSent, ResponseTrouble, Stream, StreamId,
};
use tollway_gate::metrics::{CallKind, Decision, LeaseEvent};

pub use sent::SentCall;
pub use shared::SharedData;

/// The proxy, as one of its workers.
#[derive(Debug, Default)]
pub struct FakeHost {
    now_ms: Cell<u64>,
    calls: RefCell<Vec<SentCall>>,
    calls_sent: Cell<u32>,
    cluster_is_gone: Cell<bool>,
    counts: RefCell<HashMap<Decision, u64>>,
    shadow_counts: RefCell<HashMap<Decision, u64>>,
    shadow_msat: RefCell<HashMap<Decision, u64>>,
    lost_postings: Cell<u64>,
    warnings: RefCell<Vec<String>>,
    request: RefCell<Vec<(String, Vec<u8>)>>,
    request_body: RefCell<Vec<u8>>,
    response: RefCell<Vec<(String, Vec<u8>)>>,
    response_body: RefCell<Vec<u8>>,
    client_address: RefCell<Option<String>>,
    trouble: Cell<ResponseTrouble>,
    response_is_local: Cell<bool>,
    notes: RefCell<HashMap<LogField, String>>,
    lease_events: RefCell<HashMap<LeaseEvent, u64>>,
    shared: Rc<SharedData>,
    asked: RefCell<Vec<&'static str>>,
    id: Cell<u32>,
    ended: RefCell<Vec<StreamId>>,
    pooled: RefCell<Option<Vec<HoldId>>>,
}

impl FakeHost {
    /// A proxy whose clock stands at this Unix time in milliseconds.
    #[must_use]
    pub fn at(now_ms: u64) -> Self {
        let host = Self::default();
        host.now_ms.set(now_ms);
        *host.client_address.borrow_mut() = Some("203.0.113.7".into());
        host
    }

    /// Another worker of the same proxy, or another request on this one.
    #[must_use]
    pub fn beside(&self) -> Self {
        let host = Self::at(self.now_ms.get());
        Self { shared: Rc::clone(&self.shared), ..host }
    }

    /// What all workers share.
    #[must_use]
    pub fn shared_data(&self) -> &SharedData {
        &self.shared
    }

    /// How often this happened to leases.
    #[must_use]
    pub fn lease_count_of(&self, event: LeaseEvent) -> u64 {
        self.lease_events.borrow().get(&event).copied().unwrap_or(0)
    }

    /// Moves the clock on.
    pub fn advance_ms(&self, by_ms: u64) {
        self.now_ms.set(self.now_ms.get() + by_ms);
    }

    /// The name of the stream from now on.
    pub fn set_id(&self, id: u32) {
        self.id.set(id);
    }

    /// Takes the streams that were cut off since the last time.
    pub fn take_ended(&self) -> Vec<StreamId> {
        self.ended.take()
    }

    /// From now on no call can be sent, or calls can be sent again.
    pub fn set_cluster_gone(&self, gone: bool) {
        self.cluster_is_gone.set(gone);
    }

    /// A new request on this proxy: its headers replace those of the last one.
    pub fn begin_request(&self, headers: &[(&str, &[u8])]) {
        *self.request.borrow_mut() = owned(headers);
        self.request_body.borrow_mut().clear();
        self.response.borrow_mut().clear();
        self.notes.borrow_mut().clear();
        self.trouble.set(ResponseTrouble::default());
        self.response_is_local.set(false);
    }

    /// What has come of the request's body.
    pub fn set_request_body(&self, body: &[u8]) {
        *self.request_body.borrow_mut() = body.into();
    }

    /// The upstream's response, or the proxy's own when `local`.
    pub fn begin_response(&self, headers: &[(&str, &[u8])], local: bool) {
        *self.response.borrow_mut() = owned(headers);
        self.response_is_local.set(local);
    }

    /// The part of the response's body that passes now.
    pub fn set_response_body(&self, part: &[u8]) {
        *self.response_body.borrow_mut() = part.into();
    }

    /// The request's body as the upstream would see it.
    #[must_use]
    pub fn upstream_body(&self) -> Vec<u8> {
        self.request_body.borrow().clone()
    }

    /// The part of the response's body as the client would see it.
    #[must_use]
    pub fn client_body(&self) -> Vec<u8> {
        self.response_body.borrow().clone()
    }

    /// What went wrong with the response.
    pub fn set_trouble(&self, trouble: ResponseTrouble) {
        self.trouble.set(trouble);
    }

    /// The client's address, as the proxy trusts it.
    pub fn set_client_address(&self, address: Option<&str>) {
        *self.client_address.borrow_mut() = address.map(Into::into);
    }

    /// Takes the names of what the gate asked for since the last time, in order: each is a call
    /// out of the VM in a real proxy.
    pub fn take_asked(&self) -> Vec<&'static str> {
        self.asked.take()
    }

    /// Takes the calls sent since the last time.
    pub fn take_calls(&self) -> Vec<SentCall> {
        self.calls.take()
    }

    /// From now on holds that may travel with others do.
    pub fn set_pools(&self) {
        self.pooled.replace(Some(Vec::new()));
    }

    /// Takes the holds that were to travel with others since the last time.
    pub fn take_pooled(&self) -> Vec<HoldId> {
        self.pooled.borrow_mut().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The request header as the upstream would see it.
    #[must_use]
    pub fn upstream_header(&self, name: &str) -> Option<Vec<u8>> {
        joined(&self.request.borrow(), name)
    }

    /// The response header as the client would see it, its values joined by commas.
    #[must_use]
    pub fn client_header(&self, name: &str) -> Option<String> {
        joined(&self.response.borrow(), name)
            .map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// How often a decision was counted.
    #[must_use]
    pub fn count_of(&self, decision: Decision) -> u64 {
        self.counts.borrow().get(&decision).copied().unwrap_or(0)
    }

    /// How often a decision was counted for a request in shadow, and for how much.
    #[must_use]
    pub fn shadow_of(&self, decision: Decision) -> (u64, u64) {
        let of = |counts: &RefCell<HashMap<Decision, u64>>| {
            counts.borrow().get(&decision).copied().unwrap_or(0)
        };
        (of(&self.shadow_counts), of(&self.shadow_msat))
    }

    /// How many postings were counted as lost.
    #[must_use]
    pub fn lost_postings(&self) -> u64 {
        self.lost_postings.get()
    }

    /// The lines written for the operator.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }

    /// The request's access-log field; empty when it was not filed.
    #[must_use]
    pub fn note_of(&self, field: LogField) -> String {
        self.notes.borrow().get(&field).cloned().unwrap_or_default()
    }

    fn asked(&self, name: &'static str) {
        self.asked.borrow_mut().push(name);
    }
}

impl Host for FakeHost {
    fn now_ms(&self) -> u64 {
        self.asked("now_ms");
        self.now_ms.get()
    }

    fn call(&self, call: &Call<'_>) -> Result<CallId, NotSent> {
        self.asked("call");
        if self.cluster_is_gone.get() {
            return Err(NotSent);
        }
        let id = CallId(self.calls_sent.get() + 1);
        self.calls_sent.set(id.0);
        self.calls.borrow_mut().push(SentCall {
            id,
            cluster: call.cluster.into(),
            headers: call.headers.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            body: call.body.unwrap_or_default().into(),
            timeout_ms: call.timeout_ms,
        });
        Ok(id)
    }

    fn pool(&self, hold: HoldId, _: &[u8]) -> Option<CallId> {
        self.pooled.borrow_mut().as_mut()?.push(hold);
        let id = CallId(self.calls_sent.get() + 1);
        self.calls_sent.set(id.0);
        Some(id)
    }

    fn count(&self, decision: Decision) {
        self.asked("count");
        *self.counts.borrow_mut().entry(decision).or_default() += 1;
    }

    fn count_shadow(&self, decision: Decision) {
        self.asked("count_shadow");
        *self.shadow_counts.borrow_mut().entry(decision).or_default() += 1;
    }

    fn count_shadow_msat(&self, decision: Decision, amount_msat: u64) {
        self.asked("count_shadow_msat");
        *self.shadow_msat.borrow_mut().entry(decision).or_default() += amount_msat;
    }

    fn record_call_ms(&self, _: CallKind, _: u64) {
        self.asked("record_call_ms");
    }

    fn count_lost_postings(&self, rows: u64) {
        self.asked("count_lost_postings");
        self.lost_postings.set(self.lost_postings.get() + rows);
    }

    fn count_lease(&self, event: LeaseEvent) {
        self.asked("count_lease");
        *self.lease_events.borrow_mut().entry(event).or_default() += 1;
    }

    fn shared(&self, key: &str) -> (Vec<u8>, u32) {
        self.asked("shared");
        self.shared.get(key)
    }

    fn set_shared(&self, key: &str, value: &[u8], version: u32) -> Result<(), CasMismatch> {
        self.asked("set_shared");
        self.shared.set(key, value, version)
    }

    fn end_stream(&self, stream: StreamId) {
        self.asked("end_stream");
        self.ended.borrow_mut().push(stream);
    }

    fn warn(&self, message: &str) {
        self.asked("warn");
        self.warnings.borrow_mut().push(message.into());
    }
}

impl Stream for FakeHost {
    fn id(&self) -> StreamId {
        StreamId(self.id.get())
    }

    fn request_headers(&self) -> HeaderBlock {
        self.asked("request_headers");
        self.request.borrow().iter().map(|(name, value)| (name, value)).collect()
    }

    fn request_body(&self, bytes: usize) -> Vec<u8> {
        self.asked("request_body");
        let body = self.request_body.borrow();
        body.get(..bytes).unwrap_or(&body).to_vec()
    }

    fn replace_request_body(&self, bytes: usize, text: &[u8]) {
        self.asked("replace_request_body");
        replace(&mut self.request_body.borrow_mut(), bytes, text);
    }

    fn set_request_header(&self, name: &str, value: Option<&[u8]>) {
        self.asked("set_request_header");
        set(&mut self.request.borrow_mut(), name, value);
    }

    fn add_request_header(&self, name: &str, value: &[u8]) {
        self.asked("add_request_header");
        let mut request = self.request.borrow_mut();
        assert!(request.iter().all(|(known, _)| known != name), "{name} is there already");
        request.push((name.into(), value.into()));
    }

    fn client_address(&self) -> Option<String> {
        self.asked("client_address");
        self.client_address.borrow().clone()
    }

    fn response_header(&self, name: &str) -> Option<Vec<u8>> {
        self.asked("response_header");
        joined(&self.response.borrow(), name)
    }

    fn set_response_header(&self, name: &str, value: Option<&[u8]>) {
        self.asked("set_response_header");
        set(&mut self.response.borrow_mut(), name, value);
    }

    fn add_response_header(&self, name: &str, value: &[u8]) {
        self.asked("add_response_header");
        self.response.borrow_mut().push((name.into(), value.into()));
    }

    fn response_body(&self, bytes: usize) -> Vec<u8> {
        self.asked("response_body");
        let part = self.response_body.borrow();
        part.get(..bytes).unwrap_or(&part).to_vec()
    }

    fn replace_response_body(&self, bytes: usize, text: &[u8]) {
        self.asked("replace_response_body");
        replace(&mut self.response_body.borrow_mut(), bytes, text);
    }

    fn response_trouble(&self) -> ResponseTrouble {
        self.asked("response_trouble");
        self.trouble.get()
    }

    fn response_is_local(&self) -> bool {
        self.asked("response_is_local");
        self.response_is_local.get()
    }

    fn note(&self, field: LogField, value: &str) {
        self.asked(field.name());
        self.notes.borrow_mut().insert(field, value.into());
    }
}

fn replace(body: &mut Vec<u8>, bytes: usize, text: &[u8]) {
    body.splice(..bytes.min(body.len()), text.iter().copied());
}

fn owned(headers: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn joined(headers: &[(String, Vec<u8>)], name: &str) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> =
        headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_slice()).collect();
    (!values.is_empty()).then(|| values.join(&b","[..]))
}

fn set(headers: &mut Vec<(String, Vec<u8>)>, name: &str, value: Option<&[u8]>) {
    headers.retain(|(key, _)| key != name);
    if let Some(value) = value {
        headers.push((name.into(), value.into()));
    }
}
