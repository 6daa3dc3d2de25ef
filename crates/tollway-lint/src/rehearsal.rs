//! What a request would meet: the filter's own request logic, played through without anybody.

use std::rc::Rc;

use serde_json::{Value, json};
use tollway_core::header_block::HeaderBlock;
use tollway_core::pricing::RequestHead;
use tollway_core::wire;
use tollway_gate::config::{Config, ConfigError, Mode, Route, Unmatched};
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::gate::Gate;
use tollway_gate::host::{CallReply, LogField, Reply};

use crate::proxy::Proxy;

/// An exchange asks for a free request, then for an invoice; more calls than these it never sends.
const CALLS_MAX: usize = 8;

/// A request without a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The host, with or without a port.
    pub host: String,
    /// The path and the query, as the filter gets them: after Envoy's normalisation.
    pub target: String,
    /// The other headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; empty where there is none.
    pub body: Vec<u8>,
}

impl Asked {
    pub(crate) fn list(&self) -> HeaderBlock {
        let pseudo =
            [(":method", &self.method), (":authority", &self.host), (":path", &self.target)];
        let pseudo = pseudo.iter().map(|(name, value)| (*name, value.as_str()));
        let others = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        pseudo.chain(others).collect()
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// What becomes of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meets {
    /// It goes to the upstream unpaid.
    Free,
    /// It is answered 402, with this body: the challenge, its invoice and token made up.
    Payment(Value),
    /// It is answered otherwise.
    Answer {
        /// The status.
        status: u16,
        /// The body, as text.
        body: String,
    },
}

/// A request, played through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// What becomes of it.
    pub meets: Meets,
    /// The route that decides; `unmatched` where none matches and that has a price.
    pub route: Option<String>,
    /// The service a payment is for, where one is needed.
    pub service: Option<String>,
    /// What a payment buys: `credits`, `single_use` or a time.
    pub buys: Option<String>,
    /// Whether the client's free requests are used up first.
    pub free_tier: bool,
    /// What the configuration says of the request, for a person: the conditions that hold.
    pub because: Vec<String>,
    /// The routes that match too and that the one above goes before, in the order of the file.
    pub passed_over: Vec<String>,
}

/// Why a request could not be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RehearsalError {
    /// The filter does not take the configuration.
    #[error("{0}")]
    Config(ConfigError),
    /// The gate asked for something that a rehearsal has no answer to.
    #[error("expected the filter to decide, but it waits for an answer to {0}")]
    Undecided(String),
}

/// Reads a configuration as the filter would, with any value for the gate token.
pub(crate) fn config(filter: &Value) -> Result<Config, ConfigError> {
    Config::parse(filter.to_string().as_bytes(), &|_| Some("0123456789abcdef".to_owned()))
}

/// Plays a request without a credential through this configuration.
///
/// # Errors
/// [`RehearsalError`], for a configuration that the filter refuses above all.
pub fn rehearse(filter: &Value, asked: &Asked) -> Result<Rehearsal, RehearsalError> {
    let config = config(filter).map_err(RehearsalError::Config)?;
    let route = route_of(&config, asked);
    let proxy = Proxy::new(asked.list(), asked.body.clone());
    let gate = Rc::new(Gate::new(config, b"a rehearsal"));
    gate.tick(&proxy);
    if let Some(call) = proxy.take_sent() {
        gate.call_answered(&proxy, call.id, &answer(&call.path, &call.body).unwrap_or(LOST));
    }
    let mut exchange = Exchange::new(gate);
    let mut step = exchange.request_headers(&proxy, asked.body.is_empty());
    if step == Step::Wait && !asked.body.is_empty() {
        // Only a request whose price hangs on its body waits for it.
        step = exchange.request_body(&proxy, asked.body.len(), true).unwrap_or(step);
    }
    let mut free_tier = false;
    for _ in 0..CALLS_MAX {
        let Some(call) = proxy.take_sent().filter(|_| step == Step::Wait) else { break };
        free_tier |= call.path == wire::ALLOWANCES_PATH;
        let reply = answer(&call.path, &call.body)
            .ok_or_else(|| RehearsalError::Undecided(unanswered(&call.path)))?;
        step = exchange.call_answered(&proxy, call.id, &reply);
    }
    let meets = match step {
        Step::Continue | Step::Respond => Meets::Free,
        Step::Answer(reply) => meets(reply),
        Step::Wait => return Err(RehearsalError::Undecided("a part of the request".to_owned())),
    };
    let name = proxy.note_of(LogField::Route);
    let paid = route.filter(|_| matches!(meets, Meets::Payment(_)));
    Ok(Rehearsal {
        because: name.as_deref().map_or_else(Vec::new, |name| conditions(filter, name)),
        passed_over: passed_over(filter, asked, name.as_deref()),
        service: paid.as_ref().map(|route| route.service.name.clone()),
        buys: paid.as_ref().map(|route| buys(route.mode)),
        route: name,
        free_tier,
        meets,
    })
}

