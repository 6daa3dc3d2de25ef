//! The forms of tokens and challenges.

use serde_json::{Value, json};
use tollway_core::compat::Format;
use tollway_core::wire::Proof;

use super::tests::found;
use super::{Binding, Config, ConfigError, Form};

fn parse(more: &Value, service: &Value) -> Result<Config, ConfigError> {
    let mut config = json!({
        "tollwayd": {"cluster": "tollwayd", "gate_token": "env:GATE_TOKEN"},
        "services": [{"name": "jokes"}, {"name": "time"}],
        "routes": [{"name": "joke", "service": "jokes", "match": {"path": "/joke"},
                    "price_sats": 5}],
        "unmatched": "deny",
    });
    let of = |value: &Value| value.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(of(more));
    config["services"][0].as_object_mut().unwrap().extend(of(service));
    Config::parse(config.to_string().as_bytes(), &|_| Some("0123456789abcdef".into()))
}

fn form(more: &Value, service: &Value) -> Form {
    let config = parse(more, service).unwrap();
    found(&config, "/joke").unwrap().service.form
}

fn accepted(form: &Form) -> Vec<&'static str> {
    Format::ALL.into_iter().filter(|f| form.accepts(*f)).map(Format::name).collect()
}

#[test]
fn a_service_says_for_itself_what_the_whole_says_for_all() {
    let nothing = json!({});
    assert_eq!(form(&nothing, &nothing), Form::default());
    assert_eq!(accepted(&Form::default()), ["l402"]);

    let all = json!({"profile": "lightning-toll", "token_binding": ["ip"], "lsat_line": true,
                     "token_parameter": true, "reject_status": 401, "proof": "lookup"});
    let above = form(&all, &nothing);
    assert_eq!(above.profile, Format::LightningToll);
    assert_eq!(above.binding, Binding { endpoint: false, method: false, ip: true });
    assert_eq!((above.lsat_line, above.token_parameter, above.reject_status), (true, true, 401));
    assert_eq!(accepted(&above), ["l402", "lightning-toll"], "what is sold is accepted");

    let own = json!({"profile": "toll-booth", "reject_status": 402, "lsat_line": false});
    let below = form(&all, &own);
    assert_eq!(
        (below.profile, below.reject_status, below.lsat_line),
        (Format::TollBooth, 402, false)
    );
    assert!(below.token_parameter);
    assert_eq!((above.proof, below.proof), (Proof::Lookup, Proof::Lookup));
    let insisting = form(&all, &json!({"proof": "payment_hash_alone"}));
    assert_eq!(insisting.proof, Proof::Hash);
    let strict = form(&all, &json!({"proof": "preimage"}));
    assert_eq!(strict.proof, Form::default().proof);
    assert!(!above.payment_scheme);
    let with = json!({"payment_scheme": true});
    assert!(form(&with, &nothing).payment_scheme);
    assert!(!form(&with, &json!({"payment_scheme": false})).payment_scheme);
    assert!(parse(&json!({}), &with).unwrap().other_rails);
    assert!(!parse(&all, &own).unwrap().other_rails);
    assert_eq!(accepted(&below), ["l402", "toll-booth"]);
    let both = json!({"accept_formats": ["lightning-toll", "l402"]});
    assert_eq!(accepted(&form(&both, &nothing)), ["l402", "lightning-toll"]);
}

#[test]
fn faults_name_the_field_and_the_remedy() {
    for (more, expected) in [
        (json!({"profile": "lsat"}), "profile: expected \"l402\", \"lightning-toll\" or"),
        (json!({"accept_formats": "l402"}), "accept_formats: expected a list"),
        (json!({"accept_formats": ["lsat"]}), "accept_formats[0]: expected \"l402\""),
        (json!({"accept_formats": ["toll-booth"]}), "but found only others; add \"l402\""),
        (json!({"token_binding": ["path"]}), "token_binding[0]: expected \"endpoint\""),
        (json!({"reject_status": 403}), "reject_status: expected an integer from 401 to 402"),
        (json!({"lsat_line": "yes"}), "lsat_line: expected true or false"),
        (json!({"token_parameter": 1}), "token_parameter: expected true or false"),
        (json!({"proof": "hash"}), "proof: expected \"preimage\", \"lookup\" or"),
        (json!({"payment_scheme": "on"}), "payment_scheme: expected true or false"),
    ] {
        let found = parse(&more, &json!({})).unwrap_err().to_string();
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
        let found = parse(&json!({}), &more).unwrap_err().to_string();
        assert!(found.starts_with("services[0]") && found.contains(expected), "{found:?}");
    }
}
