//! Holds of one turn: which of them travel together, and that each gets its own reply.

use serde_json::{Value, json};
use tollway_core::id::HoldId;
use tollway_core::wire::HOLDS_PER_BATCH_MAX;
use tollway_gate::host::{CallId, CallReply};
use tollway_gate::pool::{Answered, Pool};

use crate::world::{World, config, granted, ok};

/// A world, and holds of these requests that wait for the end of the turn.
struct Turn {
    world: World,
    pool: Pool<u64>,
    calls: Vec<CallId>,
}

impl Turn {
    fn of(requests: u64) -> Self {
        let (world, pool) = (World::new(), Pool::default());
        let take = |n: u64| {
            let call = pool.add(id(n), format!("{{\"n\":{n}}}").as_bytes());
            pool.attach(call, n).unwrap();
            call
        };
        let calls = (1..=requests).map(take).collect();
        Self { world, pool, calls }
    }

    fn end(&self) -> Vec<Answered<u64>> {
        self.pool.send(&self.world.host, &self.world.gate.config().tollwayd)
    }

    fn answered(&self, call: CallId, reply: &CallReply) -> Vec<(u64, Option<u16>, String)> {
        let to = &self.world.gate.config().tollwayd;
        let answered = self.pool.answered(&self.world.host, to, call, reply);
        answered.into_iter().flatten().map(|it| self.told(it)).collect()
    }

    fn told(&self, it: Answered<u64>) -> (u64, Option<u16>, String) {
        assert_eq!(it.call, self.calls[it.request as usize - 1]);
        (it.request, it.reply.status, String::from_utf8(it.reply.body).unwrap())
    }
}

fn id(n: u64) -> HoldId {
    HoldId::mint(n, [n as u8; 10])
}

fn lines(text: &str) -> CallReply {
    CallReply { status: Some(200), body: text.into() }
}

#[test]
fn one_travels_as_it_would_alone() {
    let turn = Turn::of(1);
    assert!(turn.end().is_empty());
    let call = turn.world.one_call("PUT", &format!("/v1/holds/{}", id(1)));
    assert_eq!(call.body, b"{\"n\":1}");
    let told = turn.answered(call.id, &ok(&json!("reply")));
    assert_eq!(told, [(1, Some(200), "\"reply\"".to_owned())]);
    assert_eq!(turn.answered(call.id, &ok(&json!("again"))), []);
    assert!(turn.end().is_empty());
    turn.world.assert_no_call();
}

#[test]
fn several_share_a_call_and_each_gets_its_line() {
    let turn = Turn::of(3);
    assert!(turn.end().is_empty());
    let call = turn.world.one_call("POST", "/v1/holds");
    let sent: Vec<Value> = String::from_utf8(call.body)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected: Vec<_> = (1..=3).map(|n| json!([id(n).to_string(), {"n": n}])).collect();
    assert_eq!(sent, expected);
    let told = turn.answered(call.id, &lines("[200,{\"a\":1}]\n[409,{}]\n[200,[2,3]]\n"));
    let expected = [(1, Some(200), "{\"a\":1}"), (2, Some(409), "{}"), (3, Some(200), "[2,3]")];
    assert_eq!(told, expected.map(|(n, status, body)| (n, status, body.to_owned())));
}

#[test]
fn one_that_takes_longer_is_asked_for_alone() {
    let turn = Turn::of(2);
    turn.end();
    let call = turn.world.one_call("POST", "/v1/holds");
    let told = turn.answered(call.id, &lines("[202,null]\n[200,{}]\n"));
    assert_eq!(told, [(2, Some(200), "{}".to_owned())]);
    let alone = turn.world.one_call("PUT", &format!("/v1/holds/{}", id(1)));
    let told = turn.answered(alone.id, &lines("{}"));
    assert_eq!(told, [(1, Some(200), "{}".to_owned())]);
}

/// Nobody is taken for another: unless the reply is one to all, nobody has an answer.
#[test]
fn a_reply_that_is_none_to_all_is_one_to_nobody() {
    for text in [
        "",
        "[200,{}]\n",
        "[200,{}]\n[200,{}]",
        "[200,{}]\n[200,{}]\n[200,{}]\n",
        "[200,{}]\n\n",
        "[200,{}]\n[x,{}]\n",
        "[200,{}]\n{}\n",
    ] {
        let turn = Turn::of(2);
        turn.end();
        let call = turn.world.one_call("POST", "/v1/holds");
        let expected = [1, 2].map(|n| (n, Some(200), String::new()));
        assert_eq!(turn.answered(call.id, &lines(text)), expected, "{text:?}");
    }
    for status in [None, Some(401), Some(503), Some(504)] {
        let turn = Turn::of(2);
        turn.end();
        let call = turn.world.one_call("POST", "/v1/holds");
        let reply = CallReply { status, body: b"[200,{}]\n[200,{}]\n".to_vec() };
        let expected = [1, 2].map(|n| (n, status, String::new()));
        assert_eq!(turn.answered(call.id, &reply), expected);
    }
}

#[test]
fn what_cannot_be_sent_is_answered_at_once() {
    let turn = Turn::of(2);
    turn.world.host.set_cluster_gone(true);
    let told: Vec<_> = turn.end().into_iter().map(|it| turn.told(it)).collect();
    assert_eq!(told, [1, 2].map(|n| (n, None, String::new())));
}

#[test]
fn a_long_turn_takes_several_calls() {
    let turn = Turn::of(HOLDS_PER_BATCH_MAX as u64 * 2 + 1);
    assert!(turn.end().is_empty());
    let calls = turn.world.host.take_calls();
    let sizes: Vec<_> = calls.iter().map(|it| it.body.split(|b| *b == b'\n').count()).collect();
    // Each line of a batch ends with a break; a hold alone is no line.
    assert_eq!(sizes, [HOLDS_PER_BATCH_MAX + 1, HOLDS_PER_BATCH_MAX + 1, 1]);
}

#[test]
fn a_hold_that_nobody_waits_for_is_placed_and_its_reply_dropped() {
    let world = World::new();
    let pool = Pool::default();
    let call = pool.add(id(1), b"{}");
    assert_eq!(pool.attach(CallId(call.0 + 1), 9), Err(9), "that one waits for another call");
    let to = &world.gate.config().tollwayd;
    assert!(pool.send(&world.host, to).is_empty());
    let sent = world.one_call("PUT", "/v1/holds/");
    assert!(pool.answered(&world.host, to, sent.id, &lines("{}")).is_some_and(|it| it.is_empty()));
    assert!(pool.answered(&world.host, to, sent.id, &lines("{}")).is_none());
}

/// What may be answered at length, or only after the node was asked, keeps nobody waiting.
#[test]
fn only_plain_holds_travel_with_others() {
    let mut config = config();
    config["routes"][0]["idempotency"] = json!("charge_once");
    let world = World::with(&config);
    world.host.set_pools();
    let credential = world.credential("demo");
    let authorization = ("authorization", credential.as_bytes());
    let (mut exchange, _) = world.get("/api/joke", &[authorization]);
    assert_eq!(world.host.take_pooled().len(), 1);
    world.assert_no_call();
    let call = exchange.awaited_call().unwrap();
    exchange.call_answered(&world.host, call, &granted(5_000, 1_000));
    assert!(exchange.awaited_call().is_none(), "its reply is one like any other");

    world.get("/api/joke", &[authorization, ("idempotency-key", b"once")]);
    assert_eq!(world.host.take_pooled(), []);
    world.one_call("PUT", "/v1/holds/");
}
