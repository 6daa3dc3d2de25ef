//! Tokens with budgets: what the gate tells the ledger of them, and what it tells their holders.

use serde_json::{Value, json};
use tollway_core::caveat::TIER_CREDITS;
use tollway_core::macaroon::Macaroon;
use tollway_gate::exchange::Step;
use tollway_gate::host::{CallReply, LogField};
use tollway_gate::metrics::Decision;

use crate::world::{NOW_S, World, body, config, granted, header, ok, preimage, token};

fn narrowed(caveats: &[&str]) -> Macaroon {
    let token = token("demo", TIER_CREDITS, 1, NOW_S + 60);
    caveats.iter().fold(token, |token, caveat| token.attenuate(caveat.as_bytes()))
}

fn credential(macaroons: &[Macaroon]) -> String {
    let macaroons: Vec<_> = macaroons.iter().map(Macaroon::to_base64).collect();
    format!("L402 {}:{}", macaroons.join(","), preimage().reveal_hex())
}

/// The hold that a request with this credential asks for.
fn asked(world: &World, credential: &str) -> Value {
    world.get("/api/joke", &[("authorization", credential.as_bytes())]);
    world.one_call("PUT", "/v1/holds/").json()
}

fn exhausted(resets_at: Option<u64>) -> CallReply {
    ok(&json!({"outcome": "refused", "refusal": "budget_exhausted", "balance_msat": 7_000,
               "resets_at": resets_at}))
}

#[test]
fn a_hold_names_the_budgets_of_its_token_the_outermost_first() {
    let world = World::new();
    let both = narrowed(&["budget=90000/month", "method=GET", "budget=50000/day/agent"]);
    let hold = asked(&world, &credential(&[both]));
    let budgets = hold["budgets"].as_array().unwrap();
    let terms: Vec<_> = budgets.iter().map(|it| (&it["limit_msat"], &it["window"])).collect();
    let (month, day) = (json!("month"), json!("day"));
    assert_eq!(terms, [(&json!(90_000), &month), (&json!(50_000), &day)]);
    // A sibling shares the outer one.
    let sibling = narrowed(&["budget=90000/month", "budget=50000/day/other"]);
    let other = asked(&world, &credential(&[sibling]));
    assert_eq!(other["budgets"][0], hold["budgets"][0]);
    assert_ne!(other["budgets"][1]["id"], hold["budgets"][1]["id"]);
    assert_eq!(asked(&world, &credential(&[narrowed(&[])])).get("budgets"), None);
    // Again from the cache.
    let first = credential(&[narrowed(&["budget=90000/month"])]);
    assert_eq!(asked(&world, &first), asked(&world, &first));
}

#[test]
fn of_several_macaroons_the_one_that_admits_pays() {
    let world = World::new();
    let (small, free) = (narrowed(&["budget=5000/day"]), narrowed(&["max_cost_msat=5000"]));
    let head = narrowed(&["budget=9000/day", "method=HEAD"]);
    let hold = asked(&world, &credential(&[head, small.clone(), free.clone()]));
    assert_eq!(hold["budgets"][0]["limit_msat"], 5_000);
    assert_eq!(asked(&world, &credential(&[free, small])).get("budgets"), None);
}

#[test]
fn an_exhausted_budget_is_no_reason_to_pay() {
    for (resets_at, status, retry_after) in
        [(Some(NOW_S + 90), 429, "90"), (Some(NOW_S - 1), 429, "1"), (None, 403, "")]
    {
        let world = World::new();
        let credential = credential(&[narrowed(&["budget=90000/day"])]);
        let (mut exchange, _) = world.get("/api/joke", &[("authorization", credential.as_bytes())]);
        let call = world.one_call("PUT", "/v1/holds/");
        let step = exchange.call_answered(&world.host, call.id, &exhausted(resets_at));
        let Step::Answer(reply) = step else { panic!("{step:?}") };
        assert_eq!((reply.status, header(&reply, "retry-after")), (status, retry_after));
        assert_eq!(body(&reply)["code"], "budget_exhausted");
        assert_eq!(header(&reply, "www-authenticate"), "");
        world.assert_no_call();
        assert_eq!(world.host.count_of(Decision::Denied), 1);
        assert_eq!(world.host.note_of(LogField::Reason), "budget_exhausted");
    }
}

#[test]
fn a_refusal_for_a_budget_that_the_token_does_not_have_is_our_fault() {
    let world = World::new();
    let (mut exchange, call) = world.paid("/api/joke");
    let step = exchange.call_answered(&world.host, call.id, &exhausted(None));
    let Step::Answer(reply) = step else { panic!("{step:?}") };
    assert_eq!(reply.status, 503);
}

#[test]
fn a_price_above_the_whole_budget_is_refused_before_the_ledger_is_asked() {
    let world = World::new();
    let credential = credential(&[narrowed(&["budget=4999/day"])]);
    let (mut exchange, _) = world.get("/api/joke", &[("authorization", credential.as_bytes())]);
    let (_, reply) = world.answer_challenge(&mut exchange);
    assert_eq!((reply.status, &body(&reply)["code"]), (402, &json!("cost_too_high")));
}

/// A lease would be spent by all tokens of the payment, and its spending told too late.
#[test]
fn on_a_leased_route_a_budget_is_counted_hold_by_hold() {
    let mut config = config();
    config["services"][0]["spend"] = json!("leased");
    config["services"][0]["lease_max_sats"] = json!(50);
    let world = World::with(&config);
    let plain = asked(&world, &credential(&[narrowed(&[])]));
    assert!(plain.get("min_msat").is_some(), "a lease: {plain}");
    for _ in 0..3 {
        let credential = credential(&[narrowed(&["budget=90000/day"])]);
        let (mut exchange, _) = world.get("/api/joke", &[("authorization", credential.as_bytes())]);
        let call = world.one_call("PUT", "/v1/holds/");
        let hold = call.json();
        assert_eq!((&hold["amount_msat"], hold.get("min_msat")), (&json!(5_000), None));
        assert_eq!(hold["budgets"][0]["limit_msat"], 90_000);
        let step = exchange.call_answered(&world.host, call.id, &granted(5_000, 15_000));
        assert_eq!(step, Step::Continue);
    }
}
