//! Sessions of the scheme `Payment`, through the whole product: a deposit that requests spend, and
//! whose rest goes back.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tollway_testkit::returning::return_invoice;
use tollway_testkit::stack::{Listeners, StackOptions};

use crate::harness::{Answer, Gateway, Http, config, eventually};
use crate::rails::{PROBLEMS, decoded, echo_in, request, sent, without_limits};

/// What sells sessions, and what may pay for them besides.
fn tollwayd_config(directory: &Path) -> PathBuf {
    let file = without_limits(directory);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "\n[payouts]\npayment_sessions = true\n").unwrap();
    file
}

fn filter(shadow: bool) -> Value {
    let mut filter = config();
    filter["payment_scheme"] = json!(true);
    filter["shadow"] = json!(shadow);
    filter
}

async fn shop(directory: &Path, listeners: Listeners) -> Gateway {
    let options = StackOptions {
        filter: Some(filter(false)),
        tollwayd_config: Some(tollwayd_config(directory)),
        listeners,
        ..StackOptions::default()
    };
    Gateway::with(options).await
}

/// A deposit that is paid.
struct Deposit {
    echo: Map<String, Value>,
    id: Value,
    preimage: String,
    /// The same payment as a token's.
    token: String,
}

/// The challenge that sells a session, which stands last.
fn offered(challenge: &Answer) -> Map<String, Value> {
    let echo = echo_in(challenge, 2, 3);
    assert_eq!(echo["intent"], "session");
    echo
}

impl Deposit {
    /// By a client of this name: others are asked to pay other invoices.
    async fn pay(http: &Http, client: &str) -> Self {
        let asks = http.request(reqwest::Method::GET, "/api/joke").header("user-agent", client);
        let challenge = http.send(asks).await;
        let echo = offered(&challenge);
        let asked = request(&echo);
        assert_eq!((&asked["amount"], &asked["depositAmount"]), (&json!("5"), &json!("20")));
        assert_eq!(asked["depositInvoice"], challenge.json()["invoice"], "the token's own");
        let token = http.pay(&challenge).await;
        let preimage = token.rsplit_once(':').unwrap().1.to_owned();
        Self { echo, id: asked["paymentHash"].clone(), preimage, token }
    }

    fn open(&self, number: u8) -> String {
        let back = return_invoice(number, None);
        let payload = json!({"action": "open", "preimage": self.preimage, "returnInvoice": back});
        sent(&self.echo, &payload)
    }

    /// `bearer` or `close`.
    fn act(&self, action: &str) -> String {
        let payload = json!({"action": action, "sessionId": self.id, "preimage": self.preimage});
        sent(&self.echo, &payload)
    }

    fn top_up(&self, session: &Value) -> String {
        let payload =
            json!({"action": "topUp", "sessionId": session, "topUpPreimage": self.preimage});
        sent(&self.echo, &payload)
    }
}

async fn joke(http: &Http, credential: String) -> Answer {
    http.get("/api/joke", Some(&credential)).await
}

