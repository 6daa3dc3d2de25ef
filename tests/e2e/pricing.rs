//! What requests cost by what they say, as docs/pricing.md has it.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Answer, Gateway, Http};
use crate::snippets;

/// A request of a client that pays.
struct Buyer {
    gateway: Gateway,
    credential: String,
}

/// What a request says beside its method and path.
#[derive(Clone, Copy, Default)]
struct Said<'a> {
    headers: &'a [(&'a str, &'a str)],
    body: Option<&'a str>,
}

async fn send(http: &Http, method: &Method, path: &str, said: Said<'_>) -> Answer {
    let mut request = http.request(method.clone(), path);
    for (name, value) in said.headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = said.body {
        request = request.body(body.to_owned());
    }
    http.send(request).await
}

impl Buyer {
    /// Pays the challenge of this request.
    async fn new(gateway: Gateway, method: Method, path: &str, said: Said<'_>) -> Self {
        let challenge = send(&gateway.http, &method, path, said).await;
        assert_eq!(challenge.status, 402, "{challenge:?}");
        let credential = gateway.http.pay(&challenge).await;
        Self { gateway, credential }
    }

    /// The request costs this much, in its challenge, in its charge and for the upstream.
    async fn costs(&self, method: Method, path: &str, said: Said<'_>, msat: u64) {
        let at = format!("{method} {path} {:?} {:?}", said.headers, said.body);
        let unpaid = send(&self.gateway.http, &method, path, said).await;
        assert_eq!(
            (unpaid.status.as_u16(), &unpaid.json()["priceMsat"]),
            (402, &json!(msat)),
            "{at}"
        );
        let paid = self.pays(&method, path, said).await;
        assert_eq!((paid.status.as_u16(), paid.number("x-toll-cost-msat")), (200, msat), "{at}");
        let seen = paid.json();
        assert_eq!(seen["headers"]["x-toll-cost-msat"], msat.to_string(), "{at}");
        assert_eq!(seen["body_bytes"], said.body.unwrap_or_default().len(), "{at}");
    }

    async fn pays(&self, method: &Method, path: &str, said: Said<'_>) -> Answer {
        let mut headers = said.headers.to_vec();
        headers.push(("authorization", &self.credential));
        send(&self.gateway.http, method, path, Said { headers: &headers, ..said }).await
    }

    /// The request is refused, whether it is paid for or not, and never seen by the upstream.
    async fn refused(&self, path: &str, said: Said<'_>, status: u16, code: &str) {
        let hits = self.gateway.stack.upstream().hits().total();
        let unpaid = send(&self.gateway.http, &Method::POST, path, said).await;
        let paid = self.pays(&Method::POST, path, said).await;
        for answer in [unpaid, paid] {
            let found = (answer.status.as_u16(), answer.code());
            assert_eq!(found, (status, code.to_owned()), "{path} {:?}", said.body);
        }
        assert_eq!(self.gateway.stack.upstream().hits().total(), hits);
    }

    async fn books_are_right(self) -> Value {
        let stats = self.gateway.ledger_at_rest().await;
        self.gateway.audit();
        stats
    }
}

fn body(body: &str) -> Said<'_> {
    Said { body: Some(body), headers: &[] }
}

#[tokio::test]
async fn a_class_is_a_price_with_a_name() {
    let gateway = snippets::gateway("classes").await;
    let free = gateway.http.get("/v1/health", None).await;
    assert_eq!(
        (free.status.as_u16(), &free.json()["headers"]["x-toll-free"]),
        (200, &json!("true"))
    );
    let buyer = Buyer::new(gateway, Method::GET, "/v1/items", Said::default()).await;
    buyer.costs(Method::GET, "/v1/items", Said::default(), 1_000).await;
    buyer.costs(Method::POST, "/v1/items", Said::default(), 5_000).await;
    assert_eq!(buyer.books_are_right().await["charged_msat"], 6_000);
}

