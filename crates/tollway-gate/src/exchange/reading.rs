//! A request whose price hangs on its body: held back until the body is here, up to a cap.
//!
//! Nothing of it reaches the upstream meanwhile, and none of it is changed. What is longer than
//! the cap, or cannot be read in one way only, is refused: it never gets a default price.

use tollway_core::pricing::BodyNeed;

use super::{Asked, Exchange, State, Step};
use crate::host::Stream;
use crate::metrics::Decision;
use crate::reply;

/// Waits for the end of the request's body.
#[derive(Debug)]
pub(super) struct Reading {
    asked: Asked,
    /// How much of the body is here.
    bytes: usize,
}

impl Exchange {
    /// Prices a request by a rule: at once, or when its body is here. `end` says that it has none.
    pub(super) fn price_by_rule(&mut self, stream: &impl Stream, asked: Asked, end: bool) -> Step {
        let announced = asked
            .headers
            .find("content-length")
            .and_then(|value| core::str::from_utf8(value).ok()?.parse::<u64>().ok());
        match (asked.route.price.body_need(), announced) {
            (BodyNeed::Nothing, _) => self.quote(stream, asked, &[], 0),
            _ if end => self.quote(stream, asked, &[], 0),
            // The proxy holds the client to what it announced.
            (BodyNeed::Length, Some(bytes)) => self.quote(stream, asked, &[], bytes),
            // Nobody sends in vain what is going to be too long.
            _ => {
                let bytes = usize::try_from(announced.unwrap_or(0)).unwrap_or(usize::MAX);
                self.read_on(stream, Reading { asked, bytes: 0 }, bytes)
            }
        }
    }

    /// A part of the request's body is here, `bytes` in all; `end` says that it is the last.
    /// `None` for a request that is not waited for because of its body.
    pub fn request_body(&mut self, stream: &impl Stream, bytes: usize, end: bool) -> Option<Step> {
        let mut reading = self.take_reading()?;
        reading.bytes = bytes;
        let long = bytes > reading.asked.route.body_bytes_max;
        Some(if end && !long {
            self.body_is_here(stream, reading)
        } else {
            self.read_on(stream, reading, bytes)
        })
    }

    /// The request's trailers are here: its body was complete before.
    pub fn request_trailers(&mut self, stream: &impl Stream) -> Option<Step> {
        let reading = self.take_reading()?;
        Some(self.body_is_here(stream, reading))
    }

    fn take_reading(&mut self) -> Option<Reading> {
        match core::mem::replace(&mut self.state, State::Undecided) {
            State::Reading(reading) => Some(reading),
            state => {
                self.state = state;
                None
            }
        }
    }

    /// Waits for more of a body that is to have `bytes`, or more.
    fn read_on(&mut self, stream: &impl Stream, reading: Reading, bytes: usize) -> Step {
        let bytes_max = reading.asked.route.body_bytes_max;
        if bytes > bytes_max {
            let answer = reply::body_too_long(bytes_max, reading.asked.grpc);
            return self.answer(stream, Decision::Denied, answer);
        }
        self.state = State::Reading(reading);
        Step::Wait
    }

    fn body_is_here(&mut self, stream: &impl Stream, reading: Reading) -> Step {
        let Reading { asked, bytes } = reading;
        let body = if bytes == 0 { Vec::new() } else { stream.request_body(bytes) };
        if body.len() != bytes {
            // A host that does not hand out what it announced leaves the price open.
            let answer = reply::unavailable(asked.grpc);
            return self.answer(stream, Decision::Error, answer);
        }
        self.quote(stream, asked, &body, bytes as u64)
    }
}
