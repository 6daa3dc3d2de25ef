//! One HTTP stream: each event goes to the gate's exchange, and its step comes back.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, GrpcStatusCode};
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::gate::Gate;
use tollway_gate::host::{CallId, GrpcStatus, Reply};

use crate::envoy::{EnvoyHost, read_call_reply};
use crate::parking::{Parking, Waiting};

/// An HTTP stream.
pub(crate) struct Request {
    context_id: u32,
    /// Shared with the parking, which acts for a stream that waits.
    exchange: Rc<RefCell<Exchange>>,
    gate: Rc<Gate>,
    host: EnvoyHost,
    parking: Rc<Parking>,
}

impl Request {
    pub(crate) fn new(
        context_id: u32,
        gate: Rc<Gate>,
        host: EnvoyHost,
        parking: Rc<Parking>,
    ) -> Self {
        let exchange = Rc::new(RefCell::new(Exchange::new(Rc::clone(&gate))));
        Self { context_id, exchange, gate, host, parking }
    }

    /// Pause from every request callback until the request may go on: a single Continue, from a
    /// body or trailer callback too, would release the headers to the upstream.
    fn hold_back(&self) -> Action {
        if self.exchange.borrow().is_held_back() { Action::Pause } else { Action::Continue }
    }

    /// What the proxy is to do after a callback of the request.
    fn act(&self, step: Step) -> Action {
        match step {
            Step::Continue | Step::Respond => return Action::Continue,
            Step::Wait => self.wait(),
            Step::Answer(reply) => send(&reply),
        }
        Action::Pause
    }

    fn wait(&self) {
        let exchange = Rc::clone(&self.exchange);
        let host = self.host.clone();
        // The reply to a call of its own comes to the stream.
        let _own = self.parking.park(Waiting { context_id: self.context_id, host, exchange });
    }
}

/// Sends the gate's own answer to the stream that the host calls of the moment are about.
pub(crate) fn send(reply: &Reply) {
    let headers: Vec<(&str, &str)> =
        reply.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // The SDK knows no other outcome than success.
    let _ = match reply.grpc {
        Some((status, message)) => {
            let metadata =
                headers.into_iter().map(|(name, value)| (name, value.as_bytes())).collect();
            hostcalls::send_grpc_response(grpc_code(status), Some(message), metadata)
        }
        None => {
            let body = (!reply.body.is_empty()).then_some(reply.body.as_slice());
            hostcalls::send_http_response(u32::from(reply.status), headers, body)
        }
    };
}

impl Context for Request {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        let reply = read_call_reply(headers, body);
        let step = self.exchange.borrow_mut().call_answered(&self.host, CallId(token), &reply);
        match step {
            Step::Continue => self.resume_http_request(),
            Step::Respond => self.resume_http_response(),
            Step::Wait => self.wait(),
            Step::Answer(reply) => send(&reply),
        }
        self.parking.wake_decided(&self.gate, false);
    }
}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _: usize, end: bool) -> Action {
        let step = self.exchange.borrow_mut().request_headers(&self.host, end);
        self.act(step)
    }

    fn on_http_request_body(&mut self, bytes: usize, end: bool) -> Action {
        let step = self.exchange.borrow_mut().request_body(&self.host, bytes, end);
        step.map_or_else(|| self.hold_back(), |step| self.act(step))
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let step = self.exchange.borrow_mut().request_trailers(&self.host);
        step.map_or_else(|| self.hold_back(), |step| self.act(step))
    }

    fn on_http_response_headers(&mut self, _: usize, end: bool) -> Action {
        let mut exchange = self.exchange.borrow_mut();
        let step = exchange.response_headers(&self.host);
        if end {
            exchange.response_body(&self.host, 0, true);
        }
        drop(exchange);
        self.act(step)
    }

    fn on_http_response_body(&mut self, bytes: usize, end: bool) -> Action {
        self.exchange.borrow_mut().response_body(&self.host, bytes, end);
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        self.exchange.borrow_mut().response_trailers();
        Action::Continue
    }

    fn on_log(&mut self) {
        let mut exchange = self.exchange.borrow_mut();
        if exchange.parked_for().is_some() {
            self.parking.leave(self.context_id);
        }
        exchange.finished(&self.host);
        drop(exchange);
        self.host.file_notes();
        if self.gate.has_full_report() {
            self.host.ask_for_turn_end();
        }
    }
}

const fn grpc_code(status: GrpcStatus) -> GrpcStatusCode {
    match status {
        GrpcStatus::InvalidArgument => GrpcStatusCode::InvalidArgument,
        GrpcStatus::PermissionDenied => GrpcStatusCode::PermissionDenied,
        GrpcStatus::ResourceExhausted => GrpcStatusCode::ResourceExhausted,
        GrpcStatus::Aborted => GrpcStatusCode::Aborted,
        GrpcStatus::Internal => GrpcStatusCode::Internal,
        GrpcStatus::Unavailable => GrpcStatusCode::Unavailable,
    }
}