#[tokio::test]
async fn a_json_field_decides_over_both_protocols_and_the_body_arrives_whole() {
    let gateway = snippets::gateway("by-json").await;
    let mut buyer =
        Buyer::new(gateway, Method::POST, "/v1/chat", body(r#"{"model":"small"}"#)).await;
    let long = json!({"model": "large", "text": "x".repeat(16_000)}).to_string();
    for http in [buyer.gateway.http.clone(), buyer.gateway.http.http2()] {
        buyer.gateway.http = http;
        buyer.costs(Method::POST, "/v1/chat", body(r#"{"model":"small"}"#), 2_000).await;
        buyer.costs(Method::POST, "/v1/chat", body(&long), 9_000).await;
        for (text, status, code) in [
            (r#"{"model":"small","model":"large"}"#, 400, "price_field_repeated"),
            (r#"{"model":"small","\u006dodel":"large"}"#, 400, "price_field_repeated"),
            (r#"{"model":"small"} "#.repeat(2).as_str(), 400, "price_field_malformed"),
            (r#"{"model":"tiny"}"#, 403, "not_sold"),
            ("{}", 403, "not_sold"),
            ("", 400, "price_field_malformed"),
            (&"[".repeat(1_000), 400, "body_too_deep"),
            (
                &format!(r#"{{"model":"small","text":"{}"}}"#, "x".repeat(20_000)),
                413,
                "body_too_long",
            ),
        ] {
            buyer.refused("/v1/chat", body(text), status, code).await;
        }
    }
    assert_eq!(buyer.books_are_right().await["charged_msat"], 22_000);
}

#[tokio::test]
async fn a_body_without_a_length_is_read_up_to_the_cap() {
    let gateway = snippets::gateway("by-json").await;
    let buyer = Buyer::new(gateway, Method::POST, "/v1/chat", body(r#"{"model":"small"}"#)).await;
    let chunked = async |chunks: &[&str]| {
        let chunk = |text: &&str| format!("{:x}\r\n{text}\r\n", text.len());
        let chunks: String = chunks.iter().chain([&""]).map(chunk).collect();
        let head = format!(
            "POST /v1/chat HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n",
            buyer.credential
        );
        let address = buyer.gateway.stack.gateway_url().replace("http://", "");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all((head + &chunks).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let paid = chunked(&[r#"{"mod"#, r#"el":"la"#, r#"rge"}"#]).await;
    for part in ["HTTP/1.1 200", "x-toll-cost-msat: 9000", "\"body_bytes\":17"] {
        assert!(paid.contains(part), "{part}: {paid}");
    }
    let long = "x".repeat(10_000);
    let long = chunked(&[&long, &long]).await;
    for part in ["HTTP/1.1 413", "body_too_long"] {
        assert!(long.contains(part), "{part}: {long}");
    }
    assert_eq!(buyer.books_are_right().await["charged_msat"], 9_000);
}

fn headers<'a>(headers: &'a [(&'a str, &'a str)]) -> Said<'a> {
    Said { headers, body: None }
}

#[tokio::test]
async fn the_presence_of_a_parameter_and_the_value_of_a_header_decide() {
    let gateway = snippets::gateway("by-presence").await;
    let buyer = Buyer::new(gateway, Method::GET, "/v1/search", Said::default()).await;
    let high = [("x-priority", "high")];
    buyer.costs(Method::GET, "/v1/search?q=100%25", headers(&high), 1_500).await;
    buyer.costs(Method::GET, "/v1/search?q=a&deep", Said::default(), 5_000).await;
    buyer.costs(Method::GET, "/v1/search?d%65ep=0", headers(&high), 9_000).await;
    let twice = [("x-priority", "low"), ("x-priority", "high")];
    let once = [("x-priority", "low, high")];
    buyer.refused("/v1/search?deep", headers(&twice), 400, "price_field_repeated").await;
    buyer.refused("/v1/search?deep", headers(&once), 400, "price_field_repeated").await;
    buyer.refused("/v1/search?deep=1&Deep=2", Said::default(), 400, "price_field_repeated").await;
    buyer.refused("/v1/search?a;deep", Said::default(), 400, "price_field_malformed").await;
    assert_eq!(buyer.books_are_right().await["charged_msat"], 15_500);
}

#[tokio::test]
async fn a_share_of_a_number_is_exact_to_the_msat() {
    let gateway = snippets::gateway("percent").await;
    let buyer = Buyer::new(gateway, Method::GET, "/v1/transfer?amount=1", Said::default()).await;
    for (amount, msat) in [
        ("100", 2_500),
        ("100.01", 2_501),
        ("1e2", 2_500),
        ("40.00001", 1_001),
        ("0", 1_000),
        ("99999999", 50_000),
    ] {
        let path = format!("/v1/transfer?amount={amount}");
        buyer.costs(Method::GET, &path, Said::default(), msat).await;
    }
    buyer.costs(Method::POST, "/v1/order", body(r#"{"order":{"total":150001}}"#), 1_501).await;
    buyer.costs(Method::POST, "/v1/order", body(r#"{"order":{"total":0}}"#), 1).await;
    for (path, text, code) in [
        ("/v1/transfer", "", "price_field_missing"),
        ("/v1/transfer?amount=-1", "", "price_field_malformed"),
        ("/v1/transfer?amount=NaN", "", "price_field_malformed"),
        ("/v1/transfer?amount=1&amount=100", "", "price_field_repeated"),
        ("/v1/order", r#"{"order":{"total":-1}}"#, "price_field_malformed"),
        ("/v1/order", r#"{"order":{"total":1e24}}"#, "price_out_of_range"),
        ("/v1/order", r#"{"order":{"total":1,"total":2}}"#, "price_field_repeated"),
    ] {
        buyer.refused(path, body(text), 400, code).await;
    }
    buyer.books_are_right().await;
}

#[tokio::test]
async fn bytes_that_are_sent_cost_by_their_number() {
    let gateway = snippets::gateway("request-bytes").await;
    let buyer = Buyer::new(gateway, Method::POST, "/v1/upload", body("")).await;
    for (bytes, msat) in [(0, 1_000), (1, 1_001), (1_024, 1_010), (300_000, 3_930)] {
        let text = "x".repeat(bytes);
        buyer.costs(Method::POST, "/v1/upload", body(&text), msat).await;
    }
    buyer.costs(Method::GET, "/v1/upload", Said::default(), 1_000).await;
    buyer.books_are_right().await;
}

#[tokio::test]
async fn the_moment_decides_what_a_request_costs() {
    // The clock is the machine's: a window around it and one beside it tell the two apart.
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 60 % (24 * 60);
    let clock = |minute: u64| format!("{:02}:{:02}", minute % 1_440 / 60, minute % 60);
    let around = (clock(now + 1_440 - 120), clock(now + 120));
    let beside = (around.1.clone(), around.0.clone());
    for ((from, to), msat) in [(around, 2_000), (beside, 4_000)] {
        let gateway = snippets::with("windows", |filter| {
            filter["routes"][0]["price"]["windows"] =
                json!([{"from": from, "to": to, "percent": 50}]);
        })
        .await;
        let buyer = Buyer::new(gateway, Method::GET, "/v1/live", Said::default()).await;
        buyer.costs(Method::GET, "/v1/live", Said::default(), msat).await;
    }
    let gateway = snippets::gateway("windows").await;
    let price = gateway.http.get("/v1/live", None).await.json()["priceMsat"].as_u64().unwrap();
    assert!([1_000, 2_000, 4_000].contains(&price), "{price}");
}

#[tokio::test]
async fn a_client_s_limit_is_kept() {
    let gateway = snippets::gateway("classes").await;
    let buyer = Buyer::new(gateway, Method::POST, "/v1/items", Said::default()).await;
    let limit = [("x-toll-max-cost-msat", "4999")];
    buyer.refused("/v1/items", headers(&limit), 402, "max_cost_exceeded").await;
    let refused = buyer.pays(&Method::POST, "/v1/items", headers(&limit)).await;
    assert_eq!(refused.number("x-toll-price-msat"), 5_000);
    assert_eq!(refused.header("www-authenticate"), "");
    let odd = [("x-toll-max-cost-msat", "five")];
    buyer.refused("/v1/items", headers(&odd), 400, "max_cost_malformed").await;
    let limit = [("x-toll-max-cost-msat", "5000")];
    let paid = buyer.pays(&Method::POST, "/v1/items", headers(&limit)).await;
    assert_eq!((paid.status.as_u16(), paid.number("x-toll-cost-msat")), (200, 5_000));
    assert_eq!(paid.json()["headers"].get("x-toll-max-cost-msat"), None);
    assert_eq!(buyer.books_are_right().await["charged_msat"], 5_000);
}

#[tokio::test]
async fn tokens_say_what_they_were_sold_with_and_clients_choose_what_is_offered() {
    let gateway = snippets::gateway("mint").await;
    let buyer = Buyer::new(gateway, Method::GET, "/v1/pro", Said::default()).await;
    let forged = [("x-toll-caveat-plan", "free"), ("x-toll-caveat-role", "admin")];
    let said = Said { headers: &forged, body: None };
    let paid = buyer.pays(&Method::GET, "/v1/pro", said).await;
    let seen = paid.json();
    assert_eq!(paid.status, 200, "{paid:?}");
    assert_eq!(seen["headers"]["x-toll-caveat-plan"], "pro");
    assert_eq!(seen["headers"]["x-toll-caveat-role"], Value::Null);
    // Its tier decides, unless the client chooses another.
    let choice = [("x-toll-tier", "fast")];
    let fast = Said { headers: &choice, body: None };
    for (said, cost, tier) in [(Said::default(), 1_000, "gold"), (fast, 9_000, "fast")] {
        let paid = buyer.pays(&Method::GET, "/v1/render", said).await;
        assert_eq!((paid.status.as_u16(), paid.number("x-toll-cost-msat")), (200, cost));
        assert_eq!(paid.json()["headers"]["x-toll-tier"], tier);
    }
    let gold = [("x-toll-tier", "gold")];
    buyer.refused("/v1/render", Said { headers: &gold, body: None }, 400, "tier_not_offered").await;
    assert_eq!(buyer.books_are_right().await["charged_msat"], 12_000);
}

#[tokio::test]
async fn the_most_specific_route_decides() {
    let gateway = snippets::gateway("match").await;
    let buyer = Buyer::new(gateway, Method::GET, "/v1/users", Said::default()).await;
    let beta = [("x-beta", "1")];
    let partner = [("host", "eu.partner.example")];
    for (method, path, headers, msat) in [
        (Method::GET, "/v1/users/7/posts", &[][..], 1_500),
        (Method::POST, "/v1/users/7/posts", &[], 2_000),
        (Method::GET, "/v1/users/7/posts/1", &[], 2_000),
        (Method::GET, "/v1/users", &beta, 3_000),
        (Method::GET, "/v1/users/7/posts", &partner, 4_000),
        (Method::GET, "/v1/usersx", &[], 9_000),
    ] {
        buyer.costs(method, path, Said { headers, body: None }, msat).await;
    }
    let charged = 1_500 + 2_000 * 2 + 3_000 + 4_000 + 9_000;
    assert_eq!(buyer.books_are_right().await["charged_msat"], charged);
}
