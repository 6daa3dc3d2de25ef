//! A paywall and a wallet in one process. They play by the rules, or one trick at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use serde_json::{Value, json};
use tollway_core::challenge::{Challenge, ChallengeTerms};
use tollway_core::entropy::Seed;
use tollway_core::header::read_credential;
use tollway_core::id::KeyId;
use tollway_core::keyring::Keyring;
use tollway_core::payment::{PaymentHash, Preimage};
use tollway_core::secret::MasterKey;
use tollway_core::wire::{KeyringKey, KeyringReply};

/// What a request costs, and what an invoice sells.
pub(crate) const COST_MSAT: u64 = 5_000;
pub(crate) const SOLD_MSAT: u64 = 10_000;

/// How the shop misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    /// The invoice leaves the amount to the payer.
    Amountless,
    /// It never accepts a credential.
    AsksForEver,
    /// The invoice asks for a million, while the body says 1.
    Dear,
    /// The invoice has expired.
    Expired,
    /// It answers 500 to whoever paid.
    FailsAfterPayment,
    /// The header is no challenge.
    Garbage,
    /// It offers credit and, after it, single requests in the Payment scheme.
    OffersBoth,
    /// It sells single requests, and the first answer to whoever paid is lost on the way.
    LosesAnswers,
    /// The token is of a kind that only the shop can read, each for one path.
    Opaque,
    /// The macaroon is for another payment than the invoice.
    OtherHash,
    /// It sells single requests in the Payment scheme.
    PaymentScheme,
    /// The same, but the challenge ended long ago.
    PaymentSchemeLate,
    /// It answers with a redirect.
    Redirects,
    /// The challenge is written in the oldest, sloppiest way.
    Sloppy,
    /// The wallet pays, but its answer is lost.
    WalletAnswerLost,
    /// The wallet hands out another preimage.
    WalletLies,
    /// The wallet refuses to pay.
    WalletRefuses,
    /// A 402 without a challenge.
    Without,
}

#[derive(Default)]
struct Books {
    trick: Option<Trick>,
    challenges: u8,
    preimages: HashMap<String, Preimage>,
    balances: HashMap<PaymentHash, u64>,
    paid: Vec<String>,
    redirects_to: Option<String>,
    /// The challenges that were spent, each with the key of its request.
    spent: Vec<(String, Option<HeaderValue>)>,
    seen: Vec<HeaderMap>,
    bodies: Vec<String>,
}

/// The shop, at work until it is dropped.
#[derive(Clone)]
pub(crate) struct Shop {
    books: Arc<Mutex<Books>>,
    pub(crate) url: String,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shop = Self { books: Arc::default(), url };
        let router = Router::new()
            .route("/free", get(async || "free"))
            .route("/{service}", any(sell))
            .route("/sim/v1/pay", post(pay))
            .with_state(shop.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        shop
    }

    pub(crate) fn plays(&self, trick: impl Into<Option<Trick>>) {
        self.books().trick = trick.into();
    }

    /// Everything that costs leads there instead.
    pub(crate) fn redirects_to(&self, url: String) {
        self.books().redirects_to = Some(url);
    }

    /// The bodies of all requests for something that costs.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.books().bodies.clone()
    }

    /// How many invoices the wallet paid.
    pub(crate) fn payments(&self) -> usize {
        let mut paid = self.books().paid.clone();
        paid.sort();
        paid.dedup();
        paid.len()
    }

    /// How many challenges were handed out.
    pub(crate) fn challenges(&self) -> u8 {
        self.books().challenges
    }

    /// The headers of all requests for something that costs.
    pub(crate) fn seen(&self) -> Vec<HeaderMap> {
        self.books().seen.clone()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    fn has(&self, trick: Trick) -> bool {
        self.books().trick == Some(trick)
    }
}

fn keyring() -> Keyring {
    let id = KeyId::new(1);
    let key = KeyringKey { id, secret: MasterKey::from_bytes([7; 32]) };
    let reply = KeyringReply {
        current: id,
        keys: vec![key],
        seed: Seed::from_bytes([0; 32]),
        revoked: Vec::new(),
        legacy: Vec::new(),
        revision: 0,
        rates: Vec::new(),
        limited: Vec::new(),
    };
    Keyring::from_reply(&reply).unwrap()
}

