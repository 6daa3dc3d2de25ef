//! The gate's host, over the SDK's byte-safe calls.
//!
//! Never the SDK's `String` getters: they unwrap UTF-8, and one header byte 0xFF would kill the
//! VM. Traps of SDK 0.2.5: an unexpected host status panics inside it, so each call is made only
//! in the phase that allows it, and the headers of a failed call are never read.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use log::warn;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, MetricType};
use tollway_core::header_block::HeaderBlock;
use tollway_core::id::HoldId;
use tollway_gate::host::{
    CALL_REPLY_BYTES_MAX, CAS_ABSENT, Call, CallId, CallReply, CasMismatch, Host, LogField,
    NotSent, ResponseTrouble, Stream, StreamId,
};
use tollway_gate::metrics::{CallKind, Decision, LeaseEvent};

use crate::header_map;
use crate::turn::Turns;

/// The ids of the filter's metrics, in the order of the enums they count.
pub(crate) struct Metrics {
    decisions: [Option<u32>; Decision::ALL.len()],
    /// Requests that were paid for since the last tick: to raise a counter is a call out of the VM,
    /// and each of them would make it.
    paid: Cell<i64>,
    calls: [Option<u32>; CallKind::ALL.len()],
    leases: [Option<u32>; LeaseEvent::ALL.len()],
    lost_postings: Option<u32>,
    /// Where something is in shadow: what requests would have met.
    shadow: Vec<Option<u32>>,
    /// And what they would have cost.
    shadow_msat: Vec<Option<u32>>,
}

impl Metrics {
    /// Makes the metrics known to the proxy. The `key=value` parts of their names become labels
    /// where the proxy's `stats_tags` say so.
    pub(crate) fn define(shadow: bool) -> Self {
        let define = |kind, name: &str| hostcalls::define_metric(kind, name).ok();
        let shadowed = |name: &str| {
            let all = Decision::ALL.iter().take(if shadow { usize::MAX } else { 0 });
            let counters = all.map(|decision| {
                let name = format!("tollway_{name}.decision={}", decision.name());
                define(MetricType::Counter, &name)
            });
            counters.collect()
        };
        Self {
            paid: Cell::new(0),
            shadow: shadowed("shadow"),
            shadow_msat: shadowed("shadow_msat"),
            decisions: Decision::ALL.map(|decision| {
                let name = format!("tollway_requests.decision={}", decision.name());
                define(MetricType::Counter, &name)
            }),
            calls: CallKind::ALL.map(|kind| {
                let name = format!("tollway_call_ms.kind={}", kind.name());
                define(MetricType::Histogram, &name)
            }),
            leases: LeaseEvent::ALL.map(|event| {
                let name = format!("tollway_leases.event={}", event.name());
                define(MetricType::Counter, &name)
            }),
            lost_postings: define(MetricType::Counter, "tollway_postings_lost"),
        }
    }

    /// Counts what was paid for since the last tick.
    pub(crate) fn tick(&self) {
        match self.paid.take() {
            0 => {}
            paid => self.raise(Decision::Ok, paid),
        }
    }

    fn raise(&self, decision: Decision, by: i64) {
        if let Some(Some(id)) = self.decisions.get(decision as usize) {
            // A counter that cannot be raised is no reason to stop a request.
            let _ = hostcalls::increment_metric(*id, by);
        }
    }
}

/// What the line of a paid request has room in.
const LOG_LINE_BYTES: usize = 160;
/// The key of the line that the access log gets, `wasm.tollway` where Envoy is asked for it.
const LOG_LINE: &str = "tollway";

/// Envoy, or another proxy-wasm host, as the gate sees it. A clone is the same stream.
#[derive(Clone)]
pub(crate) struct EnvoyHost {
    context_id: u32,
    metrics: Rc<Metrics>,
    turns: Rc<Turns>,
    /// What was noted of the stream. To file each field by itself would be dear: every call out
    /// of the VM costs about as much as all that the gate computes.
    notes: Rc<RefCell<String>>,
}