/// No answer at all.
const LOST: CallReply = CallReply { status: None, body: Vec::new() };

/// What tollwayd would say, made up; `None` for what a request without a credential never asks.
fn answer(path: &str, body: &[u8]) -> Option<CallReply> {
    let digits = "07".repeat(32);
    let body = match path {
        wire::KEYRING_PATH => json!({
            "current": 1, "keys": [{"id": 1, "secret": digits}], "seed": digits
        }),
        wire::ALLOWANCES_PATH => json!({"outcome": "exhausted", "resets_at": 1_800_000_000}),
        wire::CHALLENGES_PATH => {
            let asked: Value = serde_json::from_slice(body).ok()?;
            json!({
                "outcome": "invoice", "payment_hash": digits, "invoice": "lnbcrt1rehearsal",
                "amount_msat": asked.get("amount_msat")?, "credit_msat": asked.get("credit_msat")?,
                "expires_at": 1_800_000_600
            })
        }
        _ => return None,
    };
    Some(CallReply { status: Some(200), body: body.to_string().into_bytes() })
}

fn unanswered(path: &str) -> String {
    if path == wire::PRICES_PATH {
        "the price webhook, which alone knows what this route costs".to_owned()
    } else {
        path.to_owned()
    }
}

fn meets(reply: Reply) -> Meets {
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let header = |name| reply.headers.iter().find(|(known, _)| *known == name);
    match serde_json::from_str(&text) {
        Ok(body) if reply.status == 402 => Meets::Payment(body),
        // To HEAD the price alone is said.
        _ if reply.status == 402 => {
            let price = header("x-toll-price-msat").and_then(|(_, text)| text.parse::<u64>().ok());
            Meets::Payment(json!({"priceMsat": price}))
        }
        _ => Meets::Answer { status: reply.status, body: text },
    }
}

fn buys(mode: Mode) -> String {
    match mode {
        Mode::Credits => "credit".to_owned(),
        Mode::SingleUse => "one request".to_owned(),
        Mode::Session { duration_s } => format!("{duration_s} s"),
    }
}

/// The route that the price table finds, or the one for all others.
pub(crate) fn route_of(config: &Config, asked: &Asked) -> Option<Rc<Route>> {
    let headers = asked.list();
    let head = RequestHead {
        host: asked.host.as_bytes(),
        path: asked.path().as_bytes(),
        method: asked.method.as_bytes(),
        headers: &headers,
    };
    match (config.routes.find(&head), &config.unmatched) {
        (Some(route), _) | (None, Unmatched::Route(route)) => Some(Rc::clone(route)),
        (None, Unmatched::Deny) => None,
    }
}

/// The routes of the file, by name.
pub(crate) fn routes(filter: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let routes = filter.get("routes").and_then(Value::as_array);
    let named = |route| Some((Value::get(route, "name")?.as_str()?, route));
    routes.into_iter().flatten().filter_map(named)
}

/// The same configuration with this route alone, and nothing for the others.
pub(crate) fn alone(filter: &Value, route: &Value) -> Option<Config> {
    let mut single = filter.clone();
    *single.get_mut("routes")? = json!([route]);
    *single.get_mut("unmatched")? = json!("deny");
    config(&single).ok()
}

fn conditions(filter: &Value, name: &str) -> Vec<String> {
    let matched = routes(filter).find(|(known, _)| *known == name);
    let rule = matched.and_then(|(_, route)| route.get("match")?.as_object());
    match rule {
        Some(rule) => rule.iter().map(|(field, value)| format!("{field} {value}")).collect(),
        None => vec!["no route matches, and \"unmatched\" decides".to_owned()],
    }
}

fn passed_over(filter: &Value, asked: &Asked, winner: Option<&str>) -> Vec<String> {
    routes(filter)
        .filter(|(name, _)| Some(*name) != winner)
        .filter(|(_, route)| {
            alone(filter, route).is_some_and(|config| route_of(&config, asked).is_some())
        })
        .map(|(name, _)| name.to_owned())
        .collect()
}
