//! Flood control for challenges: token buckets in memory, constant work per request.
//!
//! Buckets of clients that have not asked for a while are full again and are forgotten: there
//! are two generations of them, and the older one is dropped when the younger one is full or
//! old. A flood of addresses therefore costs a bounded amount of memory and never slows down.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

/// How many challenges there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FloodLimits {
    /// Challenges of one client per minute.
    pub per_client_per_minute: u32,
    /// Challenges of one client at once, after a rest.
    pub per_client_burst: u32,
    /// Invoices of one client that wait for their payment.
    pub open_per_client: u32,
    /// Challenges of all clients together per second.
    pub all_per_second: u32,
}

impl Default for FloodLimits {
    fn default() -> Self {
        Self {
            per_client_per_minute: 60,
            per_client_burst: 60,
            open_per_client: 100,
            all_per_second: 500,
        }
    }
}

/// Clients of one generation.
const CLIENTS_MAX: usize = 50_000;
/// The parts that a token is counted in: one refills per millisecond and unit of a rate.
const TOKEN: u64 = 60_000;

/// The buckets.
#[derive(Debug)]
pub(crate) struct Flood {
    limits: FloodLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    young: HashMap<[u8; 32], Bucket>,
    old: HashMap<[u8; 32], Bucket>,
    young_since_ms: u64,
    all: Bucket,
}

/// Parts of tokens, as of a moment.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    parts: u64,
    at_ms: u64,
}

impl Bucket {
    /// Takes a token, or says in how many ms there is one.
    fn take(&mut self, now_ms: u64, per_minute: u64, burst: u64) -> Result<(), u64> {
        let refilled = now_ms.saturating_sub(self.at_ms).saturating_mul(per_minute);
        self.parts = self.parts.saturating_add(refilled).min(burst.saturating_mul(TOKEN));
        self.at_ms = now_ms;
        match self.parts.checked_sub(TOKEN) {
            Some(rest) => {
                self.parts = rest;
                Ok(())
            }
            None => Err((TOKEN - self.parts).div_ceil(per_minute.max(1))),
        }
    }
}

impl Flood {
    pub(crate) fn new(limits: FloodLimits, now_ms: u64) -> Self {
        let all = Bucket { parts: u64::MAX, at_ms: now_ms };
        let (young, old) = (HashMap::new(), HashMap::new());
        Self { limits, state: Mutex::new(State { young, old, young_since_ms: now_ms, all }) }
    }

    pub(crate) fn open_per_client(&self) -> u32 {
        self.limits.open_per_client
    }

    /// Lets a challenge pass, or says in how many seconds to come back. The client is judged
    /// before all together, so that one who is limited takes nothing from the others.
    pub(crate) fn admit(&self, client: Option<&[u8; 32]>, now_ms: u64) -> Result<(), u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = state.admit(&self.limits, client, now_ms);
        result.map_err(|wait_ms| wait_ms.div_ceil(1_000).max(1))
    }
}

impl State {
    fn admit(
        &mut self,
        limits: &FloodLimits,
        client: Option<&[u8; 32]>,
        now_ms: u64,
    ) -> Result<(), u64> {
        if let Some(client) = client {
            let per_minute = u64::from(limits.per_client_per_minute);
            let burst = u64::from(limits.per_client_burst);
            let full_in_ms = burst.saturating_mul(TOKEN) / per_minute.max(1);
            self.turn(now_ms, full_in_ms);
            let full = Bucket { parts: u64::MAX, at_ms: now_ms };
            let before = self.young.get(client).or_else(|| self.old.get(client));
            let mut bucket = before.copied().unwrap_or(full);
            let taken = bucket.take(now_ms, per_minute, burst);
            self.young.insert(*client, bucket);
            taken?;
        }
        let per_second = u64::from(limits.all_per_second);
        self.all.take(now_ms, per_second.saturating_mul(60), per_second)
    }

    /// Drops the older generation once everybody in it could be full again, or for space.
    fn turn(&mut self, now_ms: u64, full_in_ms: u64) {
        let aged = now_ms.saturating_sub(self.young_since_ms) > full_in_ms;
        if aged || self.young.len() >= CLIENTS_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_since_ms = now_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FloodLimits = FloodLimits {
        per_client_per_minute: 6,
        per_client_burst: 3,
        open_per_client: 10,
        all_per_second: 100,
    };

    #[test]
    fn a_client_has_a_burst_and_then_its_rate() {
        let flood = Flood::new(LIMITS, 0);
        let client = Some(&[1; 32]);
        for _ in 0..3 {
            assert_eq!(flood.admit(client, 0), Ok(()));
        }
        assert_eq!(flood.admit(client, 0), Err(10));
        assert_eq!(flood.admit(client, 9_000), Err(1));
        assert_eq!(flood.admit(client, 10_000), Ok(()));
        assert_eq!(flood.admit(client, 10_000), Err(10));
        assert_eq!(flood.admit(Some(&[2; 32]), 10_000), Ok(()), "another client is another");
        // A clock that leaps back gives nothing and breaks nothing.
        assert_eq!(flood.admit(client, 0), Err(10));
    }

    #[test]
    fn all_together_are_bounded_and_a_limited_client_takes_nothing_from_them() {
        let flood = Flood::new(LIMITS, 0);
        for _ in 0..1_000 {
            let _ = flood.admit(Some(&[1; 32]), 0);
        }
        let admitted = (0..1_000).filter(|_| flood.admit(None, 0).is_ok()).count();
        assert_eq!(admitted, 97);
        assert_eq!(flood.admit(None, 10), Ok(()));
    }

    #[test]
    fn a_flood_of_clients_costs_bounded_memory() {
        let flood = Flood::new(LIMITS, 0);
        for number in 0..300_000_u64 {
            let mut client = [0; 32];
            client[..8].copy_from_slice(&number.to_be_bytes());
            let _ = flood.admit(Some(&client), number / 1_000);
        }
        let state = flood.state.lock().unwrap();
        assert!(state.young.len() + state.old.len() <= 2 * CLIENTS_MAX);
    }
}
