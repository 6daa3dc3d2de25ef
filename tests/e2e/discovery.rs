//! What the documents about the prices say is what the gateway asks for.

use reqwest::Method;
use serde_json::{Value, json};
use tollway_lint::{Form, describe};
use tollway_testkit::stack::{Listeners, StackOptions};

use crate::harness::{Gateway, config, eventually};

#[tokio::test]
async fn every_offer_is_what_a_challenge_asks() {
    let mut filter = config();
    let more = json!([
        {"name": "any", "service": "demo", "match": {"path_prefix": "/any"}, "price_msat": 1500},
        {"name": "post", "service": "demo", "match": {"path": "/any", "methods": ["POST", "PUT"]},
         "price_sats": 7},
        {"name": "big", "service": "demo", "match": {"path": "/any", "methods": ["GET"],
         "headers": [{"name": "x-size", "value": "big"}]}, "price_sats": 9},
        {"name": "docs", "service": "demo", "match": {"path_prefix": "/docs"}, "free": true}
    ]);
    filter["routes"].as_array_mut().unwrap().extend(more.as_array().unwrap().iter().cloned());
    let document: Value =
        serde_json::from_str(&describe(&filter, "Jokes", Form::OpenApi).unwrap()).unwrap();
    let manifest: Value =
        serde_json::from_str(&describe(&filter, "Jokes", Form::Manifest).unwrap()).unwrap();
    let options = StackOptions { filter: Some(filter), ..StackOptions::default() };
    let gateway = Gateway::with(options).await;
    let mut compared = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let offers = operation["x-payment-info"]["offers"].as_array().unwrap();
            let path = path.replace("{code}", "200");
            let ask = |headers: &Value| {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                let mut request = gateway.http.request(method, &path);
                for header in headers.as_array().into_iter().flatten() {
                    let text = |field: &str| header[field].as_str().unwrap().to_owned();
                    request = request.header(text("name"), text("value"));
                }
                gateway.http.send(request)
            };
            if offers.is_empty() {
                assert_ne!(ask(&Value::Null).await.status, 402, "{method} {path}");
            }
            for offer in offers {
                let challenge = ask(&offer["headers"]).await;
                assert_eq!(challenge.status, 402, "{method} {path}");
                let price = challenge.json()["priceMsat"].clone();
                assert_eq!(offer["price_msat"], price, "{method} {path}");
                let sats = price.as_u64().unwrap().div_ceil(1_000).to_string();
                assert_eq!((&offer["amount"], &offer["currency"]), (&json!(sats), &json!("sat")));
                let resource = manifest["services"].as_array().unwrap().iter();
                let resource = resource
                    .flat_map(|service| service["resources"].as_array().unwrap())
                    .find(|resource| resource["route"] == offer["route"])
                    .unwrap();
                assert_eq!(resource["pricing"], json!({"model": "fixed", "price_msat": price}));
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 11, "each price once for each method");
}

#[tokio::test]
async fn the_shipped_gateway_publishes_its_prices_to_who_pays_nothing() {
    let gateway = Gateway::with(StackOptions::default()).await;
    let filter = std::fs::read_to_string(crate::harness::repository("envoy/filter.json")).unwrap();
    let filter: Value = serde_json::from_str(&filter).unwrap();
    for (path, form, media_type) in [
        ("/.well-known/l402", Form::Manifest, "application/json"),
        ("/openapi.json", Form::OpenApi, "application/json"),
        ("/llms.txt", Form::Llms, "text/plain; charset=utf-8"),
    ] {
        let answer = gateway.http.get(path, None).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, media_type));
        let text = String::from_utf8(answer.body.clone()).unwrap();
        assert_eq!(text, describe(&filter, "API", form).unwrap(), "{path}");
        let head = gateway.http.send(gateway.http.request(Method::HEAD, path)).await;
        assert_eq!(head.status, 200, "{path}");
    }
    assert_eq!(gateway.stack.upstream().hits().total(), 0);
    // What lies beside them is not open.
    assert_eq!(gateway.http.get("/v1/keyring", None).await.status, 403);
    assert_eq!(gateway.http.get("/.well-known/l402/x", None).await.status, 403);
}

#[tokio::test]
async fn what_is_published_follows_the_prices_that_run() {
    let with = |price_sats: u64| {
        let mut filter = config();
        let free = json!({"name": "openapi", "service": "demo",
                          "match": {"path": "/openapi.json"}, "free": true});
        filter["routes"].as_array_mut().unwrap().push(free);
        filter["routes"][1]["price_sats"] = json!(price_sats);
        filter
    };
    let (filter, listeners) = (Some(with(1)), Listeners::Watched);
    let options = StackOptions { filter, listeners, ..StackOptions::default() };
    let mut gateway = Gateway::with(options).await;
    let offer = async |gateway: &Gateway| {
        let document = gateway.http.fresh().get("/openapi.json", None).await;
        assert_eq!(document.status, 200, "{document:?}");
        document.json()["paths"]["/echo"]["get"]["x-payment-info"]["offers"][0].clone()
    };
    assert_eq!(offer(&gateway).await["price_msat"], 1_000);
    gateway.stack.reload_filter(with(77)).await.unwrap();
    assert_eq!(offer(&gateway).await["price_msat"], 77_000);
    eventually("new connections are asked for the new price", async || {
        let challenge = gateway.http.fresh().get("/echo", None).await;
        (challenge.status == 402 && challenge.json()["priceMsat"] == 77_000).then_some(())
    })
    .await;
}
