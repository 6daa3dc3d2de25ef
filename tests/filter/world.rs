//! A gate on a fake host, with the test in tollwayd's place.

use std::rc::Rc;

use serde_json::{Value, json};
use tollway_core::caveat::TIER_CREDITS;
use tollway_core::challenge::{Challenge, ChallengeTerms};
use tollway_core::keyring::Keyring;
use tollway_core::macaroon::Macaroon;
use tollway_core::payment::Preimage;
use tollway_gate::config::Config;
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::gate::Gate;
use tollway_gate::host::{CallReply, Reply};
use tollway_testkit::fake_host::{FakeHost, SentCall};

/// Where every test's clock starts: Unix time in milliseconds.
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;
pub(crate) const NOW_S: u64 = NOW_MS / 1_000;
/// A canary: it must never show up in a log or an answer.
pub(crate) const GATE_TOKEN: &str = "canary-gate-token-0123456789";
pub(crate) const INVOICE: &str = "lnbcrt210n1qqqqtest";

/// The preimage that pays for everything here.
pub(crate) fn preimage() -> Preimage {
    Preimage::from_bytes([0x42; 32])
}

/// The configuration of most tests.
pub(crate) fn config() -> Value {
    json!({
        "tollwayd": {"cluster": "tollwayd", "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": [
            {"name": "demo", "purchase": {"default_sats": 20}},
            {"name": "other"}
        ],
        "routes": [
            {"name": "joke", "service": "demo", "match": {"path": "/api/joke"}, "price_sats": 5,
             "description": "a joke"},
            {"name": "dear", "service": "demo", "match": {"path": "/api/dear"},
             "price_sats": 50},
            {"name": "strict", "service": "demo", "match": {"path": "/api/strict"},
             "price_sats": 5, "refund_on": []},
            {"name": "odd", "service": "other", "match": {"path": "/api/odd"},
             "price_msat": 1500},
            {"name": "home", "service": "demo", "match": {"path": "/"}, "free": true}
        ],
        "unmatched": "deny"
    })
}

pub(crate) struct World {
    pub(crate) host: FakeHost,
    pub(crate) gate: Rc<Gate>,
}

impl World {
    /// A gate that has its keys.
    pub(crate) fn new() -> Self {
        Self::with(&config())
    }

    pub(crate) fn with(config: &Value) -> Self {
        let world = Self::without_keys(config);
        world.answer_keyring(&keyring_json(1, &[1]));
        world
    }

    /// A gate that has asked for its keys and waits.
    pub(crate) fn without_keys(config: &Value) -> Self {
        let env = |name: &str| (name == "TOLLWAY_GATE_TOKEN").then(|| GATE_TOKEN.to_owned());
        let config = Config::parse(config.to_string().as_bytes(), &env).unwrap();
        let world = Self { host: FakeHost::at(NOW_MS), gate: Rc::new(Gate::new(config, b"seed")) };
        world.gate.tick(&world.host);
        world
    }

    /// Answers the keyring call that is under way.
    pub(crate) fn answer_keyring(&self, keyring: &Value) {
        let call = self.one_call("GET", "/v1/keyring");
        self.gate.call_answered(&self.host, call.id, &ok(keyring));
    }

    /// Answers the keyring call of a request whose key is not known.
    pub(crate) fn answer_fresh_keys(&self, exchange: &mut Exchange, keyring: &Value) -> Step {
        let call = self.one_call("GET", "/v1/keyring");
        exchange.call_answered(&self.host, call.id, &ok(keyring))
    }

    /// The one call sent since the last look.
    pub(crate) fn one_call(&self, method: &str, path: &str) -> SentCall {
        let mut calls = self.host.take_calls();
        assert_eq!(calls.len(), 1, "expected one call to {path}, but found {calls:?}");
        let call = calls.remove(0);
        assert_eq!(call.header(":method"), method);
        assert!(call.header(":path").starts_with(path), "{}", call.header(":path"));
        assert_eq!(call.cluster, "tollwayd");
        assert_eq!(call.header("authorization"), format!("Bearer {GATE_TOKEN}"));
        call
    }

    pub(crate) fn assert_no_call(&self) {
        assert_eq!(self.host.take_calls(), [], "expected no call");
    }

    /// Sends a request's headers in.
    pub(crate) fn request(&self, headers: &[(&str, &[u8])]) -> (Exchange, Step) {
        self.host.begin_request(headers);
        let mut exchange = Exchange::new(Rc::clone(&self.gate));
        let step = exchange.request_headers(&self.host, true);
        (exchange, step)
    }

    pub(crate) fn get(&self, path: &str, more: &[(&str, &[u8])]) -> (Exchange, Step) {
        self.method("GET", path, more)
    }

    pub(crate) fn method(
        &self,
        method: &str,
        path: &str,
        more: &[(&str, &[u8])],
    ) -> (Exchange, Step) {
        let mut headers: Vec<(&str, &[u8])> = vec![
            (":method", method.as_bytes()),
            (":path", path.as_bytes()),
            (":authority", b"api.example.com"),
        ];
        headers.extend_from_slice(more);
        self.request(&headers)
    }

    /// A paid request that waits for its hold.
    pub(crate) fn paid(&self, path: &str) -> (Exchange, SentCall) {
        let credential = self.credential("demo");
        let (exchange, step) = self.get(path, &[("authorization", credential.as_bytes())]);
        assert_eq!(step, Step::Wait);
        let call = self.one_call("PUT", "/v1/holds/");
        (exchange, call)
    }

    /// A paid request that was admitted with this much left.
    pub(crate) fn admitted(&self, path: &str, price_msat: u64, balance_msat: u64) -> Exchange {
        let (mut exchange, call) = self.paid(path);
        let step = exchange.call_answered(&self.host, call.id, &granted(price_msat, balance_msat));
        assert_eq!(step, Step::Continue);
        exchange
    }

    /// Answers a challenge call and returns what the client gets.
    pub(crate) fn answer_challenge(&self, exchange: &mut Exchange) -> (Value, Reply) {
        let call = self.one_call("POST", "/v1/challenges");
        let asked = call.json();
        let step = exchange.call_answered(&self.host, call.id, &invoice(&asked));
        match step {
            Step::Answer(reply) => (asked, reply),
            step => panic!("expected an answer, but found {step:?}"),
        }
    }

    /// A credential of the current key that was paid for.
    pub(crate) fn credential(&self, service: &str) -> String {
        credential(service, 1, NOW_S + 60)
    }

    /// The rows of the batch that the next tick sends, answered as posted.
    pub(crate) fn posted(&self) -> Vec<Value> {
        self.gate.tick(&self.host);
        let call = self.one_call("POST", "/v1/postings");
        let rows = call.json()["postings"].as_array().unwrap().clone();
        let outcomes: Vec<_> =
            rows.iter().map(|row| outcome("posted", &row["amount_msat"])).collect();
        self.gate.call_answered(&self.host, call.id, &ok(&json!({"outcomes": outcomes})));
        rows
    }
}

/// A keyring whose key n is 32 times the byte n.
pub(crate) fn keyring_json(current: u8, keys: &[u8]) -> Value {
    let key = |id: &u8| json!({"id": id, "secret": hex::encode([*id; 32])});
    json!({
        "current": current,
        "keys": keys.iter().map(key).collect::<Vec<_>>(),
        "seed": hex::encode([9; 32])
    })
}

/// A paid credential minted with key `key`.
pub(crate) fn credential(service: &str, key: u8, valid_until: u64) -> String {
    tier_credential(service, TIER_CREDITS, key, valid_until)
}

/// The same, bought at this tier.
pub(crate) fn tier_credential(service: &str, tier: u8, key: u8, valid_until: u64) -> String {
    let macaroon = token(service, tier, key, valid_until);
    format!("L402 {}:{}", macaroon.to_base64(), preimage().reveal_hex())
}

/// A token minted with key `key`.
pub(crate) fn token(service: &str, tier: u8, key: u8, valid_until: u64) -> Macaroon {
    let ring = serde_json::from_value(keyring_json(key, &[key])).unwrap();
    let terms = ChallengeTerms {
        location: "tollway",
        payment_hash: preimage().payment_hash(),
        service,
        tier,
        valid_until,
        random: [7; 32],
    };
    let challenge = Challenge::mint(&Keyring::from_reply(&ring).unwrap(), terms, INVOICE).unwrap();
    challenge.macaroon().clone()
}

pub(crate) fn ok(body: &Value) -> CallReply {
    CallReply { status: Some(200), body: body.to_string().into_bytes() }
}

pub(crate) fn granted(granted_msat: u64, balance_msat: u64) -> CallReply {
    let account = preimage().payment_hash().to_hex();
    ok(&json!({"outcome": "granted", "account": account, "granted_msat": granted_msat,
               "balance_msat": balance_msat}))
}

pub(crate) fn refused(refusal: &str, balance_msat: u64) -> CallReply {
    ok(&json!({"outcome": "refused", "refusal": refusal, "balance_msat": balance_msat}))
}

/// One row of the answer to a batch of postings.
pub(crate) fn outcome(outcome: &str, charged_msat: &Value) -> Value {
    json!({"outcome": outcome, "charged_msat": charged_msat})
}

/// tollwayd's answer to a challenge call.
pub(crate) fn invoice(asked: &Value) -> CallReply {
    ok(&json!({"outcome": "invoice", "payment_hash": hex::encode([5; 32]), "invoice": INVOICE,
               "amount_msat": asked["amount_msat"], "credit_msat": asked["credit_msat"],
               "expires_at": NOW_S + 600}))
}

/// The value of a header of an answer.
pub(crate) fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
}

pub(crate) fn body(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}
