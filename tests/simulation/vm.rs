//! A VM of the proxy: one gate, and what waits for it.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::Value;
use tollway_gate::config::Config;
use tollway_gate::gate::Gate;
use tollway_gate::host::Host;
use tollway_testkit::fake_host::FakeHost;

use crate::companion::GATE_TOKEN;

/// Who sent a call and waits for its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caller {
    Gate(usize),
    Request(usize),
    /// Somebody who asks at the ledger's door, as other gates do.
    Tenant,
}

/// One life of a gate.
pub(crate) struct Vm {
    /// No two lives have the same.
    pub(crate) life: u32,
    pub(crate) gate: Rc<Gate>,
    pub(crate) host: FakeHost,
    /// Calls whose reply the gate still waits for.
    pub(crate) waiting: BTreeSet<(Caller, u32)>,
}

impl Vm {
    pub(crate) fn start(config: &Value, seed: u64, life: u32, now_ms: u64) -> Self {
        let env = |name: &str| (name == "TOLLWAY_GATE_TOKEN").then(|| GATE_TOKEN.to_owned());
        let config = Config::parse(config.to_string().as_bytes(), &env).unwrap();
        Self {
            life,
            gate: Rc::new(Gate::new(config, format!("{seed} {life}").as_bytes())),
            host: FakeHost::at(now_ms),
            waiting: BTreeSet::new(),
        }
    }
}

pub(crate) fn set_clock(host: &FakeHost, now_ms: u64) {
    host.advance_ms(now_ms.saturating_sub(host.now_ms()));
}