impl EnvoyHost {
    /// For this context: a stream, or the root.
    pub(crate) fn new(context_id: u32, metrics: Rc<Metrics>, turns: Rc<Turns>) -> Self {
        Self { context_id, metrics, turns, notes: Rc::default() }
    }

    /// Has the root told when this turn ends.
    pub(crate) fn ask_for_turn_end(&self) {
        self.turns.ask_for_end();
    }

    /// Files what was noted of the stream, before Envoy writes its access log.
    pub(crate) fn file_notes(&self) {
        let _ = hostcalls::set_property(vec![LOG_LINE], Some(self.notes.borrow().as_bytes()));
    }
}

impl Host for EnvoyHost {
    fn now_ms(&self) -> u64 {
        hostcalls::get_current_time()
            .ok()
            .and_then(|now| now.duration_since(UNIX_EPOCH).ok())
            .and_then(|since| u64::try_from(since.as_millis()).ok())
            .unwrap_or(0)
    }

    fn call(&self, call: &Call<'_>) -> Result<CallId, NotSent> {
        let timeout = Duration::from_millis(call.timeout_ms);
        hostcalls::dispatch_http_call(
            call.cluster,
            call.headers.clone(),
            call.body,
            vec![],
            timeout,
        )
        .map(CallId)
        .map_err(|_| NotSent)
    }

    fn pool(&self, hold: HoldId, body: &[u8]) -> Option<CallId> {
        self.turns.take(hold, body)
    }

    fn count(&self, decision: Decision) {
        match decision {
            Decision::Ok => self.metrics.paid.update(|paid| paid.saturating_add(1)),
            other => self.metrics.raise(other, 1),
        }
    }

    fn count_shadow(&self, decision: Decision) {
        if let Some(Some(id)) = self.metrics.shadow.get(decision as usize) {
            let _ = hostcalls::increment_metric(*id, 1);
        }
    }

    fn count_shadow_msat(&self, decision: Decision, amount_msat: u64) {
        if let Some(Some(id)) = self.metrics.shadow_msat.get(decision as usize) {
            let amount = i64::try_from(amount_msat).unwrap_or(i64::MAX);
            let _ = hostcalls::increment_metric(*id, amount);
        }
    }

    fn record_call_ms(&self, kind: CallKind, elapsed_ms: u64) {
        if let Some(Some(id)) = self.metrics.calls.get(kind as usize) {
            let _ = hostcalls::record_metric(*id, elapsed_ms);
        }
    }

    fn count_lost_postings(&self, rows: u64) {
        if let Some(id) = self.metrics.lost_postings {
            let _ = hostcalls::increment_metric(id, i64::try_from(rows).unwrap_or(i64::MAX));
        }
    }

    fn count_lease(&self, event: LeaseEvent) {
        if let Some(Some(id)) = self.metrics.leases.get(event as usize) {
            let _ = hostcalls::increment_metric(*id, 1);
        }
    }

    fn shared(&self, key: &str) -> (Vec<u8>, u32) {
        let (value, version) = hostcalls::get_shared_data(key).unwrap_or_default();
        (value.unwrap_or_default(), version.unwrap_or(CAS_ABSENT))
    }

    fn set_shared(&self, key: &str, value: &[u8], version: u32) -> Result<(), CasMismatch> {
        hostcalls::set_shared_data(key, Some(value), Some(version)).map_err(|_| CasMismatch)
    }

    fn end_stream(&self, stream: StreamId) {
        // One that is gone has ended.
        if hostcalls::set_effective_context(stream.0).is_ok() {
            let _ = hostcalls::reset_http_response();
            let _ = hostcalls::set_effective_context(self.context_id);
        }
    }

    fn warn(&self, message: &str) {
        warn!("tollway: {message}");
    }
}

impl Stream for EnvoyHost {
    fn id(&self) -> StreamId {
        StreamId(self.context_id)
    }

    fn request_headers(&self) -> HeaderBlock {
        header_map::request_headers()
    }

