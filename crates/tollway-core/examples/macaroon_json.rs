//! Macaroons over JSON lines, for comparing this crate with other implementations.
//!
//! One request per line of standard input, one answer per line of standard output:
//!
//! ```text
//! {"op": "mint", "root_key": hex, "location": text, "identifier": hex, "caveats": [hex]}
//! {"op": "attenuate", "token": hex, "caveats": [hex]}
//! {"op": "verify", "root_key": hex, "token": hex}
//! ```
//!
//! The answer describes the token, with `"genuine"` after `verify`, or is `{"error": text}`.

use std::io::{BufRead as _, Write as _};

use serde_json::{Value, json};
use tollway_core::macaroon::Macaroon;
use tollway_core::secret::RootKey;

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
    match text(&request, "op")? {
        "mint" => {
            let key = root_key(&request)?;
            let location = text(&request, "location")?;
            let token = Macaroon::mint(&key, location, &bytes(&request, "identifier")?);
            Ok(describe(&narrow(token, &request)?))
        }
        "attenuate" => Ok(describe(&narrow(token(&request)?, &request)?)),
        "verify" => {
            let token = token(&request)?;
            let mut answer = describe(&token);
            if let Some(members) = answer.as_object_mut() {
                let genuine = token.verify(&root_key(&request)?);
                members.insert("genuine".into(), genuine.into());
            }
            Ok(answer)
        }
        _ => Err("expected the op mint, attenuate or verify, but found another".into()),
    }
}

fn describe(token: &Macaroon) -> Value {
    json!({
        "token": hex::encode(token.encode()),
        "location": token.location(),
        "identifier": hex::encode(token.identifier()),
        "caveats": token.caveats().map(hex::encode).collect::<Vec<_>>(),
        "signature": hex::encode(token.signature()),
    })
}

fn narrow(token: Macaroon, request: &Value) -> Result<Macaroon, String> {
    let caveats = request.get("caveats").and_then(Value::as_array);
    caveats.ok_or("expected caveats, but found none")?.iter().try_fold(token, |token, caveat| {
        let caveat = caveat.as_str().and_then(|text| hex::decode(text).ok());
        Ok(token.attenuate(&caveat.ok_or("expected a caveat in hex, but found another")?))
    })
}

fn token(request: &Value) -> Result<Macaroon, String> {
    Macaroon::from_hex(text(request, "token")?.as_bytes()).map_err(|error| error.to_string())
}

fn root_key(request: &Value) -> Result<RootKey, String> {
    let key = bytes(request, "root_key")?.try_into();
    key.map(RootKey::from_bytes).map_err(|_| "expected a root key of 32 bytes".into())
}

fn bytes(request: &Value, name: &str) -> Result<Vec<u8>, String> {
    hex::decode(text(request, name)?).map_err(|error| format!("{name}: {error}"))
}

fn text<'a>(request: &'a Value, name: &str) -> Result<&'a str, String> {
    let value = request.get(name).and_then(Value::as_str);
    value.ok_or_else(|| format!("expected text in {name}, but found none"))
}
