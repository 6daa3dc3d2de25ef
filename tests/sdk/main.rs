//! The skin, driven through the SDK's own entry points, with the proxy's host functions made
//! here. What a real proxy does with it is for tests/e2e; this shows in milliseconds that every
//! event reaches the gate and every step comes back.

// The host's side of the ABI is pointers; this binary is the proxy, and ships nowhere.
#![allow(unsafe_code, reason = "the test stands in for the proxy's side of a C ABI")]
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

// The skin is a cdylib, which a test cannot link, so its modules are compiled in here.
#[path = "../../src/envoy.rs"]
mod envoy;
#[path = "../../src/header_map.rs"]
mod header_map;
#[path = "../../src/http.rs"]
mod http;
#[path = "../../src/parking.rs"]
mod parking;
mod proxy;
#[path = "../../src/root.rs"]
mod root;
#[path = "../../src/turn.rs"]
mod turn;

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tollway_core::challenge::{Challenge, ChallengeTerms};
use tollway_core::keyring::Keyring;
use tollway_core::payment::Preimage;
use tollway_core::wire::POSTINGS_PER_BATCH_MAX;

use crate::proxy::{
    CALL_RESPONSE_HEADERS, Headers, REQUEST_HEADERS, RESPONSE_HEADERS, SentCall, proxy,
};

const PAUSE: u32 = 1;
const CONTINUE: u32 = 0;
const ROOT: u32 = 1;
const STREAM: u32 = 2;

unsafe extern "C" {
    fn proxy_on_context_create(context: u32, root: u32);
    fn proxy_on_configure(context: u32, size: usize) -> bool;
    fn proxy_on_tick(context: u32);
    fn proxy_on_queue_ready(context: u32, queue: u32);
    fn proxy_on_request_headers(context: u32, headers: usize, end: bool) -> u32;
    fn proxy_on_request_body(context: u32, size: usize, end: bool) -> u32;
    fn proxy_on_request_trailers(context: u32, trailers: usize) -> u32;
    fn proxy_on_response_headers(context: u32, headers: usize, end: bool) -> u32;
    fn proxy_on_response_body(context: u32, size: usize, end: bool) -> u32;
    fn proxy_on_response_trailers(context: u32, trailers: usize) -> u32;
    fn proxy_on_http_call_response(
        context: u32,
        token: u32,
        headers: usize,
        body: usize,
        trailers: usize,
    );
    fn proxy_on_log(context: u32);
    fn proxy_on_done(context: u32) -> bool;
    fn proxy_on_delete(context: u32);
}

/// A VM is alone in its process; here the SDK's logger and the environment are shared by tests.
static VM_START: Mutex<()> = Mutex::new(());

fn configure(config: &str) -> bool {
    let alone = VM_START.lock().unwrap_or_else(PoisonError::into_inner);
    // The filter reads its token from the environment of the VM.
    unsafe { std::env::set_var("TOLLWAY_GATE_TOKEN", "a-gate-token-for-tests") };
    root::install();
    drop(alone);
    proxy(|proxy| {
        proxy.configuration = config.into();
        proxy.now_ns = 1_800_000_000_000_000_000;
        proxy.streams.push(ROOT);
    });
    unsafe {
        proxy_on_context_create(ROOT, 0);
        proxy_on_configure(ROOT, config.len())
    }
}

