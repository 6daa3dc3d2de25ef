//! x402 through the real Envoy: what an answer waits for, and what becomes of one that is not
//! settled. The facilitator is a stand-in that says what a test has it say; the published one
//! settles on a chain in `make test-clients`.

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tollway_testkit::stack::{StackOptions, root};

use crate::harness::{Answer, Gateway, Http, config};

const NETWORK: &str = "eip155:84532";
const SELLER: &str = "0x1111111111111111111111111111111111111111";
const BUYER: &str = "0x2222222222222222222222222222222222222222";
const ASSET: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";

/// A stand-in of a facilitator.
#[derive(Clone)]
struct StandIn {
    url: String,
    /// What it answers to a settlement.
    says: Arc<Mutex<(u16, Value)>>,
    settlements: Arc<Mutex<u32>>,
}

impl StandIn {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stand_in = Self { url, says: Arc::default(), settlements: Arc::default() };
        stand_in.settles();
        let router = Router::new().fallback(answer).with_state(stand_in.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        stand_in
    }

    fn says(&self, status: u16, body: Value) {
        *self.says.lock().unwrap() = (status, body);
    }

    fn settles(&self) {
        self.says(200, json!({"success": true, "transaction": "0xfeed", "network": NETWORK}));
    }

    fn settlements(&self) -> u32 {
        *self.settlements.lock().unwrap()
    }
}

async fn answer(State(it): State<StandIn>, request: Request) -> impl IntoResponse {
    if request.uri().path() == "/verify" {
        return (StatusCode::OK, Json(json!({"isValid": true, "payer": BUYER})));
    }
    *it.settlements.lock().unwrap() += 1;
    let (status, body) = it.says.lock().unwrap().clone();
    (StatusCode::from_u16(status).unwrap(), Json(body))
}

struct Shop {
    gateway: Gateway,
    facilitator: StandIn,
    _folder: TempDir,
}

impl Shop {
    async fn open() -> Self {
        Self::open_with(|_| ()).await
    }

    async fn open_with(change: impl FnOnce(&mut Value)) -> Self {
        let facilitator = StandIn::start().await;
        let folder = tempfile::tempdir().unwrap();
        let shipped = std::fs::read_to_string(root().unwrap().join("envoy/tollwayd.toml")).unwrap();
        let more = format!(
            "\n[[rates.source]]\ncurrency = \"USD\"\nfixed = \"100000\"\n[x402]\n\
             facilitator = \"{}\"\npublic_url = \"https://api.example.com\"\n\
             network = \"{NETWORK}\"\npay_to = \"{SELLER}\"\nasset = \"{ASSET}\"\n\
             asset_name = \"USDC\"\nasset_version = \"2\"\ncurrency = \"USD\"\n",
            facilitator.url
        );
        let path = folder.path().join("tollwayd.toml");
        std::fs::write(&path, shipped + &more).unwrap();
        let mut filter = config();
        filter["services"][0]["x402"] = json!(true);
        change(&mut filter);
        let options = StackOptions {
            filter: Some(filter),
            tollwayd_config: Some(path),
            ready_path: Some("/echo".to_owned()),
            ..StackOptions::default()
        };
        Self { gateway: Gateway::with(options).await, facilitator, _folder: folder }
    }

    fn http(&self) -> &Http {
        &self.gateway.http
    }

    fn hits(&self, path: &str) -> u64 {
        self.gateway.stack.upstream().hits().of(path)
    }
}

/// A payment of so many millionths of a dollar.
fn payment(nonce: u8, units: &str) -> String {
    let payment = json!({
        "x402Version": 2,
        "accepted": {"scheme": "exact", "network": NETWORK, "amount": units, "asset": ASSET,
                     "payTo": SELLER, "maxTimeoutSeconds": 300},
        "payload": {
            "signature": format!("0x{}", "ab".repeat(65)),
            "authorization": {"from": BUYER, "to": SELLER, "value": units, "validAfter": "0",
                              "validBefore": "9000000000",
                              "nonce": format!("0x{}", hex::encode([nonce; 32]))},
        },
    });
    STANDARD.encode(payment.to_string())
}

/// Sends a payment.
pub(crate) async fn show(http: &Http, path: &str, payment: &str) -> Answer {
    http.send(http.request(Method::GET, path).header("payment-signature", payment)).await
}

/// What the receipt says.
pub(crate) fn receipt(answer: &Answer) -> Value {
    serde_json::from_slice(&STANDARD.decode(answer.header("payment-response")).unwrap()).unwrap()
}