async fn sell(
    State(shop): State<Shop>,
    Path(service): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    shop.books().seen.push(headers.clone());
    shop.books().bodies.push(body);
    if let Some(url) = shop.books().redirects_to.clone() {
        return (StatusCode::TEMPORARY_REDIRECT, [("location", url)]).into_response();
    }
    if shop.has(Trick::Redirects) {
        return (StatusCode::FOUND, [("location", "http://elsewhere.invalid/")]).into_response();
    }
    if let Some(receipt) = opened_by_another_scheme(&shop, &service, &headers) {
        return (receipt, format!("one of {service}")).into_response();
    }
    let pairs = headers.iter().map(|(name, value)| (name, value.as_bytes())).collect();
    let credential = read_credential(&pairs).credential.ok().flatten();
    let verified = credential.and_then(|credential| credential.verify(&keyring()).ok());
    let opens = verified.filter(|verified| {
        let facts = tollway_core::credential::RequestFacts {
            service: &service,
            tier: 0,
            now_ms: 1_700_000_000_000,
            path: b"/",
            method: b"GET",
            client_ip: None,
            cost: tollway_core::money::Msat::ZERO,
            proof: tollway_core::wire::Proof::Preimage,
        };
        let wants_more = headers.contains_key("x-toll-top-up");
        verified.authorize(&facts).is_ok() && !shop.has(Trick::AsksForEver) && !wants_more
    });
    if let Some(verified) = opens {
        if shop.has(Trick::FailsAfterPayment) {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        let mut books = shop.books();
        let balance = books.balances.entry(verified.payment_hash()).or_insert(SOLD_MSAT);
        if let Some(rest) = balance.checked_sub(COST_MSAT) {
            *balance = rest;
            return (
                [("x-toll-cost-msat", COST_MSAT), ("x-toll-balance-msat", rest)]
                    .map(|(name, msat)| (HeaderName::from_static(name), HeaderValue::from(msat))),
                format!("one of {service}"),
            )
                .into_response();
        }
    }
    challenge(&shop, &service, &headers)
}

/// What an answer carries besides, if a Payment credential or an opaque token opens this: each
/// proves its payment; the former serves one request, the latter its path.
fn opened_by_another_scheme(shop: &Shop, service: &str, headers: &HeaderMap) -> Option<HeaderMap> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let carrier = text("payment-authorization").or(text("authorization"));
    let mut books = shop.books();
    let known = |preimage: &str| books.preimages.values().any(|sold| sold.reveal_hex() == preimage);
    let Some(credential) = carrier.and_then(|text| text.strip_prefix("Payment ")) else {
        let opaque = carrier.and_then(|text| text.strip_prefix(&format!("L402 opaque.{service}:")));
        return opaque.is_some_and(known).then(HeaderMap::new);
    };
    let json: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(credential).unwrap()).unwrap();
    let id = json["challenge"]["id"].as_str().unwrap().to_owned();
    let key = headers.get("idempotency-key").cloned();
    let repeat = books.spent.contains(&(id.clone(), key.clone()));
    let fresh = !books.spent.iter().any(|(spent, _)| *spent == id);
    let opens = (fresh || repeat) && known(json["payload"]["preimage"].as_str().unwrap());
    books.spent.push((id.clone(), key));
    if books.trick == Some(Trick::LosesAnswers) && fresh {
        drop(books);
        panic!("the answer is lost, as told");
    }
    // A challenge is named by its payment.
    let receipt = json!({"challengeId": id, "method": "lightning", "reference": id,
                         "status": "success", "timestamp": "2026-03-15T12:05:00Z"});
    let receipt = URL_SAFE_NO_PAD.encode(receipt.to_string());
    let header = (HeaderName::from_static("payment-receipt"), receipt.parse().unwrap());
    opens.then(|| HeaderMap::from_iter([header]))
}

/// A challenge of the Payment scheme, named by its payment.
fn charge(books: &Books, invoice: &str, payment_hash: PaymentHash, headers: &HeaderMap) -> String {
    let request = json!({
        "amount": (SOLD_MSAT / 1_000).to_string(), "currency": "sat",
        "methodDetails": {"invoice": invoice, "paymentHash": payment_hash.to_hex()}
    });
    let year = if books.trick == Some(Trick::PaymentSchemeLate) { 2020 } else { 2100 };
    let other = match headers.contains_key("authorization") {
        true => ", header=\"Payment-Authorization\"",
        false => "",
    };
    format!(
        "Payment id=\"{payment_hash}\", realm=\"shop\", method=\"lightning\", \
         intent=\"charge\", request=\"{}\", expires=\"{year}-01-01T00:00:00Z\"{other}",
        URL_SAFE_NO_PAD.encode(request.to_string())
    )
}