fn config() -> String {
    json!({
        "tollwayd": {"cluster": "tollwayd", "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": [{"name": "demo"}],
        "routes": [{"name": "joke", "match": {"path": "/api/joke"}, "price_sats": 5,
                    "idempotency": "replay"},
                   {"name": "shared", "match": {"path": "/shared"}, "price_sats": 5,
                    "spend": "leased", "lease_max_sats": 50}],
        "unmatched": "deny",
        "tick_ms": 50
    })
    .to_string()
}

fn preimage() -> Preimage {
    Preimage::from_bytes([0x42; 32])
}

fn keyring() -> Value {
    json!({"current": 1, "keys": [{"id": 1, "secret": hex::encode([1; 32])}],
           "seed": hex::encode([2; 32])})
}

fn credential() -> String {
    let reply = serde_json::from_value(keyring()).unwrap();
    let terms = ChallengeTerms {
        location: "tollway",
        payment_hash: preimage().payment_hash(),
        service: "demo",
        tier: 0,
        valid_until: 1_900_000_000,
        random: [3; 32],
    };
    let challenge = Challenge::mint(&Keyring::from_reply(&reply).unwrap(), terms, "lnbc1").unwrap();
    format!("L402 {}:{}", challenge.macaroon().to_base64(), preimage().reveal_hex())
}

fn headers(pairs: &[(&str, &[u8])]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// The events at hand have been dealt with.
fn turn() {
    while let Some(queue) = proxy(|proxy| proxy.queued.first().copied()) {
        proxy(|proxy| proxy.effective = ROOT);
        unsafe { proxy_on_queue_ready(ROOT, queue) };
    }
}

fn one_call() -> SentCall {
    turn();
    proxy(|proxy| {
        assert_eq!(proxy.calls.len(), 1, "{:?}", proxy.calls);
        proxy.calls.remove(0)
    })
}

fn answer(call: &SentCall, status: &str, body: &Value) {
    answer_bytes(call, status, body.to_string().into_bytes());
}

fn answer_bytes(call: &SentCall, status: &str, body: Vec<u8>) {
    let size = body.len();
    proxy(|proxy| {
        let map = headers(&[(":status", status.as_bytes())]);
        proxy.maps.insert(CALL_RESPONSE_HEADERS, map);
        proxy.call_body = body;
    });
    unsafe { proxy_on_http_call_response(0, call.token, 1, size, 0) };
    proxy(|proxy| proxy.maps.remove(&CALL_RESPONSE_HEADERS));
}

/// The proxy with the filter configured and its keys fetched.
fn started() {
    assert!(configure(&config()));
    let call = one_call();
    assert_eq!(call.cluster, "tollwayd");
    assert!(call.headers.contains(&(":path".into(), b"/v1/keyring".into())));
    answer(&call, "200", &keyring());
}

fn request(pairs: &[(&str, &[u8])]) -> u32 {
    request_of(STREAM, "/api/joke", pairs)
}

fn request_of(stream: u32, path: &str, pairs: &[(&str, &[u8])]) -> u32 {
    let path = path.as_bytes();
    let mut all = headers(&[(":method", b"GET"), (":path", path), (":authority", b"x")]);
    all.extend(headers(pairs));
    let count = all.len();
    proxy(|proxy| {
        proxy.maps.insert(REQUEST_HEADERS, all);
        proxy.streams.push(stream);
        proxy.effective = stream;
    });
    unsafe {
        proxy_on_context_create(stream, ROOT);
        proxy_on_request_headers(stream, count, true)
    }
}

fn end() {
    end_of(STREAM);
}

fn end_of(stream: u32) {
    unsafe {
        proxy_on_log(stream);
        proxy_on_done(stream);
        proxy_on_delete(stream);
    }
    proxy(|proxy| proxy.streams.retain(|known| *known != stream));
}

fn metric(name: &str) -> i64 {
    proxy(|proxy| proxy.metrics.iter().find(|(key, _)| key == name).unwrap().1)
}

#[test]
fn a_good_configuration_starts_the_tick_and_says_so() {
    started();
    proxy(|proxy| {
        assert_eq!(proxy.tick_ms, 50);
        let banner = proxy.log.iter().find(|line| line.contains("starts")).unwrap();
        assert!(banner.contains(env!("CARGO_PKG_VERSION")), "{banner}");
        assert!(!proxy.log.iter().any(|line| line.contains("a-gate-token-for-tests")));
    });
}

#[test]
fn a_bad_configuration_is_refused_with_its_path() {
    let config = config().replace("price_sats", "prise_sats");
    assert!(!configure(&config));
    proxy(|proxy| {
        let line = proxy.log.last().unwrap();
        assert!(line.contains("routes[0].prise_sats"), "{line}");
    });
}

#[test]
fn a_request_without_payment_is_paused_and_then_answered() {
    started();
    assert_eq!(request(&[]), PAUSE);
    assert_eq!(unsafe { proxy_on_request_body(STREAM, 3, false) }, PAUSE);
    assert_eq!(unsafe { proxy_on_request_trailers(STREAM, 1) }, PAUSE);
    let call = one_call();
    answer(
        &call,
        "200",
        &json!({"outcome": "invoice", "payment_hash": hex::encode([5; 32]), "invoice": "lnbcrt1qq",
                "credit_msat": 20000,
                "amount_msat": 5000, "expires_at": 1_800_000_600}),
    );
    let reply = proxy(|proxy| proxy.replies.remove(0));
    assert_eq!(reply.status, 402);
    assert_eq!(reply.grpc_status, -1);
    let line = reply.headers.iter().find(|(name, _)| name == "www-authenticate").unwrap();
    assert!(line.1.starts_with(b"L402 macaroon=\""));
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["amountSats"], 5);

    // The answer passes the filter's own response callbacks, and is not touched.
    proxy(|proxy| proxy.maps.insert(RESPONSE_HEADERS, headers(&[(":status", b"402")])));
    assert_eq!(unsafe { proxy_on_response_headers(STREAM, 1, false) }, CONTINUE);
    end();
    proxy(|proxy| assert_eq!(proxy.maps[&RESPONSE_HEADERS].len(), 1));
    assert_eq!(metric("tollway_requests.decision=challenged"), 1);
}

#[test]
fn a_paid_request_is_resumed_marked_and_posted() {
    started();
    assert_eq!(request(&[("authorization", credential().as_bytes())]), PAUSE);
    let hold = one_call();
    answer(
        &hold,
        "200",
        &json!({"outcome": "granted", "account": preimage().payment_hash().to_hex(),
                "granted_msat": 5000, "balance_msat": 10_000}),
    );
    proxy(|proxy| {
        assert_eq!(proxy.resumed, 1);
        let upstream = &proxy.maps[&REQUEST_HEADERS];
        assert!(!upstream.iter().any(|(name, _)| name == "authorization"));
        assert!(upstream.contains(&("x-toll-cost-msat".into(), b"5000".into())));
        proxy.maps.insert(RESPONSE_HEADERS, headers(&[(":status", b"200")]));
    });
    assert_eq!(unsafe { proxy_on_request_body(STREAM, 3, true) }, CONTINUE);
    assert_eq!(unsafe { proxy_on_response_headers(STREAM, 1, false) }, CONTINUE);
    proxy(|proxy| {
        let client = &proxy.maps[&RESPONSE_HEADERS];
        assert!(client.contains(&("x-toll-balance-msat".into(), b"10000".into())));
    });
    end();
    unsafe { proxy_on_tick(ROOT) };
    let batch: Value = serde_json::from_slice(&one_call().body).unwrap();
    assert_eq!(batch["postings"][0]["amount_msat"], 5000);
    assert_eq!(metric("tollway_requests.decision=ok"), 1);
    let line = proxy(|proxy| String::from_utf8(proxy.properties["tollway"].clone()).unwrap());
    let fields: Vec<_> = line.split(' ').filter_map(|field| field.split_once('=')).collect();
    let account = fields[1].1;
    assert_eq!(account.len(), 64);
    let expected =
        [("route", "joke"), ("account", account), ("decision", "ok"), ("cost_msat", "5000")];
    assert_eq!(fields, expected);
}

#[test]
fn a_whole_batch_of_postings_does_not_wait_for_the_tick() {
    started();
    let rows = u32::try_from(POSTINGS_PER_BATCH_MAX).unwrap();
    let grant = json!({"outcome": "granted", "account": preimage().payment_hash().to_hex(),
                       "granted_msat": 5000, "balance_msat": 10_000});
    let key = credential();
    for stream in STREAM..STREAM + rows {
        turn();
        assert_eq!(proxy(|proxy| proxy.calls.len()), 0, "{stream}");
        assert_eq!(request_of(stream, "/api/joke", &[("authorization", key.as_bytes())]), PAUSE);
        answer(&one_call(), "200", &grant);
        proxy(|proxy| {
            proxy.effective = stream;
            proxy.maps.insert(RESPONSE_HEADERS, headers(&[(":status", b"200")]));
        });
        assert_eq!(unsafe { proxy_on_response_headers(stream, 1, true) }, CONTINUE);
        end_of(stream);
    }
    let call = one_call();
    assert!(call.headers.contains(&(":path".into(), b"/v1/postings".into())));
    let batch: Value = serde_json::from_slice(&call.body).unwrap();
    assert_eq!(batch["postings"].as_array().unwrap().len(), POSTINGS_PER_BATCH_MAX);
    answer(&call, "200", &json!({"posted": rows}));
    unsafe { proxy_on_tick(ROOT) };
    assert_eq!(proxy(|proxy| proxy.calls.len()), 0, "all were counted");
}

/// What a request is charged whose answer is a 200, with a flag of the proxy that would refund.
fn charged_despite_a_flag(trailers: bool) -> Value {
    started();
    let lines = proxy(|proxy| proxy.log.len());
    request(&[("authorization", credential().as_bytes())]);
    answer(
        &one_call(),
        "200",
        &json!({"outcome": "granted", "account": preimage().payment_hash().to_hex(),
                "granted_msat": 5000, "balance_msat": 0}),
    );
    proxy(|proxy| {
        proxy.maps.insert(RESPONSE_HEADERS, headers(&[(":status", b"200")]));
        // Bit 1: no healthy upstream.
        proxy.properties.insert("response.flags".into(), 2_u64.to_le_bytes().to_vec());
    });
    unsafe { proxy_on_response_headers(STREAM, 1, false) };
    assert_eq!(unsafe { proxy_on_response_body(STREAM, 0, false) }, CONTINUE);
    if trailers {
        assert_eq!(unsafe { proxy_on_response_trailers(STREAM, 1) }, CONTINUE);
    }
    end();
    assert_eq!(proxy(|proxy| proxy.log.len()), lines, "a paid request is no line in the log");
    unsafe { proxy_on_tick(ROOT) };
    let batch: Value = serde_json::from_slice(&one_call().body).unwrap();
    batch["postings"][0]["amount_msat"].clone()
}

#[test]
fn an_answer_that_ended_with_trailers_is_whole() {
    assert_eq!(charged_despite_a_flag(true), 5000);
}

#[test]
fn an_answer_that_was_cut_off_is_refunded() {
    assert_eq!(charged_despite_a_flag(false), 0);
}

#[test]
fn a_response_streams_on_while_it_is_kept_for_a_repeat() {
    started();
    let credential = credential();
    request(&[("authorization", credential.as_bytes()), ("idempotency-key", b"k")]);
    answer(
        &one_call(),
        "200",
        &json!({"outcome": "granted", "account": preimage().payment_hash().to_hex(),
                "granted_msat": 5000, "balance_msat": 10_000}),
    );
    proxy(|proxy| proxy.maps.insert(RESPONSE_HEADERS, headers(&[(":status", b"200")])));
    assert_eq!(unsafe { proxy_on_response_headers(STREAM, 1, false) }, CONTINUE);
    for (part, end) in [(&b"ha"[..], false), (b"!\xff", true)] {
        proxy(|proxy| proxy.response_body = part.into());
        assert_eq!(unsafe { proxy_on_response_body(STREAM, part.len(), end) }, CONTINUE);
    }
    end();
    unsafe { proxy_on_tick(ROOT) };
    let batch: Value = serde_json::from_slice(&one_call().body).unwrap();
    assert_eq!(batch["postings"][0]["store"]["body_base64"], "aGEh/w==");
}

#[test]
fn a_stream_that_is_to_end_is_cut_off_from_the_root_which_goes_on() {
    started();
    assert_eq!(request(&[("authorization", credential().as_bytes())]), PAUSE);
    answer(&one_call(), "200", &granted(5_000));
    proxy(|proxy| proxy.now_ns += 299_000_000_000);
    unsafe { proxy_on_tick(ROOT) };
    let extension =
        proxy(|proxy| proxy.calls.iter().find(|call| !call.body.is_empty()).cloned()).unwrap();
    proxy(|proxy| proxy.calls.clear());
    answer(
        &extension,
        "200",
        &json!({"outcome": "refused", "refusal": "account_revoked", "balance_msat": 0}),
    );
    unsafe { proxy_on_tick(ROOT) };
    proxy(|proxy| assert_eq!((&proxy.cut, proxy.effective), (&vec![STREAM], ROOT)));
    end();
}

#[test]
fn a_call_that_failed_without_headers_is_a_503() {
    started();
    request(&[("authorization", credential().as_bytes())]);
    let call = one_call();
    // No headers, no map: a read would kill the VM.
    unsafe { proxy_on_http_call_response(0, call.token, 0, 0, 0) };
    assert_eq!(proxy(|proxy| proxy.replies.remove(0).status), 503);
}

#[test]
fn header_bytes_that_are_not_text_do_no_harm() {
    started();
    assert_eq!(request(&[("authorization", b"L402 \xff\xfe"), ("x-a", b"\xff")]), PAUSE);
    one_call();
    end();
}

#[test]
fn a_response_flag_of_the_proxy_refunds() {
    started();
    request(&[("authorization", credential().as_bytes())]);
    let hold = one_call();
    answer(
        &hold,
        "200",
        &json!({"outcome": "granted", "account": preimage().payment_hash().to_hex(),
                "granted_msat": 5000, "balance_msat": 0}),
    );
    proxy(|proxy| {
        let map = headers(&[(":status", b"504")]);
        proxy.maps.insert(RESPONSE_HEADERS, map);
        // Bit 2: the upstream's time ran out.
        proxy.properties.insert("response.flags".into(), 4_u64.to_le_bytes().to_vec());
        let details = b"response_timeout".to_vec();
        proxy.properties.insert("response.code_details".into(), details);
    });
    unsafe { proxy_on_response_headers(STREAM, 1, true) };
    end();
    unsafe { proxy_on_tick(ROOT) };
    let batch: Value = serde_json::from_slice(&one_call().body).unwrap();
    assert_eq!(batch["postings"][0]["amount_msat"], 0);
}

fn granted(msat: u64) -> Value {
    json!({"outcome": "granted", "account": preimage().payment_hash().to_hex(),
           "granted_msat": msat, "balance_msat": 100_000})
}

/// Three requests for one lease: the first asks, the others wait.
fn three_for_one_lease() -> SentCall {
    started();
    let credential = credential();
    let carried: [(&str, &[u8]); 1] = [("authorization", credential.as_bytes())];
    for stream in [2, 3, 4] {
        assert_eq!(request_of(stream, "/shared", &carried), PAUSE);
    }
    one_call()
}

#[test]
fn streams_that_wait_for_one_lease_go_on_when_it_comes() {
    let first = three_for_one_lease();
    answer(&first, "200", &granted(5_000));
    assert_eq!(proxy(|proxy| std::mem::take(&mut proxy.resumed_streams)), [2]);
    assert_eq!(unsafe { proxy_on_request_body(3, 1, false) }, PAUSE, "not paid yet");

    // The root's tick sends the next call; its reply finds the stream all the same, and what it
    // buys lets the last one go on too.
    unsafe { proxy_on_tick(ROOT) };
    let second = one_call();
    let body: Value = serde_json::from_slice(&second.body).unwrap();
    assert_eq!(body["amount_msat"], 10_000, "for both that wait");
    answer(&second, "200", &granted(10_000));
    assert_eq!(proxy(|proxy| std::mem::take(&mut proxy.resumed_streams)), [3, 4]);
    unsafe { proxy_on_tick(ROOT) };
    assert_eq!(proxy(|proxy| proxy.effective), ROOT, "what follows is the root's own");
    for stream in [2, 3, 4] {
        assert_eq!(unsafe { proxy_on_request_body(stream, 1, true) }, CONTINUE);
    }
}

#[test]
fn holds_of_one_turn_share_a_call_and_each_stream_gets_its_reply() {
    started();
    let credential = credential();
    let carried: [(&str, &[u8]); 1] = [("authorization", credential.as_bytes())];
    for stream in [2, 3, 4, 5] {
        assert_eq!(request_of(stream, "/api/joke", &carried), PAUSE);
    }
    proxy(|proxy| assert_eq!((proxy.calls.len(), proxy.queued.len()), (0, 1)));
    // One that is gone has its line all the same: its hold is released by a posting.
    end_of(4);
    let call = one_call();
    proxy(|proxy| assert!(proxy.queued.is_empty(), "the item that told is taken out"));
    assert!(call.headers.contains(&(":method".into(), b"POST".into())));
    assert_eq!(call.body.iter().filter(|byte| **byte == b'\n').count(), 4);
    let revoked = json!({"outcome": "refused", "refusal": "account_revoked", "balance_msat": 0});
    let lines = [(200, granted(5_000)), (503, json!({})), (200, granted(5_000)), (200, revoked)];
    let lines: String = lines.iter().map(|(status, body)| format!("[{status},{body}]\n")).collect();
    answer_bytes(&call, "200", lines.into_bytes());
    proxy(|proxy| {
        assert_eq!(std::mem::take(&mut proxy.resumed_streams), [2]);
        assert_eq!(proxy.replies.remove(0).status, 503);
        assert_eq!(proxy.calls.len(), 1, "the last one asks for an invoice");
    });
    let challenge = one_call();
    let invoice = json!({"outcome": "invoice", "payment_hash": hex::encode([5; 32]),
                         "invoice": "lnbcrt1qq", "credit_msat": 20000, "amount_msat": 5000,
                         "expires_at": 1_800_000_600});
    answer(&challenge, "200", &invoice);
    proxy(|proxy| assert_eq!((proxy.replies.remove(0).status, proxy.effective), (402, 5)));
}

#[test]
fn a_stream_that_ends_while_it_waits_is_asked_no_more() {
    let first = three_for_one_lease();
    end_of(3);
    // The one that asked leaves too, so the last one asks from the tick.
    end_of(2);
    unsafe { proxy_on_tick(ROOT) };
    turn();
    let calls = proxy(|proxy| std::mem::take(&mut proxy.calls));
    let second =
        calls.iter().find(|call| call.headers.contains(&(":method".into(), b"PUT".into())));
    let second = second.expect("a hold").clone();
    answer(&first, "200", &granted(5_000));
    end_of(4);
    // Nobody is there for it any more.
    answer(&second, "200", &granted(5_000));
    proxy(|proxy| {
        assert!(proxy.resumed_streams.is_empty());
        assert!(proxy.replies.is_empty());
    });
}

#[test]
fn a_stream_is_answered_from_the_root_when_its_lease_is_refused() {
    let first = three_for_one_lease();
    end_of(2);
    end_of(4);
    unsafe { proxy_on_tick(ROOT) };
    turn();
    let calls = proxy(|proxy| std::mem::take(&mut proxy.calls));
    let hold = calls.iter().find(|call| call.headers.contains(&(":method".into(), b"PUT".into())));
    let hold = hold.expect("a hold").clone();
    drop(first);
    let refused = json!({"outcome": "refused", "refusal": "account_revoked", "balance_msat": 0});
    answer(&hold, "200", &refused);
    let challenge = one_call();
    answer(
        &challenge,
        "200",
        &json!({"outcome": "invoice", "payment_hash": hex::encode([5; 32]), "invoice": "lnbcrt1qq",
                "credit_msat": 20000, "amount_msat": 5000, "expires_at": 1_800_000_600}),
    );
    let reply = proxy(|proxy| proxy.replies.remove(0));
    assert_eq!(reply.status, 402);
    assert_eq!(proxy(|proxy| proxy.effective), 3);
}

#[test]
fn a_lease_pays_without_a_call_and_is_reported_with_the_tick() {
    let first = three_for_one_lease();
    answer(&first, "200", &granted(5_000));
    unsafe { proxy_on_tick(ROOT) };
    answer(&one_call(), "200", &granted(10_000));
    unsafe { proxy_on_tick(ROOT) };
    let refill = one_call();
    let path = refill.headers.iter().find(|(name, _)| name == ":path").unwrap();
    assert!(path.1.ends_with(b"/extensions"));
    answer(&refill, "200", &granted(30_000));
    let credential = credential();
    assert_eq!(request_of(5, "/shared", &[("authorization", credential.as_bytes())]), CONTINUE,);
    proxy(|proxy| {
        assert_eq!(proxy.calls.len(), 0);
        assert!(proxy.shared.keys().all(|key| key.starts_with("tollway.lease.1.")));
        proxy.maps.insert(RESPONSE_HEADERS, headers(&[(":status", b"200")]));
    });
    assert_eq!(unsafe { proxy_on_response_headers(5, 1, true) }, CONTINUE);
    end_of(5);
    unsafe { proxy_on_tick(ROOT) };
    let batch: Value = serde_json::from_slice(&one_call().body).unwrap();
    assert_eq!(batch["postings"][0]["amount_msat"], 5_000);
    assert_eq!(batch["postings"][0]["release"], false);
    assert_eq!(metric("tollway_leases.event=opened"), 2);
}
