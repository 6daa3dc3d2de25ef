//! What is sold before and after the moment of a backup, and what is left of it once the ledger
//! is back at that moment. The same on every store.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Gateway, config};

/// A hundred sats buy a tenth more, and every new account gets two sats.
pub(crate) fn shop() -> Value {
    let mut filter = config();
    filter["services"][0] = json!({
        "name": "demo",
        "purchase": {"default_sats": 20, "max_sats": 1_000,
                     "bonus": [{"from_sats": 100, "add_percent": 10}]},
        "seed_sats": 2
    });
    filter
}

/// Credentials that were bought before the backup.
pub(crate) struct Before {
    bought: String,
    nearly_spent: String,
}

/// Credentials that were bought after it, and an invoice that nobody had paid yet.
pub(crate) struct After {
    bought: String,
    topped_up: String,
    unpaid: Answer,
}

async fn choose(gateway: &Gateway) -> Answer {
    let request = gateway.http.request(Method::GET, "/echo");
    gateway.http.send(request.header("x-toll-purchase-sats", "100")).await
}

/// What the credential has left after one more request.
async fn spend(gateway: &Gateway, path: &str, credential: &str) -> u64 {
    let answer = gateway.http.get(path, Some(credential)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.number("x-toll-balance-msat")
}

pub(crate) async fn before(gateway: &Gateway) -> Before {
    let bought = gateway.http.pay(&choose(gateway).await).await;
    assert_eq!(spend(gateway, "/echo", &bought).await, 111_000);
    let nearly_spent = gateway.http.buy("/api/joke").await;
    for left in [17_000, 12_000, 7_000, 2_000] {
        assert_eq!(spend(gateway, "/api/joke", &nearly_spent).await, left);
    }
    gateway.ledger_at_rest().await;
    Before { bought, nearly_spent }
}

pub(crate) async fn after(gateway: &Gateway, before: &Before) -> After {
    assert_eq!(spend(gateway, "/echo", &before.bought).await, 110_000);
    let bought = gateway.http.pay(&choose(gateway).await).await;
    assert_eq!(spend(gateway, "/echo", &bought).await, 111_000);
    let exhausted = gateway.http.get("/api/joke", Some(&before.nearly_spent)).await;
    assert_eq!(exhausted.status, 402, "{exhausted:?}");
    let topped_up = gateway.http.pay(&exhausted).await;
    assert_eq!(spend(gateway, "/api/joke", &topped_up).await, 17_000);
    let unpaid = choose(gateway).await;
    assert_eq!(unpaid.status, 402, "{unpaid:?}");
    gateway.ledger_at_rest().await;
    After { bought, topped_up, unpaid }
}

/// Nothing that was paid for is lost, and what was spent since the backup is credit again.
pub(crate) async fn restored(gateway: &Gateway, before: &Before, after: &After) {
    let actions = gateway.http.admin("actions").await;
    assert_eq!(actions, json!([]), "nothing is looked for that nobody asks for");
    assert_eq!(spend(gateway, "/echo", &before.bought).await, 110_000, "as in the backup");
    assert_eq!(spend(gateway, "/echo", &after.bought).await, 111_000, "with bonus and gift");
    assert_eq!(spend(gateway, "/echo", &after.bought).await, 110_000, "credited once");
    assert_eq!(spend(gateway, "/api/joke", &after.topped_up).await, 17_000, "the same account");
    assert_eq!(spend(gateway, "/api/joke", &before.nearly_spent).await, 12_000);
    let paid_late = gateway.http.pay(&after.unpaid).await;
    assert_eq!(spend(gateway, "/echo", &paid_late).await, 111_000);
    let actions = gateway.http.admin("actions").await;
    let actions = actions.as_array().unwrap();
    assert_eq!(actions.len(), 3, "{actions:?}");
    assert!(actions.iter().all(|line| line["kind"] == "restore"), "{actions:?}");
    // A preimage without the gate's macaroon, and a macaroon without its preimage, are nothing.
    let (macaroon, _) = after.bought.rsplit_once(':').unwrap();
    let guess = format!("{macaroon}:{}", "07".repeat(32));
    assert_eq!(gateway.http.get("/echo", Some(&guess)).await.status, 402);
    gateway.ledger_at_rest().await;
    gateway.audit();
}
