//! What operators look up and do, over HTTP and with the command line.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tollway_core::wire::{HoldRefusal, HoldReply, Posting};

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
        (&format!("invoices/{}/settle", paid.hash), act(12, 0), 409, "already_credited"),
        (&"invoices/lnbc1/settle".to_owned(), act(13, 0), 400, "invalid_path"),
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
async fn a_token_is_revoked_and_its_account_goes_on() {
    let server = Server::start().await;
    let paid = server.paid(5_000).await;
    let invoice = server.invoice(2_000, Some(paid.hash)).await;
    let other = server.paid_invoice(&invoice).await;
    assert!(matches!(server.hold(new_id(), &other, 1_000).await, HoldReply::Granted { .. }));
    let path = |act: &str| format!("tokens/{}/{act}", other.hash);
    assert_eq!(send(&server, &path("revoke"), &act(1, 0)).await.0, 200);
    assert_eq!(send(&server, &path("revoke"), &act(9, 1)).await.0, 422, "no amount");
    let refused = server.hold(new_id(), &other, 1_000).await;
    let HoldReply::Refused { refusal, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(refusal, HoldRefusal::AccountRevoked);
    assert!(matches!(server.hold(new_id(), &paid, 1_000).await, HoldReply::Granted { .. }));
    let shown: Value = expect(
        server
            .admin(Method::GET, &format!("/admin/v1/invoices/{}", other.hash))
            .send()
            .await
            .unwrap(),
        StatusCode::OK,
    )
    .await;
    assert!(shown["revoked_at_ms"].is_u64(), "{shown}");
    assert_eq!(send(&server, &path("unrevoke"), &act(2, 0)).await.0, 200);
    assert!(matches!(server.hold(new_id(), &other, 1_000).await, HoldReply::Granted { .. }));
    let unknown = format!("tokens/{}/revoke", "ab".repeat(32));
    assert_eq!(send(&server, &unknown, &act(3, 0)).await.0, 404);
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
    let unpaid = process.doors.invoice(900, None).await;
    assert_eq!(admin(&["settle", &unpaid.invoice, "--reason", "paid in cash"]), done);
    let (_, out, _) = admin(&["invoice", &unpaid.invoice]);
    assert!(out.contains("\"state\":\"settled\""), "{out}");
    let (code, _, err) = admin(&["settle", &unpaid.invoice, "--reason", "again"]);
    assert!(code == 70 && err.contains("credited before"), "{err}");
    let (code, out, _) = admin(&["keys", "rotate"]);
    assert!(code == 0 && out.contains("current"), "{out}");
    assert_eq!(admin(&["keys", "retire", "1", "--reason", "leaked"]), done);
    let revoked = || {
        let whole = serde_json::from_str::<Value>(&admin(&["account", &hash]).1).unwrap();
        let token = serde_json::from_str::<Value>(&admin(&["invoice", &hash]).1).unwrap();
        [whole, token].map(|view| view["revoked_at_ms"].is_u64())
    };
    for (arguments, expected) in [
        (vec!["revoke", "--token"], [false, true]),
        (vec!["revoke"], [true, true]),
        (vec!["unrevoke", "--token"], [true, false]),
        (vec!["unrevoke"], [false, false]),
    ] {
        assert_eq!(admin(&[&arguments[..], &[&hash, "--reason", "lost"]].concat()), done);
        assert_eq!(revoked(), expected, "{arguments:?}");
    }
    let (_, out, _) = admin(&["actions"]);
    let log: Value = serde_json::from_str(&out).unwrap();
    let kinds: Vec<&str> =
        log.as_array().unwrap().iter().map(|line| line["kind"].as_str().unwrap()).collect();
    let revocations = ["revoke_token", "revoke", "unrevoke_token", "unrevoke"];
    assert_eq!(
        kinds,
        [&["grant", "settle", "rotate_key", "retire_key"][..], &revocations].concat(),
        "{out}"
    );
    let (code, out, _) = admin(&["audit"]);
    assert!(code == 0 && out.contains("\"differences\":[]"), "{out}");
    let (code, out, _) = admin(&["stats", "--json"]);
    assert!(code == 0 && out.contains("credited_msat"), "{out}");
    let (code, out, _) = admin(&["stats"]);
    let row = |name: &str| out.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(code == 0 && row("payments ").ends_with(" 2"), "{out}");
    assert!(row("joke ").ends_with(" 2"), "{out}");
    let (code, out, _) = admin(&["export", "--what", "audit", "--format", "csv"]);
    assert!(code == 0 && out.starts_with("id,kind,actor,"), "{out}");
    assert_eq!(out.lines().count(), 9, "{out}");
    let arguments = ["export", "--what", "entries", "--account", &hash, "--since", "1"];
    let (code, out, _) = admin(&arguments);
    let kinds: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].take())
        .collect();
    assert_eq!((code, kinds), (0, vec![json!("credit"), json!("grant")]));
    let (code, _, err) = admin(&["export", "--what", "holds", "--account", "xyz"]);
    assert!(code == 70 && err.contains("expected a payment hash"), "{err}");
    let (code, _, err) = admin(&["refund", &hash, "--msat", "1", "--reason", "none"]);
    assert!(code == 70 && err.contains("409 Conflict: more than was charged"), "{err}");
    assert!(!err.contains(ADMIN_TOKEN), "{err}");
}

