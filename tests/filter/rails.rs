//! Other rails: what the gate carries to tollwayd and back without reading it.

use serde_json::{Value, json};
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::{CallReply, LogField, Reply};
use tollway_gate::metrics::Decision;
use tollway_testkit::fake_host::SentCall;

use crate::world::{INVOICE, World, body, config, header, invoice, ok, preimage};

const LINE: &str = "Payment id=\"x\", realm=\"demo\"";
const SHOWN: (&str, &[u8]) = ("authorization", b"Payment eyJ4IjoxfQ");

fn world() -> World {
    World::with(&with_payment())
}

fn with_payment() -> Value {
    let mut config = config();
    config["services"][0]["payment_scheme"] = json!(true);
    config
}

/// What tollwayd says to a challenge call, with more for other rails.
fn noted(asked: &Value, notes: &Value) -> CallReply {
    let reply = invoice(asked);
    let mut object: Value = serde_json::from_slice(&reply.body).unwrap();
    object.as_object_mut().unwrap().extend(notes.as_object().unwrap().clone());
    ok(&object)
}

fn granted(msat: u64) -> CallReply {
    let account = preimage().payment_hash().to_hex();
    ok(&json!({"outcome": "granted", "account": account, "granted_msat": msat, "balance_msat": 0,
               "headers": [["payment-receipt", "eyJyIjoxfQ"]]}))
}

fn refused(problem: &str) -> CallReply {
    ok(&json!({"outcome": "refused", "refusal": "payment_not_proven", "balance_msat": 0,
               "problem": problem, "detail": "So it is."}))
}

/// A request that presents a credential of another rail and waits.
fn shown(world: &World, path: &str) -> (Exchange, SentCall) {
    let (exchange, step) = world.get(path, &[SHOWN]);
    assert_eq!(step, Step::Wait);
    (exchange, world.one_call("PUT", "/v1/holds/"))
}

fn challenged(world: &World, exchange: &mut Exchange) -> (Value, Reply) {
    let call = world.one_call("POST", "/v1/challenges");
    let asked = call.json();
    let notes = json!({"headers": [["www-authenticate", LINE]]});
    match exchange.call_answered(&world.host, call.id, &noted(&asked, &notes)) {
        Step::Answer(reply) => (asked, reply),
        step => panic!("expected an answer, but found {step:?}"),
    }
}

fn lines(reply: &Reply) -> Vec<&str> {
    let named = reply.headers.iter().filter(|(name, _)| *name == "www-authenticate");
    named.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn a_challenge_says_what_tollwayd_says_for_other_rails() {
    let world = world();
    let accept = ("accept-payment", &b"lightning/charge"[..]);
    for (more, preferred) in [(json!({}), false), (json!({"preferred": true}), true)] {
        let bearer = ("authorization", &b"Bearer abc"[..]);
        let (mut exchange, step) = world.get("/api/joke", &[accept, bearer]);
        assert_eq!(step, Step::Wait);
        let call = world.one_call("POST", "/v1/challenges");
        let asked = call.json();
        let other = json!({"payment": true, "price_msat": 5_000, "accept": "lightning/charge",
                           "authorization_taken": true});
        assert_eq!(asked["other"], other);
        let mut notes = json!({"headers": [["www-authenticate", LINE], ["set-cookie", "a=b"]]});
        notes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let step = exchange.call_answered(&world.host, call.id, &noted(&asked, &notes));
        let Step::Answer(reply) = step else { panic!("{step:?}") };
        let lines = lines(&reply);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[usize::from(!preferred)], LINE);
        assert!(lines[usize::from(preferred)].starts_with("L402 macaroon=\""), "{lines:?}");
        assert_eq!(header(&reply, "set-cookie"), "", "nothing else is added");
        assert_eq!(body(&reply)["invoice"], INVOICE);
    }
}

#[test]
fn nothing_is_asked_for_other_rails_where_they_sell_nothing() {
    let mut config = with_payment();
    let routes = config["routes"].as_array_mut().unwrap();
    routes.push(json!({"name": "hour", "service": "demo", "match": {"path": "/api/hour"},
                       "price_sats": 5, "mode": {"session": {"duration_s": 60}}}));
    routes.push(json!({"name": "metered", "service": "demo", "match": {"path": "/api/metered"},
                       "price_sats": 5, "meter": {"header": "x-cost"}}));
    let world = World::with(&config);
    for path in ["/api/hour", "/api/metered", "/api/odd"] {
        let (mut exchange, _) = world.get(path, &[]);
        let (asked, _) = world.answer_challenge(&mut exchange);
        assert_eq!(asked["other"], Value::Null, "{path}");
    }
    let credential = world.credential("demo");
    let top_up = [("authorization", credential.as_bytes()), ("x-toll-top-up", b"1")];
    let (mut exchange, _) = world.get("/api/joke", &top_up);
    let (asked, _) = world.answer_challenge(&mut exchange);
    assert_eq!(asked["other"], Value::Null, "an account's owner has a token");
}