/// Closes a session; so many sats go back, at once or soon.
async fn close(http: &Http, session: &Deposit, sats: u64) {
    let answer = eventually("what is left has gone back", async || {
        let answer = joke(http, session.act("close")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        (answer.json()["refundStatus"] == "succeeded").then_some(answer)
    })
    .await;
    let expected = json!({"status": "closed", "refundSats": sats, "refundStatus": "succeeded"});
    assert_eq!(answer.json(), expected);
    assert_eq!(decoded(answer.header("payment-receipt"))["refundSats"], sats);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_opened_spent_topped_up_and_closed_and_its_rest_returned() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = shop(folder.path(), Listeners::Static).await;
    let http = &gateway.http;
    let first = Deposit::pay(http, "first").await;
    let opened = joke(http, first.open(1)).await;
    assert_eq!((opened.status.as_u16(), opened.number("x-toll-cost-msat")), (200, 5_000));
    assert_eq!(decoded(opened.header("payment-receipt"))["reference"], first.id);

    let spent = joke(http, first.act("bearer")).await;
    assert_eq!((spent.status.as_u16(), spent.number("x-toll-balance-msat")), (200, 10_000));
    let added = joke(http, Deposit::pay(http, "second").await.top_up(&first.id)).await;
    assert_eq!((added.status.as_u16(), added.json()), (200, json!({"status": "ok"})));
    assert_eq!(decoded(added.header("payment-receipt"))["reference"], first.id);
    gateway.ledger_at_rest().await;

    close(http, &first, 30).await;
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 2);
    let over = joke(http, first.act("bearer")).await;
    assert_eq!(over.json()["type"], format!("{PROBLEMS}lightning/session-closed"));
    assert!(offered(&over)["id"].is_string(), "a fresh challenge");
    let stats = gateway.ledger_at_rest().await;
    assert_eq!((&stats["charged_msat"], &stats["balance_msat"]), (&json!(10_000), &json!(0)));
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_shown_as_a_session_and_as_a_token_at_once_is_one_of_them() {
    const RACES: u8 = 200;
    let folder = tempfile::tempdir().unwrap();
    let gateway = shop(folder.path(), Listeners::Static).await;
    let doors = [gateway.http.fresh(), gateway.http.fresh()];
    let mut sessions = 0;
    for race in 0..RACES {
        let deposit = Deposit::pay(&gateway.http, &format!("racer {race}")).await;
        let mut shown = [deposit.token.clone(), deposit.open(race)];
        shown.rotate_left(usize::from(race % 2));
        let [one, two] = shown;
        let (one, two) = tokio::join!(joke(&doors[0], one), joke(&doors[1], two));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 402], "{one:?} {two:?}");
        let receipts = [&one, &two].map(|answer| answer.header("payment-receipt"));
        sessions += u8::from(receipts.iter().any(|receipt| !receipt.is_empty()));
    }
    assert!((1..RACES).contains(&sessions), "both win at times: {sessions} sessions");
    let races = u64::from(RACES);
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), races);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["credited_msat"], races * 20_000);
    assert_eq!(stats["charged_msat"], races * 5_000);
    gateway.audit();
}

/// Waits until new connections meet this configuration, which answers an unpaid joke so.
async fn reloaded(gateway: &mut Gateway, shadow: bool, status: u16) {
    gateway.stack.reload_filter(filter(shadow)).await.unwrap();
    eventually("the new configuration answers", async || {
        let answer = gateway.http.fresh().get("/api/joke", None).await;
        (answer.status == status).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_shadow_a_session_and_a_charge_pay_for_nothing_and_the_rest_still_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = shop(folder.path(), Listeners::Watched).await;
    let (first, second) =
        (Deposit::pay(&gateway.http, "a").await, Deposit::pay(&gateway.http, "b").await);
    let unpaid = gateway.http.get("/api/joke", None).await;
    let charge = echo_in(&unpaid, 1, 3);
    let invoice = request(&charge)["methodDetails"]["invoice"].clone();
    let preimage = gateway.http.preimage(invoice.as_str().unwrap()).await;
    let charge = sent(&charge, &json!({"preimage": preimage}));
    reloaded(&mut gateway, true, 200).await;
    let before = gateway.stack.upstream().hits().of("/api/joke");

    // The upstream serves what would have been paid, and nobody is told of money.
    let http = gateway.http.fresh();
    for credential in [first.open(1), first.act("bearer"), first.act("bearer"), charge.clone()] {
        let served = joke(&http, credential).await;
        assert_eq!((served.status.as_u16(), served.header("payment-receipt")), (200, ""));
        assert_eq!(served.header("x-toll-cost-msat"), "");
        assert!(served.json()["joke"].is_string());
    }
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), before + 4);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!((&stats["charged_msat"], &stats["balance_msat"]), (&json!(0), &json!(45_000)));

    // What the client does with its own money is done, told, and no joke.
    let added = joke(&http, second.top_up(&first.id)).await;
    assert_eq!((added.status.as_u16(), added.json()), (200, json!({"status": "ok"})));
    close(&http, &first, 40).await;
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), before + 4);
    // A session that is over would have been refused.
    assert_eq!(joke(&http, first.act("bearer")).await.status, 200);
    let met = async |decision: &str| {
        let name = format!("wasmcustom.tollway_shadow.decision={decision}");
        gateway.stack.envoy_stat(&name).await.unwrap()
    };
    assert_eq!((met("ok").await, met("invalid").await), (4, 1));
    assert!(met("replayed").await >= 2, "the top-up and the end");

    // Enforced again, the charge is as good as before, once.
    reloaded(&mut gateway, false, 402).await;
    let http = gateway.http.fresh();
    assert_eq!(joke(&http, charge.clone()).await.number("x-toll-cost-msat"), 5_000);
    assert_eq!(joke(&http, charge).await.status, 402);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!((&stats["charged_msat"], &stats["balance_msat"]), (&json!(5_000), &json!(0)));
    gateway.audit();
}
