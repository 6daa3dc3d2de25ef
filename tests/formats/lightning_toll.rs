//! lightning-toll's tokens, credentials and challenges.

use serde_json::Value;
use tollway_core::compat::Format;
use tollway_core::compat::lightning_toll::{Bindings, Challenge, Token};
use tollway_core::credential::Rejection;
use tollway_core::payment::{PaymentHash, Preimage};
use tollway_core::secret::SecretText;

use crate::files::{File, Kind, list, of, only_members, text};
use crate::judge::{Refusal, Request, compare, judge, keyring, read};

const MEMBERS: [&str; 9] = [
    "format",
    "generator",
    "set",
    "fields",
    "vectors",
    "authorization",
    "preimages",
    // How long what is free lasts, as text; here it is a number of seconds.
    "windows",
    "challenges",
];

fn files() -> Vec<File> {
    let files = of(Kind::LightningTollTokens);
    for file in &files {
        only_members(file, &MEMBERS);
    }
    files
}

fn secret(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

/// What the package's `create_macaroon` was called with.
fn mint(key: &str, arguments: &Value) -> Token {
    let members = arguments.as_object().unwrap();
    for name in members.keys() {
        let known = ["payment_hash", "expires_at", "endpoint", "method", "ip"];
        assert!(known.contains(&name.as_str()), "unknown argument {name}");
    }
    let text = |name: &str| members.get(name).map_or("", |value| value.as_str().unwrap());
    let bindings = Bindings {
        expires_at: members.get("expires_at").map_or(0, |value| value.as_u64().unwrap()),
        endpoint: text("endpoint"),
        method: text("method"),
        ip: text("ip"),
    };
    Token::mint(&secret(key), text("payment_hash"), &bindings)
}

#[test]
fn tokens_are_minted_byte_for_byte() {
    let mut minted = 0;
    for file in files() {
        for vector in list(&file.content, "vectors") {
            if vector["mint"].is_null() {
                continue;
            }
            let key = vector["minted_with_secret"].as_str().unwrap_or(text(vector, "secret"));
            let token = mint(key, &vector["mint"]);
            assert_eq!(token.to_base64(), text(vector, "macaroon"), "{}", text(vector, "id"));
            assert!(token.verify(&secret(key)));
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
            let ring = keyring("lightning-toll", text(vector, "secret"));
            let id = text(vector, "id");
            // Without a preimage there is no payment hash that a client could prove.
            let zeros = "00".repeat(32);
            let preimage = vector["preimage_hex"].as_str().unwrap_or(&zeros);
            let credential = format!("L402 {}:{preimage}", text(vector, "macaroon"));
            for (number, check) in list(vector, "checks").iter().enumerate() {
                let context = &check["context"];
                let request = Request {
                    path: context["endpoint"].as_str().unwrap_or_default(),
                    method: context["method"].as_str().unwrap_or_default(),
                    ip: context["ip"].as_str(),
                    now_ms: (check["now"].as_f64().unwrap() * 1_000.0) as u64,
                };
                let verdict = judge(&credential, &ring, &request);
                if let Ok(verified) = &verdict {
                    assert_eq!(verified.format(), Format::LightningToll);
                    assert_eq!(verified.preimage().unwrap().reveal_hex(), preimage.to_lowercase());
                }
                bound +=
                    usize::from(compare((id, number), text(check, "hardened"), verdict.is_ok()));
                same_reason(id, &check["python"], verdict.err());
                checks += 1;
            }
        }
    }
    println!("{checks} checks, {bound} of them bound by a label or a decision");
    assert!(checks > 0 && bound > 0);
}

/// Where the package names the fault and we refuse as well, it is the same fault.
fn same_reason(id: &str, python: &Value, refusal: Option<Refusal>) {
    let Some(refusal) = refusal else { return };
    let said = python["error"].as_str().unwrap_or_default();
    let expected = match said.split(' ').take(2).collect::<Vec<_>>()[..] {
        ["Macaroon", "expired"] => Rejection::Expired,
        ["Endpoint", "mismatch:"] => Rejection::WrongEndpoint,
        ["Method", "mismatch:"] => Rejection::WrongMethod,
        ["IP", "mismatch:"] => Rejection::WrongIp,
        ["Malformed", "caveat:"] => Rejection::CaveatMalformed,
        ["Invalid", "macaroon"] if said.ends_with("signature") => Rejection::SignatureInvalid,
        _ => return,
    };
    let same = match refusal {
        Refusal::Rejected(rejection) => rejection == expected,
        // Ours is stricter before it comes to the signature.
        Refusal::Malformed(_) => expected == Rejection::SignatureInvalid,
        Refusal::Absent | Refusal::PathNotNormal => false,
    };
    assert!(same, "{id}: the package says {said:?}, ours {refusal:?}");
}

#[test]
fn authorization_headers_hold_what_the_package_finds_in_them() {
    let (mut found, mut none) = (0, 0);
    for file in files() {
        for case in list(&file.content, "authorization") {
            let header = text(case, "header");
            let ours = read(header);
            let (token, preimage) = (&case["python"]["macaroon"], &case["python"]["preimage"]);
            let token = token.as_str().and_then(|t| Token::from_base64(t.as_bytes()).ok());
            let preimage = preimage.as_str().and_then(|p| Preimage::from_hex(p.as_bytes()).ok());
            match (token, preimage) {
                (Some(token), Some(preimage)) => {
                    let plain = format!("L402 {}:{}", token.to_base64(), preimage.reveal_hex());
                    assert_eq!(ours, read(&plain), "{header}");
                    assert!(ours.is_ok());
                    found += 1;
                }
                // The package knows one scheme and one form; what it leaves alone and we read is
                // the old scheme, the parameter form, or ours beside another scheme.
                _ if ours.is_ok() => {
                    let more = header.starts_with("LSAT ")
                        || header.contains("preimage=")
                        || header.contains(", Bearer ")
                        || case["python"].is_null() && !header.contains(':');
                    assert!(more, "{header}");
                    none += 1;
                }
                _ => none += 1,
            }
        }
    }
    println!("{found} credentials found, {none} headers without one for the package");
    assert!(found > 0 && none > 0);
}

#[test]
fn preimages_are_64_digits_and_prove_their_hash() {
    let mut checked = 0;
    for file in files() {
        for case in list(&file.content, "preimages") {
            let preimage = Preimage::from_hex(text(case, "preimage").as_bytes());
            let hash = PaymentHash::from_hex(text(case, "payment_hash").as_bytes());
            let proven = matches!((preimage, hash), (Ok(p), Ok(h)) if p.proves(&h));
            compare((text(case, "preimage"), checked), text(case, "hardened"), proven);
            checked += 1;
        }
    }
    assert!(checked > 0);
}

#[test]
fn challenges_are_written_as_the_package_documents_them() {
    let mut checked = 0;
    for file in files() {
        for case in list(&file.content, "challenges") {
            let token = mint(text(case, "secret"), &case["mint"]);
            let challenge = Challenge {
                token: &token,
                invoice: text(case, "invoice"),
                amount_sats: case["amount_sats"].as_u64().unwrap(),
                description: text(case, "description"),
            };
            // An empty invoice cannot be paid: such a challenge is not sent.
            let sent = !challenge.invoice.is_empty();
            let line = sent.then(|| text(case, "www_authenticate").to_owned());
            assert_eq!(challenge.www_authenticate(), line);
            let body = challenge.body();
            let documented = &case["body_documented"];
            assert_eq!(&serde_json::from_str::<Value>(&body).unwrap(), documented);
            let order = [
                "status",
                "message",
                "paymentHash",
                "invoice",
                "macaroon",
                "amountSats",
                "description",
                "protocol",
                "instructions",
                "step1",
                "step2",
                "step3",
            ];
            let at = order.map(|name| body.find(&format!("\"{name}\":")).unwrap());
            assert!(at.is_sorted(), "{body}");
            checked += 1;
        }
    }
    assert!(checked > 0);
}
