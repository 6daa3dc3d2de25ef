//! Calls of an MCP server's tools: challenged in JSON-RPC's form, and free where they fail.

use std::rc::Rc;

use serde_json::{Value, json};
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::Reply;

use crate::world::{World, config, granted, header, invoice};

fn world(more: &Value) -> World {
    let mut price = json!({"tools": {"search": {"msat": 2_000}}, "default": "deny"});
    for (name, value) in more.as_object().unwrap() {
        price[name] = value.clone();
    }
    let mut config = config();
    config["routes"].as_array_mut().unwrap().push(json!({
        "name": "mcp", "service": "demo", "match": {"path": "/mcp"}, "price": {"mcp": price}
    }));
    World::with(&config)
}

fn call(world: &World, id: &Value, credential: Option<&str>) -> (Exchange, Option<Step>) {
    let mut headers: Vec<(&str, &[u8])> =
        vec![(":method", b"POST"), (":path", b"/mcp"), (":authority", b"api.example.com")];
    headers.extend(credential.map(|text| ("authorization", text.as_bytes())));
    world.host.begin_request(&headers);
    let mut exchange = Exchange::new(Rc::clone(&world.gate));
    assert_eq!(exchange.request_headers(&world.host, false), Step::Wait);
    let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
                      "params": {"name": "search", "arguments": {}}})
    .to_string();
    world.host.set_request_body(body.as_bytes());
    let step = exchange.request_body(&world.host, body.len(), true);
    (exchange, step)
}

fn challenged(world: &World, id: &Value) -> Reply {
    let (mut exchange, _) = call(world, id, None);
    let asked = world.one_call("POST", "/v1/challenges");
    match exchange.call_answered(&world.host, asked.id, &invoice(&asked.json())) {
        Step::Answer(reply) => reply,
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_challenge_is_http_s_or_json_rpc_s() {
    let plain = challenged(&world(&json!({})), &json!(1));
    assert_eq!((plain.status, header(&plain, "content-type")), (402, "application/problem+json"));
    for id in [json!(7), json!("a\"b"), Value::Null] {
        let reply = challenged(&world(&json!({"challenge_in_json_rpc": true})), &id);
        assert_eq!((reply.status, header(&reply, "content-type")), (200, "application/json"));
        assert_eq!(header(&reply, "cache-control"), "no-store");
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((&body["id"], &body["error"]["code"]), (&id, &json!(-32042)));
        let data = &body["error"]["data"];
        assert_eq!(data["problem"]["priceMsat"], 2_000);
        let shown = data["challenges"][0]["wwwAuthenticate"].as_str().unwrap();
        assert_eq!(header(&reply, "www-authenticate"), shown);
    }
}

#[test]
fn a_call_that_failed_costs_nothing_where_the_route_says_so() {
    let fine = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":false}}"#;
    let failed = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}"#;
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"no"}}"#;
    let events = format!("event: message\r\ndata: {failed}\r\n\r\n");
    for (refunds, coding, body, charged) in [
        (true, "", fine, 2_000),
        (true, "", failed, 0),
        (true, "", error, 0),
        (true, "", &events, 0),
        (true, "gzip", failed, 2_000),
        (false, "", failed, 2_000),
    ] {
        let world = world(&json!({"refund_errors": refunds}));
        let credential = world.credential("demo");
        let (mut exchange, step) = call(&world, &json!(1), Some(&credential));
        assert_eq!(step, Some(Step::Wait));
        let hold = world.one_call("PUT", "/v1/holds/");
        let step = exchange.call_answered(&world.host, hold.id, &granted(2_000, 0));
        assert_eq!(step, Step::Continue);
        let mut headers: Vec<(&str, &[u8])> = vec![(":status", b"200")];
        if !coding.is_empty() {
            headers.push(("content-encoding", coding.as_bytes()));
        }
        world.host.begin_response(&headers, false);
        exchange.response_headers(&world.host);
        let known = world.host.client_header("x-toll-cost-msat");
        assert_eq!(known.is_none(), refunds, "it shows when the answer has passed");
        for part in body.as_bytes().chunks(5) {
            world.host.set_response_body(part);
            exchange.response_body(&world.host, part.len(), false);
            assert_eq!(world.host.client_body(), part);
        }
        exchange.response_body(&world.host, 0, true);
        exchange.finished(&world.host);
        assert_eq!(world.posted()[0]["amount_msat"], charged, "{refunds} {coding} {body}");
    }
}
