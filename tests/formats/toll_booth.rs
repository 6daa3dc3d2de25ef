//! toll-booth's tokens and credentials.

use serde_json::Value;
use tollway_core::compat::{Format, toll_booth};
use tollway_core::identifier::Identifier;
use tollway_core::macaroon::Macaroon;
use tollway_core::money::Msat;
use tollway_core::payment::Preimage;
use tollway_core::pricing::check_normalised;
use tollway_core::rfc3339;
use tollway_core::secret::RootKey;

use crate::files::{File, Kind, list, of, only_members, text};
use crate::judge::{Refusal, Request, compare, judge, keyring};

const MEMBERS: [&str; 10] = [
    "format",
    "generator",
    "set",
    "fields",
    "vectors",
    "preimages",
    "authorization",
    "match_route",
    // Names of tiers, and caveats that an application adds: ours has neither.
    "tiers",
    "mint_errors",
];

fn files() -> Vec<File> {
    let files = of(Kind::TollBoothTokens);
    for file in &files {
        only_members(file, &MEMBERS);
    }
    files
}

fn root_key(case: &Value) -> RootKey {
    RootKey::from_hex(text(case, "root_key_hex").as_bytes()).unwrap()
}

/// The request of a check; dates of checks without a clock are far from today. Without a context
/// there is nothing to meet a caveat with: no path, no address, no time.
fn request(context: &Value) -> Request<'_> {
    const TODAY: &str = "2026-06-01T00:00:00Z";
    let now = context["now"].as_str().unwrap_or(TODAY);
    Request {
        path: context["path"].as_str().unwrap_or_default(),
        method: "GET",
        ip: context["ip"].as_str(),
        now_ms: if context.is_null() { u64::MAX } else { rfc3339::parse_ms(now).unwrap() },
    }
}

#[test]
fn tokens_are_minted_byte_for_byte() {
    let mut minted = 0;
    for file in files() {
        for vector in list(&file.content, "vectors") {
            let Some(arguments) = vector["mint"].as_object() else { continue };
            let stock = vector["checks"][0]["expect"]["valid"] == true
                && arguments.get("attenuated_with").is_none()
                && arguments.get("currency").is_some_and(|c| c == "sat")
                && arguments
                    .get("custom_caveats")
                    .is_some_and(|c| c.as_array().unwrap().is_empty());
            let credit = arguments.get("credit_balance").and_then(Value::as_u64);
            let (true, Some(credit)) = (stock, credit) else { continue };
            let token = Macaroon::from_base64(text(vector, "macaroon").as_bytes()).unwrap();
            let Ok(Identifier { payment_hash, token_id }) = Identifier::decode(token.identifier())
            else {
                continue;
            };
            if payment_hash.to_hex() != arguments["payment_hash"].as_str().unwrap() {
                continue; // Minted with a hash in upper case.
            }
            let ours =
                toll_booth::mint(&root_key(vector), payment_hash, *token_id.as_bytes(), credit);
            assert_eq!(toll_booth::to_base64(&ours), text(vector, "macaroon"));
            minted += 1;
        }
    }
    println!("{minted} tokens minted");
    assert!(minted > 0);
}

#[test]
fn tokens_are_judged_as_labelled() {
    let (mut checks, mut bound) = (0, 0);
    for file in files() {
        for vector in list(&file.content, "vectors") {
            let ring = keyring("toll-booth", text(vector, "root_key_hex"));
            let zeros = "00".repeat(32);
            let preimage = vector["preimage_hex"].as_str().unwrap_or(&zeros);
            let credential = format!("L402 {}:{preimage}", text(vector, "macaroon"));
            for (number, check) in list(vector, "checks").iter().enumerate() {
                let request = request(&check["context"]);
                let mut verdict = judge(&credential, &ring, &request);
                // The gate refuses such paths before it looks at credentials.
                if check_normalised(request.path.as_bytes()).is_err() && !request.path.is_empty() {
                    verdict = Err(Refusal::PathNotNormal);
                }
                let name = (text(vector, "id"), number);
                bound += usize::from(compare(name, text(check, "hardened"), verdict.is_ok()));
                if let Ok(verified) = verdict {
                    assert_eq!(verified.format(), Format::TollBooth);
                    if check["expect"]["valid"] == true {
                        assert_eq!(verified.legacy_credit(), sold(&check["expect"]), "{name:?}");
                    }
                    let hash = check["expect"]["payment_hash"].as_str();
                    assert!(hash.is_none_or(|hash| hash == verified.payment_hash().to_hex()));
                }
                checks += 1;
            }
        }
    }
    println!("{checks} checks, {bound} of them bound by a label or a decision");
    assert!(checks > 0 && bound > 0);
}

/// The credit that the package reads from a token, if it is in sats; above our largest amount
/// it is our largest.
fn sold(expect: &Value) -> Option<Msat> {
    let sats = expect["credit_balance"].as_u64()?;
    let in_sats = expect["currency"].as_str().unwrap_or("sat").eq_ignore_ascii_case("sat");
    in_sats.then(|| Msat::from_sats(sats).unwrap_or(Msat::MAX))
}

#[test]
fn preimages_and_headers_open_what_they_open_there() {
    let (mut admitted, mut refused) = (0, 0);
    for file in files() {
        let preimages = list(&file.content, "preimages").iter().map(|case| {
            let header = format!("L402 {}:{}", text(case, "macaroon"), text(case, "preimage"));
            (case, header, case["rail"]["authenticated"].as_bool().unwrap(), "/api/test")
        });
        let headers = list(&file.content, "authorization").iter().map(|case| {
            let there = case["authenticated"].as_bool().unwrap();
            (case, text(case, "authorization").to_owned(), there, text(case, "path"))
        });
        for (case, header, there, path) in preimages.chain(headers) {
            let ring = keyring("toll-booth", text(case, "root_key_hex"));
            let context = serde_json::json!({"path": path, "ip": "203.0.113.7"});
            let here = judge(&header, &ring, &request(&context)).is_ok();
            if there {
                assert!(here, "{header}");
                admitted += 1;
            } else if here {
                // Read here and not there: the old scheme, the parameter form, other white space.
                let ours = header.starts_with("LSAT ")
                    || header.contains("preimage=")
                    || header.trim().split_ascii_whitespace().count() == 2;
                assert!(ours, "{header}");
                refused += 1;
            } else {
                refused += 1;
            }
        }
    }
    println!("{admitted} credentials open both, {refused} not there");
    assert!(admitted > 0 && refused > 0);
}

#[test]
fn route_caveats_match_as_there() {
    let mut checked = 0;
    let (key, preimage) = ("33".repeat(32), Preimage::from_bytes([7; 32]));
    let root_key = RootKey::from_hex(key.as_bytes()).unwrap();
    for file in files() {
        for case in list(&file.content, "match_route") {
            let caveat = format!("route = {}", text(case, "pattern"));
            let token = toll_booth::mint(&root_key, preimage.payment_hash(), [9; 32], 5)
                .attenuate(caveat.as_bytes());
            let header =
                format!("L402 {}:{}", toll_booth::to_base64(&token), preimage.reveal_hex());
            let context = serde_json::json!({"path": text(case, "path")});
            let here = judge(&header, &keyring("toll-booth", &key), &request(&context));
            assert_eq!(here.is_ok(), case["match"].as_bool().unwrap(), "{caveat} {case}");
            checked += 1;
        }
    }
    assert!(checked > 0);
}