#[test]
fn a_credential_is_carried_as_it_is_and_the_success_has_its_receipt() {
    let world = world();
    let headers = [
        ("authorization", &b"Bearer abc, payment eyJ4IjoxfQ"[..]),
        ("payment-authorization", b"Payment eyJ4IjoxfQ"),
    ];
    let (mut exchange, step) = world.get("/api/joke", &headers);
    assert_eq!(step, Step::Wait);
    let call = world.one_call("PUT", "/v1/holds/");
    assert!(call.header(":path").ends_with("/rail"), "{}", call.header(":path"));
    let asked = json!({"rail": "payment", "credential": "eyJ4IjoxfQ", "service": "demo",
                       "route": "joke", "amount_msat": 5_000, "ttl_ms": 300_000});
    assert_eq!(call.json(), asked);
    // What was paid may be more than the price: it is in whole sats.
    let step = exchange.call_answered(&world.host, call.id, &granted(6_000));
    assert_eq!(step, Step::Continue);
    let upstream = |name| world.host.upstream_header(name);
    assert_eq!(upstream("authorization").unwrap(), b"Bearer abc");
    assert_eq!(upstream("payment-authorization"), None);
    assert_eq!(upstream("x-toll-cost-msat").unwrap(), b"6000");
    world.host.begin_response(&[(":status", b"200"), ("cache-control", b"public")], false);
    exchange.response_headers(&world.host);
    exchange.response_body(&world.host, 0, true);
    assert_eq!(world.host.client_header("payment-receipt").unwrap(), "eyJyIjoxfQ");
    assert_eq!(world.host.client_header("cache-control").unwrap(), "private");
    assert_eq!(world.host.client_header("x-toll-cost-msat").unwrap(), "6000");
    assert_eq!(world.host.client_header("x-toll-low-balance"), None);
    exchange.finished(&world.host);
    assert_eq!(world.posted()[0]["amount_msat"], 6_000);
    assert_eq!(world.host.count_of(Decision::Ok), 1);
}

