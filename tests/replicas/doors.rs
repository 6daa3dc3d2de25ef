//! The filter's calls to one replica, sent until it answers them.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, from_value, json, to_value};
use tollway_core::entropy::Entropy;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::{PaymentHash, Preimage};
use tollway_core::wire::{
    ChallengeReply, HoldReply, HoldRequest, Overrun, Posting, PostingBatch, PostingReply,
    PostingResult,
};
use tollway_testkit::stack::{Replica, Stack};
use tollwayd::clock::{Clock, SystemClock};

use crate::harness::Http;

const TTL_MS: u64 = 120_000;
const PAUSE: Duration = Duration::from_millis(20);

/// The gate listener of one replica.
#[derive(Clone)]
pub(crate) struct Doors {
    client: Client,
    gate: String,
    token: String,
}

/// A payment and its proof.
#[derive(Clone)]
pub(crate) struct Paid {
    pub(crate) hash: PaymentHash,
    pub(crate) preimage: Preimage,
}

impl Doors {
    pub(crate) fn of(stack: &Stack, replica: Replica) -> Self {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        Self { client, gate: stack.gate_url_of(replica), token: stack.gate_token().to_owned() }
    }

    /// Buys credit for a new account.
    pub(crate) async fn buy(&self, http: &Http, amount_msat: u64) -> Paid {
        let order = json!({"route": "echo", "service": "demo", "amount_msat": amount_msat,
                           "credit_msat": amount_msat, "memo": ""});
        let reply = self.insist(Method::POST, "/v1/challenges", &order).await;
        let reply = from_value(reply).unwrap();
        let ChallengeReply::Invoice { payment_hash, invoice, .. } = reply else {
            panic!("expected an invoice, but found {reply:?}");
        };
        let preimage = http.preimage(&invoice).await;
        Paid { hash: payment_hash, preimage: Preimage::from_hex(preimage.as_bytes()).unwrap() }
    }

    pub(crate) async fn hold(&self, id: HoldId, paid: &Paid, amount_msat: u64) -> HoldReply {
        let request = HoldRequest {
            payment_hash: paid.hash,
            preimage: Some(paid.preimage.clone()),
            hash_alone: false,
            amount_msat: Msat::new(amount_msat).unwrap(),
            min_msat: None,
            ttl_ms: TTL_MS,
            route: "echo".to_owned(),
            idempotency: None,
            take_back: None,
            budgets: Vec::new(),
            import_msat: None,
            tier: None,
        };
        let request = to_value(request).unwrap();
        from_value(self.insist(Method::PUT, &format!("/v1/holds/{id}"), &request).await).unwrap()
    }

    pub(crate) async fn post(&self, posting: Posting) -> PostingResult {
        let batch = to_value(PostingBatch { postings: vec![posting] }).unwrap();
        let reply = self.insist(Method::POST, "/v1/postings", &batch).await;
        let reply: PostingReply = from_value(reply).unwrap();
        reply.outcomes[0]
    }

    /// Repeats a call, as it is, while the answer is the server's fault.
    async fn insist(&self, method: Method, path: &str, body: &Value) -> Value {
        loop {
            let call = self.client.request(method.clone(), format!("{}{path}", self.gate));
            if let Some(answer) = self.answer(call.json(body)).await {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn answer(&self, call: RequestBuilder) -> Option<Value> {
        let response = call.bearer_auth(&self.token).send().await.ok()?;
        let status = response.status();
        if status.is_server_error() {
            return None;
        }
        let text = response.text().await.ok()?;
        assert_eq!(status, 200, "{text}");
        Some(serde_json::from_str(&text).unwrap())
    }
}

/// An id as the filter mints it.
pub(crate) fn new_id() -> HoldId {
    HoldId::mint(SystemClock.now_ms(), random())
}

/// Random bytes that no other call gets.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    use std::hash::{BuildHasher, RandomState};
    let seed = RandomState::new().hash_one("replicas");
    let drawn = Entropy::from_seed(&seed.to_be_bytes()).draw();
    std::array::from_fn(|at| drawn[at])
}

/// One charge of a hold.
pub(crate) fn charge(hold: HoldId, seq: u32, amount_msat: u64, release: bool) -> Posting {
    Posting {
        requests: 1,
        hold,
        seq,
        amount_msat: Msat::new(amount_msat).unwrap(),
        route: "echo".to_owned(),
        release,
        overrun: Overrun::Cap,
        store: None,
    }
}
