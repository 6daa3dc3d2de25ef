//! Tokens that come without a preimage: whether they are paid is looked up.

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{HoldRefusal, HoldReply, HoldRequest};
use tollway_testkit::standin::{Kind, Mischief};

use crate::settlement::Shop;
use crate::support::*;

fn order(proof: &str) -> Value {
    let mut body = challenge(10_000, "jokes");
    body["proof"] = json!(proof);
    body
}

pub(crate) async fn sold(doors: &Doors, proof: &str) -> Invoice {
    invoice(doors.challenge(order(proof)).await).await
}

/// A hold for a token of this payment, without the preimage.
pub(crate) fn bare(hash: PaymentHash) -> HoldRequest {
    let amount_msat = Msat::new(1_000).unwrap();
    HoldRequest {
        payment_hash: hash,
        preimage: None,
        hash_alone: false,
        amount_msat,
        min_msat: None,
        ttl_ms: 60_000,
        route: "joke".to_owned(),
        idempotency: None,
        take_back: None,
        budgets: Vec::new(),
        import_msat: None,
        tier: None,
    }
}

async fn ask(doors: &Doors, request: &HoldRequest) -> HoldReply {
    expect(doors.put_hold(new_id(), request).await, StatusCode::OK).await
}

async fn refusal(doors: &Doors, request: &HoldRequest) -> HoldRefusal {
    match ask(doors, request).await {
        HoldReply::Refused { refusal, balance_msat: Msat::ZERO, .. } => refusal,
        reply => panic!("expected a refusal that tells nothing, but found {reply:?}"),
    }
}

async fn assert_served(doors: &Doors, request: &HoldRequest, balance: u64) {
    match ask(doors, request).await {
        HoldReply::Granted { balance_msat, .. } => assert_eq!(balance_msat.get(), balance),
        reply => panic!("expected a grant, but found {reply:?}"),
    }
}

#[tokio::test]
async fn a_payment_that_only_the_node_knows_is_found_and_credited_once() {
    for (kind, proof) in [(Kind::Lnd, "lookup"), (Kind::Btcpay, "lookup"), (Kind::Cln, "hash")] {
        let shop = Shop::open(kind).await;
        // Nothing is heard of payments, and no plan comes due while the clock stands still.
        shop.node.till.set(Mischief::Silent, true);
        let invoice = sold(&shop.doors, proof).await;
        let request = bare(invoice.payment_hash);
        assert_eq!(refusal(&shop.doors, &request).await, HoldRefusal::PaymentPending);
        shop.node.till.pay(&invoice.invoice, 500).unwrap();
        assert_eq!(shop.settlements().await, 0);
        // A quick payer is not kept waiting by what the node said a second ago.
        shop.clock.advance_ms(1_000);
        assert_served(&shop.doors, &request, 9_500).await;
        assert_served(&shop.doors, &request, 8_500).await;
        assert_eq!((shop.settlements().await, shop.balance(&invoice).await), (1, 10_500));
        shop.audited().await;
    }
}

#[tokio::test]
async fn a_crowd_with_one_payment_credits_it_once() {
    let shop = Shop::open(Kind::Lnd).await;
    let invoice = sold(&shop.doors, "lookup").await;
    shop.node.till.pay(&invoice.invoice, 0).unwrap();
    let request = bare(invoice.payment_hash);
    // A look-up may take too long on a busy machine; then the client comes again.
    let answered = async || {
        let response = shop.doors.put_hold(new_id(), &request).await;
        let busy = response.status() == StatusCode::SERVICE_UNAVAILABLE;
        (!busy).then_some(response)
    };
    let client = async || expect(until("answered", answered).await, StatusCode::OK).await;
    let replies: Vec<HoldReply> = join_all((0..32).map(|_| client())).await;
    let granted = replies.iter().filter(|it| matches!(it, HoldReply::Granted { .. })).count();
    assert_eq!(granted, 10, "ten thousand msat pay for ten: {replies:?}");
    assert_eq!((shop.settlements().await, shop.balance(&invoice).await), (1, 10_000));
    shop.audited().await;
}

#[tokio::test]
async fn a_node_is_asked_once_while_its_answer_is_fresh_and_one_that_is_down_is_no_refusal() {
    let shop = Shop::open(Kind::Lnd).await;
    shop.node.till.set(Mischief::Silent, true);
    let invoice = sold(&shop.doors, "lookup").await;
    let request = bare(invoice.payment_hash);
    shop.until_gauged().await;
    let before = shop.node.till.look_ups();
    for _ in 0..20 {
        assert_eq!(refusal(&shop.doors, &request).await, HoldRefusal::PaymentPending);
    }
    assert_eq!(shop.node.till.look_ups() - before, 1);

    shop.node.till.pay(&invoice.invoice, 0).unwrap();
    shop.node.till.set(Mischief::Down, true);
    shop.clock.advance_ms(1_000);
    let response = shop.doors.put_hold(new_id(), &request).await;
    let problem = problem(response).await;
    assert_eq!((problem.status, problem.code.as_str()), (503, "lightning_unavailable"));
    shop.node.till.set(Mischief::Down, false);
    assert_served(&shop.doors, &request, 9_000).await;
    // What is credited needs no node.
    shop.node.till.set(Mischief::Down, true);
    assert_served(&shop.doors, &request, 8_000).await;
    shop.audited().await;
}