#[tokio::test]
async fn an_answer_leaves_when_it_is_settled_and_never_before() {
    let shop = Shop::open().await;
    let unpaid = shop.http().get("/api/joke", None).await;
    assert_eq!(unpaid.status, 402);
    assert!(unpaid.header("www-authenticate").starts_with("L402 "));
    assert_eq!(unpaid.json()["accepts"][0]["maxAmountRequired"], "5000");
    let offer = STANDARD.decode(unpaid.header("payment-required")).unwrap();
    let offer: Value = serde_json::from_slice(&offer).unwrap();
    assert_eq!(offer["accepts"][0]["amount"], "5000");

    // Settled: the answer with its receipt, and the price is revenue.
    let paid = show(shop.http(), "/api/joke", &payment(1, "5000")).await;
    assert_eq!(paid.status, 200, "{paid:?}");
    assert!(paid.json()["joke"].is_string());
    assert_eq!(receipt(&paid)["success"], true);
    assert_eq!(paid.number("x-toll-cost-msat"), 5_000);
    let stats = shop.gateway.ledger_at_rest().await;
    assert_eq!((&stats["credited_msat"], &stats["charged_msat"]), (&json!(5_000), &json!(5_000)));

    // The same payment again pays for nothing.
    let again = show(shop.http(), "/api/joke", &payment(1, "5000")).await;
    assert_eq!((again.status.as_u16(), shop.hits("/api/joke")), (402, 1), "{again:?}");

    // Not settled: nothing of the answer, and the next request is served.
    let no = json!({"success": false, "errorReason": "insufficient_funds", "transaction": ""});
    shop.facilitator.says(200, no);
    let refused = show(shop.http(), "/api/joke", &payment(2, "5000")).await;
    assert_eq!((refused.status.as_u16(), shop.hits("/api/joke")), (402, 2), "{refused:?}");
    assert_eq!(refused.code(), "payment_not_settled");
    assert_eq!(receipt(&refused)["errorReason"], "insufficient_funds");
    assert_eq!(refused.header("x-toll-cost-msat"), "");

    // Not known: 503, and the same payment is served when it is known, without another.
    shop.facilitator.says(500, json!({}));
    let unknown = show(shop.http(), "/api/joke", &payment(3, "5000")).await;
    assert_eq!((unknown.status.as_u16(), unknown.header("retry-after")), (503, "1"));
    assert_eq!(shop.hits("/api/joke"), 3);
    let still = show(shop.http(), "/api/joke", &payment(3, "5000")).await;
    assert_eq!((still.status.as_u16(), shop.hits("/api/joke")), (503, 3), "not served unpaid");
    shop.facilitator.settles();
    let known = show(shop.http(), "/api/joke", &payment(3, "5000")).await;
    assert_eq!((known.status.as_u16(), shop.hits("/api/joke")), (200, 4), "{known:?}");
    let stats = shop.gateway.ledger_at_rest().await;
    assert_eq!((&stats["credited_msat"], &stats["charged_msat"]), (&json!(10_000), &json!(10_000)));

    // An error of the upstream is never settled.
    let before = shop.facilitator.settlements();
    let error = show(shop.http(), "/status/500", &payment(4, "1000")).await;
    assert_eq!((error.status.as_u16(), shop.facilitator.settlements()), (500, before), "{error:?}");
    // What comes in many parts waits whole.
    let stream = show(shop.http(), "/stream", &payment(5, "1000")).await;
    assert_eq!(stream.status, 200);
    assert!(!stream.body.is_empty());
    shop.gateway.audit();
}

#[tokio::test]
async fn of_sixty_four_requests_with_one_payment_the_upstream_sees_one() {
    let shop = Shop::open().await;
    let mut requests = JoinSet::new();
    for _ in 0..64 {
        let http = shop.http().clone();
        requests.spawn(async move { show(&http, "/api/joke", &payment(7, "5000")).await.status });
    }
    let statuses = requests.join_all().await;
    let served = statuses.iter().filter(|status| status.as_u16() == 200).count();
    assert_eq!((served, shop.hits("/api/joke")), (1, 1), "{statuses:?}");
    assert_eq!(shop.facilitator.settlements(), 1);
    let stats = shop.gateway.ledger_at_rest().await;
    assert_eq!((&stats["credited_msat"], &stats["charged_msat"]), (&json!(5_000), &json!(5_000)));
    shop.gateway.audit();
}

#[tokio::test]
async fn in_shadow_no_payment_is_settled() {
    let shop = Shop::open_with(|filter| filter["routes"][0]["shadow"] = json!(true)).await;
    let served = show(shop.http(), "/api/joke", &payment(1, "5000")).await;
    assert_eq!((served.status.as_u16(), shop.hits("/api/joke")), (200, 1), "{served:?}");
    assert!(served.json()["joke"].is_string());
    assert_eq!((served.header("payment-response"), served.header("x-toll-cost-msat")), ("", ""));
    assert_eq!(shop.facilitator.settlements(), 0);
    // The route beside it is enforced.
    assert_eq!(show(shop.http(), "/echo", &payment(2, "1000")).await.status, 200);
    assert_eq!(shop.facilitator.settlements(), 1);
    let stats = shop.gateway.ledger_at_rest().await;
    assert_eq!((&stats["credited_msat"], &stats["charged_msat"]), (&json!(1_000), &json!(1_000)));
    shop.gateway.audit();
}
