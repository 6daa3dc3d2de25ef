//! What operators look up and do, over HTTP and with the command line.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tollway_core::wire::HoldReply;

use crate::process::{Process, tollwayd};
use crate::support::*;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy/tollwayd.toml");

fn act(id: u8, amount_msat: u64) -> Value {
    let id = format!("01890a5d-ac96-774b-bcce-b302099a80{id:02}");
    json!({"id": id, "actor": "ann", "reason": "a bad day", "amount_msat": amount_msat})
}

async fn send(doors: &Doors, path: &str, body: &Value) -> (u16, Value) {
    let call = doors.admin(Method::POST, &format!("/admin/v1/{path}")).json(body);
    let response = call.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

#[tokio::test]
async fn refunds_and_grants_happen_once_and_within_bounds() {
    let server = Server::start().await;
    let paid = server.paid(5_000).await;
    let id = new_id();
    server.hold(id, &paid, 2_000).await;
    server.post(vec![posting(id, 0, 2_000, true)]).await;
    let refund = format!("accounts/{}/refund", paid.hash);
    for _ in 0..3 {
        let done = (200, json!({"outcome": "done"}));
        assert_eq!(send(&server, &refund, &act(1, 1_500)).await, done, "a repeat changes nothing");
    }
    assert_eq!(server.account(paid.hash).await["balance_msat"], 4_500);
    let grant = format!("accounts/{}/grant", paid.hash);
    for (path, body, status, code) in [
        (&refund, act(1, 1_400), 409, "action_conflict"),
        (&refund, act(2, 501), 409, "exceeds_charges"),
        (&refund, act(3, 0), 422, "invalid_field"),
        (&grant, act(4, (1 << 53) - 1), 409, "balance_limit"),
        (&format!("accounts/{}/grant", "0".repeat(64)), act(5, 1), 404, "subject_unknown"),
        (&"accounts/xyz/grant".to_owned(), act(6, 1), 400, "invalid_path"),
        (&format!("accounts/{}/revoke", paid.hash), act(7, 1), 422, "invalid_field"),
        (&"keys/1/retire".to_owned(), act(8, 0), 409, "key_in_use"),
        (&"keys/9/retire".to_owned(), act(9, 0), 404, "subject_unknown"),
    ] {
        let (found, problem) = send(&server, path, &body).await;
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{path}: {problem}");
    }
    assert_eq!(send(&server, &grant, &act(10, 500)).await.0, 200);
    assert_eq!(server.account(paid.hash).await["balance_msat"], 5_000);
    let bare = server.client.post(format!("{}/admin/v1/{grant}", server.admin));
    let bare = bare.json(&act(11, 1)).send().await.unwrap();
    assert_eq!(problem(bare).await.code, "unauthorized");
}

#[tokio::test]
async fn a_revoked_account_spends_nothing_until_it_may_again() {
    let server = Server::start().await;
    let paid = server.paid(5_000).await;
    let id = new_id();
    server.hold(id, &paid, 1_000).await;
    let keyring = async || -> Value {
        let call = server.call(Method::GET, "/v1/keyring").send().await.unwrap();
        expect(call, StatusCode::OK).await
    };
    let post = async |seq| -> Value {
        let batch = json!({"postings": [posting(id, seq, 1, false)]});
        let call = server.call(Method::POST, "/v1/postings").json(&batch).send().await.unwrap();
        expect(call, StatusCode::OK).await
    };
    let (before, row) = (keyring().await, post(0).await);
    assert_eq!((&before["revoked"], &before["revision"]), (&json!([]), &row["revision"]));
    assert_eq!(row["outcomes"], json!([{"outcome": "posted", "charged_msat": 1}]));
    assert_eq!(send(&server, &format!("accounts/{}/revoke", paid.hash), &act(1, 0)).await.0, 200);
    let (row, after) = (post(1).await, keyring().await);
    assert_eq!((&after["revoked"], &after["revision"]), (&json!([paid.hash]), &row["revision"]));
    assert_ne!(after["revision"], before["revision"]);
    let told = json!([{"outcome": "posted", "charged_msat": 1, "revoked": true}]);
    assert_eq!(row["outcomes"], told);
    let refused = server.hold(new_id(), &paid, 1_000).await;
    assert!(matches!(refused, HoldReply::Refused { .. }), "{refused:?}");
    let unrevoke = format!("accounts/{}/unrevoke", paid.hash);
    assert_eq!(send(&server, &unrevoke, &act(2, 0)).await.0, 200);
    let again = keyring().await;
    assert_eq!((&again["revoked"], &again["revision"]), (&json!([]), &before["revision"]));
    assert!(matches!(server.hold(new_id(), &paid, 1_000).await, HoldReply::Granted { .. }));
}

#[tokio::test]
async fn an_invoice_is_found_by_its_hash_and_by_itself() {
    let server = Server::start().await;
    let invoice = server.invoice(1_000, None).await;
    let text = invoice.invoice.clone();
    let hash = invoice.payment_hash.to_hex();
    for name in [&hash, &text, &text.to_uppercase()] {
        let call = server.admin(Method::GET, &format!("/admin/v1/invoices/{name}"));
        let view: Value = expect(call.send().await.unwrap(), StatusCode::OK).await;
        assert_eq!((&view["state"], &view["payment_hash"]), (&json!("open"), &json!(hash)));
    }
    server.paid_invoice(&invoice).await;
    let call = server.admin(Method::GET, &format!("/admin/v1/invoices/{hash}"));
    let view: Value = expect(call.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!((&view["state"], &view["account"]), (&json!("settled"), &json!(hash)));
}

#[tokio::test]
async fn the_command_line_does_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(directory.path());
    let paid = process.doors.paid(5_000).await;
    let hash = paid.hash.to_hex();
    let admin = |arguments: &[&str]| {
        let head = ["admin", "--config", EXAMPLE, "--url", &process.doors.admin];
        let output = tollwayd(directory.path(), &[&head, arguments].concat()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let done = (0, "{\"outcome\":\"done\"}\n".to_owned(), String::new());
    assert_eq!(admin(&["grant", &hash, "--msat", "700", "--reason", "welcome"]), done);
    let (code, out, _) = admin(&["account", &hash]);
    let view: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &view["balance_msat"]), (0, &json!(5_700)));
    let (code, out, _) = admin(&["entries", &hash, "--csv"]);
    assert!(code == 0 && out.starts_with("n,at_ms,kind,") && out.contains(",grant,700,"), "{out}");
    let (code, out, _) = admin(&["keys", "rotate"]);
    assert!(code == 0 && out.contains("current"), "{out}");
    assert_eq!(admin(&["keys", "retire", "1", "--reason", "leaked"]), done);
    let (_, out, _) = admin(&["actions"]);
    let log: Value = serde_json::from_str(&out).unwrap();
    let kinds: Vec<&str> =
        log.as_array().unwrap().iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["grant", "rotate_key", "retire_key"], "{out}");
    let (code, out, _) = admin(&["audit"]);
    assert!(code == 0 && out.contains("\"differences\":[]"), "{out}");
    let (code, out, _) = admin(&["stats"]);
    assert!(code == 0 && out.contains("credited_msat"), "{out}");
    let (code, _, err) = admin(&["refund", &hash, "--msat", "1", "--reason", "none"]);
    assert!(code == 70 && err.contains("409 Conflict: more than was charged"), "{err}");
    assert!(!err.contains(ADMIN_TOKEN), "{err}");
}