#[tokio::test]
async fn nobody_spends_by_what_is_no_proof_of_the_payment() {
    use HoldRefusal::{PaymentNotProven, UnknownPayment};
    let server = Server::start().await;
    let hash_alone = |hash| HoldRequest { hash_alone: true, ..bare(hash) };
    let elsewhere = |request| HoldRequest { route: "time".to_owned(), ..request };
    let [by_preimage, by_token, by_hash] = [
        sold(&server, "preimage").await,
        sold(&server, "lookup").await,
        sold(&server, "hash").await,
    ];
    for invoice in [&by_preimage, &by_token, &by_hash] {
        server.paid_invoice(invoice).await;
    }
    for request in [
        bare(by_preimage.payment_hash),
        hash_alone(by_preimage.payment_hash),
        hash_alone(by_token.payment_hash),
        elsewhere(hash_alone(by_hash.payment_hash)),
    ] {
        assert_eq!(refusal(&server, &request).await, PaymentNotProven, "{request:?}");
    }
    assert_served(&server, &elsewhere(bare(by_token.payment_hash)), 9_000).await;
    assert_served(&server, &hash_alone(by_hash.payment_hash), 9_000).await;
    assert_served(&server, &elsewhere(bare(by_hash.payment_hash)), 8_000).await;

    // Tokens of another paywall are worth something only with their preimage.
    let worth = |request| HoldRequest { import_msat: Msat::new(10_000), ..request };
    let stranger = PaymentHash::from_bytes([9; 32]);
    for request in [worth(bare(stranger)), worth(hash_alone(stranger))] {
        assert_eq!(refusal(&server, &request).await, UnknownPayment);
    }
}

#[tokio::test]
async fn an_impatient_payer_gets_the_invoice_that_it_has_and_nobody_shares_it() {
    let server = Server::start().await;
    let client = json!({"address": "192.0.2.1", "fingerprint": "0123456789abcdef"});
    let ask = async |more: Value| {
        let mut body = order("lookup");
        body["client"] = client.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        invoice(server.challenge(body).await).await
    };
    let [first, second] = [ask(json!({})).await, ask(json!({})).await];
    assert_ne!(first.invoice, second.invoice, "a token is the proof, so each has its payment");
    let pending = json!({"pending": first.payment_hash});
    assert_eq!(ask(pending.clone()).await.invoice, first.invoice);
    for other in [
        json!({"amount_msat": 11_000, "credit_msat": 11_000}),
        json!({"credit_msat": 11_000}),
        json!({"route": "time"}),
        json!({"proof": "hash"}),
        json!({"proof": "preimage"}),
    ] {
        let mut asked = pending.clone();
        asked.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        assert_ne!(ask(asked).await.invoice, first.invoice, "{other} is another sale");
    }
    server.paid_invoice(&first).await;
    assert_ne!(ask(pending).await.invoice, first.invoice, "it is paid");
    let late = json!({"pending": second.payment_hash});
    server.clock.advance_ms(600_000);
    assert_ne!(ask(late).await.invoice, second.invoice, "it can no longer be paid");
}

#[tokio::test]
async fn a_gateway_without_its_node_is_not_ready_for_its_operator_and_serves_who_has_credit() {
    let shop = Shop::open(Kind::Lnd).await;
    let invoice = sold(&shop.doors, "lookup").await;
    shop.node.till.pay(&invoice.invoice, 0).unwrap();
    assert_served(&shop.doors, &bare(invoice.payment_hash), 9_000).await;
    let ready = async |base: &str| {
        let response = shop.doors.client.get(format!("{base}/readyz")).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.unwrap())
    };
    let (gate, admin) = (shop.doors.gate.clone(), shop.doors.admin.clone());
    assert_eq!(ready(&admin).await.0, 200);
    let gauges =
        [r#"tollwayd_node_up{backend="lnd"}"#, r#"tollwayd_node_inbound_msat{backend="lnd"}"#];
    shop.until_gauged().await;
    assert_eq!([shop.count(gauges[0]).await, shop.count(gauges[1]).await], [1, 2_000_000_000]);

    shop.node.till.set(Mischief::Down, true);
    let before = shop.node.till.look_ups();
    assert_eq!(ready(&admin).await.0, 200, "as it was a moment ago");
    assert_eq!(shop.node.till.look_ups(), before);
    shop.clock.advance_ms(5_000);
    let (status, problem) = ready(&admin).await;
    assert_eq!((status, &problem["code"]), (503, &json!("lightning_unavailable")));
    let (status, body) = ready(&gate).await;
    assert_eq!((status, &body["store"], &body["node"]), (200, &json!("ok"), &json!("down")));
    assert_served(&shop.doors, &bare(invoice.payment_hash), 8_000).await;
    shop.node.till.set(Mischief::Down, false);
    shop.clock.advance_ms(5_000);
    assert_eq!(ready(&admin).await.0, 200);
}
