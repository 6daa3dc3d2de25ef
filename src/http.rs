//! One HTTP stream: each event goes to the gate's exchange, and its step comes back.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, GrpcStatusCode};
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::gate::Gate;
use tollway_gate::host::{CallId, GrpcStatus, Reply};

use crate::envoy::{EnvoyHost, read_call_reply};

/// An HTTP stream.
pub(crate) struct Request {
    exchange: Exchange,
    host: EnvoyHost,
}

impl Request {
    pub(crate) fn new(gate: Rc<Gate>, host: EnvoyHost) -> Self {
        Self { exchange: Exchange::new(gate), host }
    }

    /// Pause from every request callback until the request may go on: a single Continue, from a
    /// body or trailer callback too, would release the headers to the upstream.
    fn hold_back(&self) -> Action {
        if self.exchange.is_held_back() { Action::Pause } else { Action::Continue }
    }

    fn send(&self, reply: &Reply) {
        let headers: Vec<(&str, &str)> =
            reply.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        match reply.grpc {
            Some((status, message)) => {
                let metadata =
                    headers.into_iter().map(|(name, value)| (name, value.as_bytes())).collect();
                self.send_grpc_response(grpc_code(status), Some(message), metadata);
            }
            None => {
                let body = (!reply.body.is_empty()).then_some(reply.body.as_slice());
                self.send_http_response(u32::from(reply.status), headers, body);
            }
        }
    }
}

impl Context for Request {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        let reply = read_call_reply(headers, body);
        match self.exchange.call_answered(&self.host, CallId(token), &reply) {
            Step::Continue => self.resume_http_request(),
            Step::Wait => {}
            Step::Answer(reply) => self.send(&reply),
        }
    }
}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.exchange.request_headers(&self.host) {
            Step::Continue => Action::Continue,
            Step::Wait => Action::Pause,
            Step::Answer(reply) => {
                self.send(&reply);
                Action::Pause
            }
        }
    }

    fn on_http_request_body(&mut self, _: usize, _: bool) -> Action {
        self.hold_back()
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        self.hold_back()
    }

    fn on_http_response_headers(&mut self, _: usize, end: bool) -> Action {
        self.exchange.response_headers(&self.host);
        if end {
            self.exchange.response_body(&self.host, 0, true);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, bytes: usize, end: bool) -> Action {
        self.exchange.response_body(&self.host, bytes, end);
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        self.exchange.response_trailers();
        Action::Continue
    }

    fn on_log(&mut self) {
        self.exchange.finished(&self.host);
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