    fn request_body(&self, bytes: usize) -> Vec<u8> {
        let whole = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, bytes);
        whole.ok().flatten().unwrap_or_default()
    }

    fn replace_request_body(&self, bytes: usize, text: &[u8]) {
        let _ = hostcalls::set_buffer(BufferType::HttpRequestBody, 0, bytes, text);
    }

    fn set_request_header(&self, name: &str, value: Option<&[u8]>) {
        let _ = hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, value);
    }

    fn add_request_header(&self, name: &str, value: &[u8]) {
        let _ = hostcalls::add_map_value_bytes(MapType::HttpRequestHeaders, name, value);
    }

    fn client_address(&self) -> Option<String> {
        let address = text(hostcalls::get_property(vec!["source", "address"]))?;
        let (ip, _port) = address.rsplit_once(':')?;
        Some(ip.trim_start_matches('[').trim_end_matches(']').to_owned())
    }

    fn response_header(&self, name: &str) -> Option<Vec<u8>> {
        hostcalls::get_map_value_bytes(MapType::HttpResponseHeaders, name).ok().flatten()
    }

    fn set_response_header(&self, name: &str, value: Option<&[u8]>) {
        let _ = hostcalls::set_map_value_bytes(MapType::HttpResponseHeaders, name, value);
    }

    fn add_response_header(&self, name: &str, value: &[u8]) {
        let _ = hostcalls::add_map_value_bytes(MapType::HttpResponseHeaders, name, value);
    }

    fn response_body(&self, bytes: usize) -> Vec<u8> {
        let part = hostcalls::get_buffer(BufferType::HttpResponseBody, 0, bytes);
        part.ok().flatten().unwrap_or_default()
    }

    fn replace_response_body(&self, bytes: usize, text: &[u8]) {
        let _ = hostcalls::set_buffer(BufferType::HttpResponseBody, 0, bytes, text);
    }

    fn response_trouble(&self) -> ResponseTrouble {
        let flags = hostcalls::get_property(vec!["response", "flags"])
            .ok()
            .flatten()
            .and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)))
            .unwrap_or(0);
        let any = |bits: &[u32]| bits.iter().any(|bit| flags >> bit & 1 == 1);
        ResponseTrouble {
            unreached: any(&flag::UNREACHED),
            reset: any(&flag::RESET),
            timeout: any(&flag::TIMEOUT),
        }
    }

    fn response_is_local(&self) -> bool {
        // A host that does not tell is given the benefit of the doubt: the status decides.
        text(hostcalls::get_property(vec!["response", "code_details"]))
            .is_some_and(|details| !matches!(details.as_str(), "via_upstream" | "direct_response"))
    }

    fn note(&self, field: LogField, value: &str) {
        let mut notes = self.notes.borrow_mut();
        if notes.is_empty() {
            // One growth is enough for a paid request.
            notes.reserve(LOG_LINE_BYTES);
        } else {
            notes.push(' ');
        }
        for part in [field.name(), "=", value] {
            notes.push_str(part);
        }
    }
}

/// Bits of Envoy's response flags (`CoreResponseFlag` in its stream info).
mod flag {
    /// No healthy upstream, connection failure, overflow, no route, no cluster, DNS failure.
    pub(super) const UNREACHED: [u32; 6] = [1, 5, 7, 8, 24, 26];
    /// Local reset, remote reset, connection termination, retry limit, protocol error.
    pub(super) const RESET: [u32; 5] = [3, 4, 6, 15, 23];
    /// Upstream request timeout, idle timeout, stream duration, request duration.
    pub(super) const TIMEOUT: [u32; 4] = [2, 16, 19, 22];
}

/// Reads the reply to a call, inside the callback that announces it.
pub(crate) fn read_call_reply(headers: usize, body_bytes: usize) -> CallReply {
    // Without headers there was no reply, and asking for one would kill the VM.
    if headers == 0 {
        return CallReply { status: None, body: Vec::new() };
    }
    let status = hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, ":status")
        .ok()
        .flatten()
        .and_then(|value| core::str::from_utf8(&value).ok()?.parse().ok());
    let body = match body_bytes.min(CALL_REPLY_BYTES_MAX) {
        0 => None,
        bytes => hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, bytes).ok().flatten(),
    };
    CallReply { status, body: body.unwrap_or_default() }
}

fn text<E>(property: Result<Option<Vec<u8>>, E>) -> Option<String> {
    property.ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok())
}