#[tokio::test]
async fn an_export_is_complete_and_no_formula() {
    let server = Server::start().await;
    let paid = server.paid(5_000_000).await;
    let id = new_id();
    server.hold(id, &paid, 2_000).await;
    let row =
        |seq| Posting { route: "=cmd|' /C calc'!A0".to_owned(), ..posting(id, seq, 1, false) };
    for first in (0..1_500).step_by(100) {
        server.post((first..first + 100).map(row).collect()).await;
    }
    let export = async |path: &str| {
        let response = server.admin(Method::GET, &format!("/admin/v1/export/{path}"));
        let response = response.send().await.unwrap();
        let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        (response.status().as_u16(), media_type, response.text().await.unwrap())
    };
    let (status, media_type, csv) = export("entries?format=csv").await;
    assert_eq!((status, media_type.as_str()), (200, "text/csv; charset=utf-8"));
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "account,n,kind,amount_msat,payment_hash,hold_id,seq,route,action,at_ms");
    assert_eq!(lines.len(), 1 + 1 + 1_500);
    let account = paid.hash.to_hex();
    let last =
        format!("{account},1501,\"charge\",-1,,{id},1499,\"'=cmd|' /C calc'!A0\",,{START_MS}");
    assert_eq!(lines[1_501], last);
    let (_, media_type, json) = export(&format!("entries?account={account}")).await;
    assert_eq!(media_type, "application/x-ndjson");
    let sum: i64 = json
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["amount_msat"].as_i64().unwrap())
        .sum();
    assert_eq!(json!(sum), server.account(paid.hash).await["balance_msat"]);
    assert_eq!(export(&format!("postings?until_ms={START_MS}")).await.2, "");
    for (path, status) in [
        ("keys".to_owned(), 400),
        ("entries?format=xml".to_owned(), 422),
        ("entries?since_ms=-1".to_owned(), 422),
        ("entries?limit=1".to_owned(), 422),
        ("entries?account=xyz".to_owned(), 422),
        (format!("entries?account={}", "0".repeat(64)), 404),
    ] {
        assert_eq!(export(&path).await.0, status, "{path}");
    }
    let bare = format!("{}/admin/v1/export/entries", server.admin);
    assert_eq!(server.client.get(bare).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

/// Every scenario of the published vectors that ends in a look at the dashboard.
#[tokio::test]
async fn the_dashboard_has_the_keys_of_lightning_tolls() {
    const VECTORS: &str = include_str!("../../../../tests/vectors/lightning_toll_http_public.json");
    let server = Server::start().await;
    let paid = server.paid(50_000).await;
    let id = new_id();
    server.hold(id, &paid, 50_000).await;
    server.post(vec![posting(id, 0, 50_000, true)]).await;
    let ours = server.stats().await;
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    let first = |value: &Value| value.as_object().and_then(|it| it.values().next()).cloned();
    let mut compared = 0;
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let mut open = vec![&vectors];
    while let Some(value) = open.pop() {
        if value.get("totalRevenue").is_none() {
            open.extend(value.as_array().into_iter().flatten());
            open.extend(value.as_object().into_iter().flat_map(|object| object.values()));
            continue;
        }
        compared += 1;
        assert!(keys(value).iter().all(|key| ours.get(key).is_some()), "{value}");
        let (theirs, mine) = (first(&value["endpoints"]), first(&ours["endpoints"]).unwrap());
        assert!(keys(&theirs.unwrap()).iter().all(|key| mine.get(key).is_some()), "{mine}");
        let payment = &ours["recentPayments"][0];
        let theirs = keys(&value["recentPayments"][0]);
        assert!(theirs.iter().all(|key| payment.get(key).is_some()), "{payment}");
        if value["totalRevenue"] == 50 {
            for key in ["totalRevenue", "totalRequests", "totalPaid", "uniquePayers"] {
                assert_eq!(ours[key], value[key], "{key}");
            }
            assert_eq!(payment["amountSats"], value["recentPayments"][0]["amountSats"]);
        }
    }
    assert_eq!(compared, 3);
}
