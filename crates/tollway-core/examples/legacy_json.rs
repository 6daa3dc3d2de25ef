//! Tokens of lightning-toll and toll-booth over JSON lines, for comparing this crate with the
//! published packages.
//!
//! One request per line of standard input, one answer per line of standard output:
//!
//! ```text
//! {"op": "mint", "format": "lightning-toll", "secret": text, "id": hex, "expires_at": n,
//!  "endpoint": text, "method": text, "ip": text}
//! {"op": "mint", "format": "toll-booth", "secret": hex, "id": hex, "token_id": hex, "credit": n}
//! {"op": "verify", "format": text, "secret": text, "token": text, "preimage": hex,
//!  "endpoint": text, "method": text, "ip": text or null, "now_ms": n}
//! ```
//!
//! The answer is `{"token": text}`, `{"accepted": bool}`, or `{"error": text}`.

use std::io::{BufRead as _, Write as _};

use serde_json::{Value, json};
use tollway_core::caveat::TIER_CREDITS;
use tollway_core::compat::lightning_toll::{Bindings, Token};
use tollway_core::compat::toll_booth;
use tollway_core::credential::RequestFacts;
use tollway_core::header::read_credential;
use tollway_core::keyring::Keyring;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::secret::{RootKey, SecretText};

const SERVICE: &str = "api";

fn main() -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&line?).unwrap_or_else(|error| json!({ "error": error }));
        writeln!(output, "{answer}")?;
    }
    Ok(())
}

fn answer(line: &str) -> Result<Value, String> {
    let request: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    match (text(&request, "op")?, text(&request, "format")?) {
        ("mint", "lightning-toll") => {
            let bindings = Bindings {
                expires_at: number(&request, "expires_at")?,
                endpoint: text(&request, "endpoint")?,
                method: text(&request, "method")?,
                ip: text(&request, "ip")?,
            };
            let secret = SecretText::new(text(&request, "secret")?.to_owned());
            let token = Token::mint(&secret, text(&request, "id")?, &bindings);
            Ok(json!({ "token": token.to_base64() }))
        }
        ("mint", "toll-booth") => {
            let bytes = |name| Ok::<_, String>(text(&request, name)?.as_bytes());
            let key = RootKey::from_hex(bytes("secret")?).map_err(|error| error.to_string())?;
            let hash = PaymentHash::from_hex(bytes("id")?).map_err(|error| error.to_string())?;
            let mut token_id = [0; 32];
            hex::decode_to_slice(bytes("token_id")?, &mut token_id)
                .map_err(|error| error.to_string())?;
            let token = toll_booth::mint(&key, hash, token_id, number(&request, "credit")?);
            Ok(json!({ "token": toll_booth::to_base64(&token) }))
        }
        ("verify", _) => Ok(json!({ "accepted": verify(&request)? })),
        _ => Err("expected the op mint or verify and a known format, but found others".into()),
    }
}

fn verify(request: &Value) -> Result<bool, String> {
    let keyring = json!({
        "current": 1,
        "keys": [{"id": 1, "secret": "11".repeat(32)}],
        "seed": "22".repeat(32),
        "legacy": [{"format": text(request, "format")?, "secret": text(request, "secret")?,
                    "services": [SERVICE]}],
    });
    let keyring = serde_json::from_value(keyring).map_err(|error| error.to_string())?;
    let keyring = Keyring::from_reply(&keyring).map_err(|error| error.to_string())?;
    let value = format!("L402 {}:{}", text(request, "token")?, text(request, "preimage")?);
    let presented = read_credential(&[("authorization", value)].into());
    let Ok(Some(credential)) = presented.credential else { return Ok(false) };
    let facts = RequestFacts {
        service: SERVICE,
        tier: TIER_CREDITS,
        path: text(request, "endpoint")?.as_bytes(),
        method: text(request, "method")?.as_bytes(),
        client_ip: request.get("ip").and_then(Value::as_str),
        now_ms: number(request, "now_ms")?,
        cost: Msat::ZERO,
        proof: tollway_core::wire::Proof::Preimage,
    };
    let verified = credential.verify(&keyring);
    Ok(verified.is_ok_and(|verified| verified.authorize(&facts).is_ok()))
}

fn text<'a>(request: &'a Value, name: &str) -> Result<&'a str, String> {
    let value = request.get(name).and_then(Value::as_str);
    value.ok_or_else(|| format!("expected text in {name}, but found none"))
}

fn number(request: &Value, name: &str) -> Result<u64, String> {
    let value = request.get(name).and_then(Value::as_u64);
    value.ok_or_else(|| format!("expected a number in {name}, but found none"))
}
