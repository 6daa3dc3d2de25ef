//! The root context: one per VM and configuration. Reads the configuration, keeps the gate, and
//! drives the work between requests.

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use log::{error, info};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};
use tollway_gate::config::Config;
use tollway_gate::gate::Gate;
use tollway_gate::host::CallId;

use crate::envoy::{EnvoyHost, Metrics, read_call_reply};
use crate::http::Request;
use crate::parking::Parking;
use crate::turn::Turns;

/// Registers the filter with the SDK.
pub(crate) fn install() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|context_id| Box::new(Root { context_id, running: None }));
}

/// The root context.
struct Root {
    context_id: u32,
    /// What a good configuration set going.
    running: Option<Running>,
}

struct Running {
    context_id: u32,
    gate: Rc<Gate>,
    metrics: Rc<Metrics>,
    turns: Rc<Turns>,
    parking: Rc<Parking>,
}

impl Running {
    fn host(&self) -> EnvoyHost {
        EnvoyHost::new(self.context_id, Rc::clone(&self.metrics), Rc::clone(&self.turns))
    }

    /// Sends what waited for the end of the turn.
    fn send_holds(&self) {
        let unsent = self.turns.holds.send(&self.host(), &self.gate.config().tollwayd);
        self.parking.deliver(unsent);
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        if let Some(running) = &self.running {
            let reply = read_call_reply(headers, body);
            let (host, call) = (running.host(), CallId(token));
            let to = &running.gate.config().tollwayd;
            if let Some(answered) = running.turns.holds.answered(&host, to, call, &reply) {
                running.parking.deliver(answered);
            } else {
                running.gate.call_answered(&host, call, &reply);
                running.parking.answered(call, &reply);
            }
            running.parking.wake_decided(&running.gate, true);
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let text = self.get_plugin_configuration().unwrap_or_default();
        let config = match Config::parse(&text, &|name| std::env::var(name).ok()) {
            Ok(config) => config,
            Err(fault) => {
                error!("tollway: the filter's configuration is refused: {fault}");
                return false;
            }
        };
        info!(
            "tollway {} starts; tollwayd is called at cluster {:?}",
            env!("CARGO_PKG_VERSION"),
            config.tollwayd.cluster,
        );
        self.set_tick_period(Duration::from_millis(config.tick_ms));
        let gate = Rc::new(Gate::new(config, &host_seed(self.context_id)));
        let metrics = Rc::new(Metrics::define(gate.config().has_shadow));
        let context_id = self.context_id;
        let turns = Rc::new(Turns::watch(context_id));
        let parking = Rc::new(Parking::new(Rc::clone(&turns)));
        let running = Running { context_id, gate, metrics, turns, parking };
        running.gate.tick(&running.host());
        self.running = Some(running);
        true
    }

    fn on_queue_ready(&mut self, _: u32) {
        if let Some(running) = &self.running {
            running.turns.ended();
            running.send_holds();
            running.parking.wake_decided(&running.gate, true);
            if running.gate.has_full_report() {
                let _ = hostcalls::set_effective_context(self.context_id);
                running.gate.report_full(&running.host());
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(running) = &self.running {
            running.metrics.tick();
            running.turns.ticked();
            running.send_holds();
            running.parking.wake_all(&running.gate);
            // The streams that went on are done with; what follows is the root's own.
            let _ = hostcalls::set_effective_context(self.context_id);
            running.gate.tick(&running.host());
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        let running = self.running.as_ref()?;
        let (gate, parking) = (Rc::clone(&running.gate), Rc::clone(&running.parking));
        let turns = Rc::clone(&running.turns);
        let host = EnvoyHost::new(context_id, Rc::clone(&running.metrics), turns);
        Some(Box::new(Request::new(context_id, gate, host, parking)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// What randomness the standard library can give without a package: its hash maps are keyed by
/// the host's generator. `tollwayd` adds 32 bytes of its own before any id is minted.
fn host_seed(context_id: u32) -> Vec<u8> {
    (0..4_u32).flat_map(|n| RandomState::new().hash_one((context_id, n)).to_be_bytes()).collect()
}
