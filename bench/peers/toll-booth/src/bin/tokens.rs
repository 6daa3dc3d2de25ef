//! The published toll-booth over JSON lines, for `tests/differential/legacy_tokens_test.py`.
//!
//! ```text
//! {"op": "mint", "secret": hex, "id": hex, "credit": n}                      {"token": text}
//! {"op": "verify", "secret": hex, "token": text, "endpoint": text, "ip": text or null}
//!                                              {"accepted": bool, "credit": n, "hash": hex}
//! ```

use std::io::{BufRead, Write};

use serde_json::{Value, json};
use toll_booth::macaroon::{VerifyContext, mint_macaroon, verify_macaroon};
use toll_booth::{Currency, RootKey};

fn main() {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        writeln!(output, "{}", answer(&request)).expect("standard output");
    }
}

fn answer(request: &Value) -> Value {
    let text = |name: &str| request[name].as_str().expect(name);
    let key = RootKey::from_hex(text("secret")).expect("a root key");
    if text("op") == "mint" {
        let credit = request["credit"].as_i64().expect("credit");
        let token = mint_macaroon(&key, text("id"), credit, &[], Currency::Sat);
        return json!({ "token": token.expect("a token") });
    }
    let context =
        VerifyContext { path: Some(text("endpoint")), ip: request["ip"].as_str(), now: None };
    match verify_macaroon(&key, text("token"), Some(&context)) {
        Ok(result) => json!({ "accepted": result.valid, "credit": result.credit_balance,
                              "hash": result.payment_hash }),
        Err(_) => json!({ "accepted": false }),
    }
}
