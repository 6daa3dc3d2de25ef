//! What the documents about the prices say is what the gateway asks for.

use reqwest::Method;
use serde_json::{Value, json};
use tollway_lint::{Form, describe};
use tollway_testkit::stack::StackOptions;

use crate::harness::{Gateway, config};

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