fn challenge(shop: &Shop, service: &str, headers: &HeaderMap) -> Response {
    let body = Json(json!({ "amountSats": 1 }));
    if shop.has(Trick::Without) {
        return (StatusCode::PAYMENT_REQUIRED, body).into_response();
    }
    if shop.has(Trick::Garbage) {
        let line = [("www-authenticate", "L402 macaroon=\"%%%\", invoice=\"lnbc\"")];
        return (StatusCode::PAYMENT_REQUIRED, line, body).into_response();
    }
    let mut books = shop.books();
    books.challenges += 1;
    let preimage = Preimage::from_bytes([books.challenges; 32]);
    let mut payment_hash = preimage.payment_hash();
    let invoice = invoice(books.trick, payment_hash);
    books.preimages.insert(invoice.clone(), preimage);
    if books.trick == Some(Trick::OtherHash) {
        payment_hash = PaymentHash::from_bytes([9; 32]);
    }
    let terms = ChallengeTerms {
        location: "shop",
        payment_hash,
        service,
        tier: 0,
        valid_until: 4_000_000_000,
        random: [books.challenges; 32],
    };
    let challenge = Challenge::mint(&keyring(), terms, &invoice).unwrap();
    let line = match books.trick {
        Some(Trick::Sloppy) => {
            format!(
                "Basic realm=\"x, y\", lsat invoice={invoice},token={}",
                challenge.macaroon().to_base64()
            )
        }
        Some(Trick::Opaque) => {
            format!("L402 macaroon=\"opaque.{service}\", invoice=\"{invoice}\"")
        }
        Some(Trick::PaymentScheme | Trick::PaymentSchemeLate | Trick::LosesAnswers) => {
            charge(&books, &invoice, payment_hash, headers)
        }
        Some(Trick::OffersBoth) => format!(
            "{}, {}",
            challenge.www_authenticate(),
            charge(&books, &invoice, payment_hash, headers)
        ),
        _ => challenge.www_authenticate(),
    };
    (StatusCode::PAYMENT_REQUIRED, [("www-authenticate", line)], body).into_response()
}

fn invoice(trick: Option<Trick>, payment_hash: PaymentHash) -> String {
    let key = SecretKey::from_slice(&[0x42; 32]).unwrap();
    let secp = Secp256k1::new();
    let invoice = InvoiceBuilder::new(Currency::Regtest)
        .description("requests".into())
        .payment_hash(sha256::Hash::from_byte_array(*payment_hash.as_bytes()))
        .payment_secret(PaymentSecret([1; 32]))
        .min_final_cltv_expiry_delta(18);
    let invoice = match trick {
        Some(Trick::Expired) => invoice.duration_since_epoch(Duration::from_secs(1_700_000_000)),
        _ => invoice.current_timestamp(),
    };
    let invoice = match trick {
        Some(Trick::Amountless) => invoice,
        Some(Trick::Dear) => invoice.amount_milli_satoshis(1_000_000_000),
        _ => invoice.amount_milli_satoshis(SOLD_MSAT),
    };
    let signed = invoice.build_signed(|hash| secp.sign_ecdsa_recoverable(hash, &key));
    signed.unwrap().to_string()
}

async fn pay(State(shop): State<Shop>, Json(request): Json<Value>) -> Response {
    let mut books = shop.books();
    if books.trick == Some(Trick::WalletRefuses) {
        let problem = json!({
            "code": "not_ours", "status": 400, "title": "Bad Request", "detail": "not\u{1b} ours"
        });
        return (StatusCode::BAD_REQUEST, Json(problem)).into_response();
    }
    let invoice = request["invoice"].as_str().unwrap().to_owned();
    let preimage = books.preimages[&invoice].reveal_hex();
    books.paid.push(invoice);
    match books.trick {
        Some(Trick::WalletAnswerLost) => StatusCode::BAD_GATEWAY.into_response(),
        Some(Trick::WalletLies) => Json(json!({ "preimage": "00".repeat(32) })).into_response(),
        _ => Json(json!({ "preimage": preimage })).into_response(),
    }
}