#[test]
fn what_a_rail_answers_itself_reaches_no_upstream() {
    for key in [None, Some(("idempotency-key", &b"k1"[..]))] {
        let headers: Vec<_> = [SHOWN].into_iter().chain(key).collect();
        let mut config = with_payment();
        config["routes"][0]["idempotency"] = json!("charge_once");
        let world = World::with(&config);
        let (mut exchange, step) = world.get("/api/joke", &headers);
        assert_eq!(step, Step::Wait);
        let call = world.one_call("PUT", "/v1/holds/");
        let account = preimage().payment_hash().to_hex();
        let reply = ok(&json!({
            "outcome": "granted", "account": account, "granted_msat": 0, "balance_msat": 7_000,
            "already_charged": true,
            "replay": {"status": 200, "content_type": "application/json",
                       "body_base64": "eyJzdGF0dXMiOiJvayJ9"},
            "headers": [["payment-receipt", "eyJyIjoxfQ"], ["set-cookie", "no"]],
        }));
        let step = exchange.call_answered(&world.host, call.id, &reply);
        let Step::Answer(reply) = step else { panic!("{step:?}") };
        assert_eq!((reply.status, reply.body.as_slice()), (200, &br#"{"status":"ok"}"#[..]));
        let found = |name| reply.headers.iter().find(|it| it.0 == name).map(|it| it.1.as_str());
        assert_eq!(found("payment-receipt"), Some("eyJyIjoxfQ"));
        assert_eq!(found("x-toll-balance-msat"), Some("7000"));
        assert_eq!(found("set-cookie"), None);
        exchange.finished(&world.host);
        world.assert_no_call();
        assert_eq!(world.host.count_of(Decision::Ok), 0);
    }
}

#[test]
fn an_error_has_no_receipt_and_costs_nothing() {
    let world = world();
    let (mut exchange, call) = shown(&world, "/api/joke");
    assert_eq!(exchange.call_answered(&world.host, call.id, &granted(5_000)), Step::Continue);
    world.host.begin_response(&[(":status", b"502")], false);
    exchange.response_headers(&world.host);
    assert_eq!(world.host.client_header("payment-receipt"), None);
    exchange.response_body(&world.host, 0, true);
    exchange.finished(&world.host);
    assert_eq!(world.posted()[0]["amount_msat"], 0);
}

#[test]
fn a_credential_that_is_not_accepted_is_answered_by_a_challenge_with_its_problem() {
    let mut config = with_payment();
    config["reject_status"] = json!(401);
    let world = World::with(&config);
    for problem in ["verification-failed", "payment-expired"] {
        let (mut exchange, call) = shown(&world, "/api/joke");
        assert_eq!(exchange.call_answered(&world.host, call.id, &refused(problem)), Step::Wait);
        let (_, reply) = challenged(&world, &mut exchange);
        assert_eq!(reply.status, 402, "the scheme has it so");
        assert_eq!(lines(&reply)[1], LINE);
        let body = body(&reply);
        assert_eq!(body["type"], format!("https://paymentauth.org/problems/{problem}"));
        assert_eq!(body["detail"], "So it is.");
        assert_eq!(body["code"], "payment_rejected");
        assert_eq!(world.host.note_of(LogField::Reason), "payment_rejected");
    }
    assert_eq!(world.host.count_of(Decision::Invalid), 2);
}

#[test]
fn what_nobody_could_judge_is_refused_here() {
    let world = world();
    let own = world.credential("demo");
    let long = [b"Payment ".to_vec(), vec![b'a'; 17_000]].concat();
    let cases: [&[(&str, &[u8])]; 4] = [
        &[SHOWN, ("authorization", b"Payment eyJ4IjoyfQ")],
        &[SHOWN, ("payment-authorization", b"Payment eyJ4IjoyfQ")],
        &[SHOWN, ("authorization", own.as_bytes())],
        &[("authorization", &long)],
    ];
    for headers in cases {
        // Twice, because our own credential is known the second time.
        for _ in 0..2 {
            let (mut exchange, step) = world.get("/api/joke", headers);
            assert_eq!(step, Step::Wait);
            let (_, reply) = challenged(&world, &mut exchange);
            let problem = "https://paymentauth.org/problems/malformed-credential";
            assert_eq!(body(&reply)["type"], problem, "{headers:?}");
        }
    }
}

#[test]
fn an_answer_that_is_none_is_our_fault_and_what_was_held_goes_back() {
    let world = world();
    let account = preimage().payment_hash().to_hex();
    let less = ok(&json!({"outcome": "granted", "account": account, "granted_msat": 4_999,
                          "balance_msat": 0}));
    let unexplained =
        ok(&json!({"outcome": "refused", "refusal": "budget_exhausted", "balance_msat": 0}));
    let none = CallReply { status: None, body: Vec::new() };
    for (reply, held) in [(less, true), (ok(&json!({})), true), (none, true), (unexplained, false)]
    {
        let (mut exchange, call) = shown(&world, "/api/joke");
        match exchange.call_answered(&world.host, call.id, &reply) {
            Step::Answer(answer) => assert_eq!(answer.status, 503),
            step => panic!("expected an answer, but found {step:?}"),
        }
        if held {
            let row = &world.posted()[0];
            assert_eq!((&row["amount_msat"], &row["release"]), (&json!(0), &json!(true)));
            assert!(call.header(":path").contains(row["hold"].as_str().unwrap()));
        }
        world.gate.tick(&world.host);
        world.assert_no_call();
    }
}

#[test]
fn a_client_that_leaves_gives_its_hold_back() {
    let world = world();
    let (mut exchange, _) = shown(&world, "/api/joke");
    exchange.finished(&world.host);
    assert_eq!(world.posted()[0]["release"], true);
    assert_eq!(world.host.count_of(Decision::Abandoned), 1);
}

#[test]
fn an_idempotency_key_travels_and_its_answers_are_those_of_other_requests() {
    let world = world();
    let account = preimage().payment_hash().to_hex();
    let stored = json!({"status": 200, "content_type": "text/plain", "body_base64": "aGE="});
    let charged = ok(&json!({"outcome": "granted", "account": account, "granted_msat": 0,
                             "balance_msat": 0, "already_charged": true, "replay": stored}));
    let of_key =
        |refusal: &str| ok(&json!({"outcome": "refused", "refusal": refusal, "balance_msat": 0}));
    for (reply, status) in [
        (charged, 200),
        (of_key("idempotency_in_flight"), 409),
        (of_key("idempotency_mismatch"), 422),
    ] {
        let mut config = with_payment();
        config["routes"][0]["idempotency"] = json!("replay");
        let world = World::with(&config);
        let (mut exchange, _) = world.get("/api/joke", &[SHOWN, ("idempotency-key", b"k")]);
        let call = world.one_call("PUT", "/v1/holds/");
        assert!(call.json()["idempotency"]["key"].is_string());
        match exchange.call_answered(&world.host, call.id, &reply) {
            Step::Answer(answer) => assert_eq!(answer.status, status),
            step => panic!("expected an answer, but found {step:?}"),
        }
    }
    world.assert_no_call();
}

#[test]
fn without_the_rail_the_scheme_is_the_application_s() {
    let world = World::new();
    let (mut exchange, _) = world.get("/api/joke", &[SHOWN]);
    let (asked, _) = world.answer_challenge(&mut exchange);
    assert_eq!(asked["other"], Value::Null);
    let (_, step) = world.get("/", &[SHOWN, ("payment-authorization", b"Payment eyJ4IjoxfQ")]);
    assert_eq!(step, Step::Continue);
    assert_eq!(world.host.upstream_header("authorization").unwrap(), SHOWN.1);
    assert!(world.host.upstream_header("payment-authorization").is_some());
    // Where any service is paid so, its credentials reach no upstream.
    let world = self::world();
    let (_, step) = world.get("/", &[SHOWN, ("payment-authorization", b"Payment eyJ4IjoxfQ")]);
    assert_eq!(step, Step::Continue);
    assert_eq!(world.host.upstream_header("authorization"), None);
    assert_eq!(world.host.upstream_header("payment-authorization"), None);
    let (mut exchange, _) = world.get("/api/odd", &[SHOWN]);
    let (asked, _) = world.answer_challenge(&mut exchange);
    assert_eq!(asked["other"], Value::Null, "not this service");
}
