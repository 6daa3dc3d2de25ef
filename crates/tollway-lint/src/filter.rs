//! The filter's own configuration: what its reader refuses, and what it takes and an operator will
//! regret.

use serde_json::Value;
use tollway_core::pricing::Price;
use tollway_gate::config::{Config, Unmatched};

use crate::finding::Finding;
use crate::reach;
use crate::rehearsal::{config, routes};
use crate::source::Found;

pub(crate) fn judge(found: &Found) -> Vec<Finding> {
    match config(&found.filter) {
        Err(error) => vec![Finding::error(found.at(""), error.to_string())],
        Ok(config) => {
            let mut findings = whole(found, &config);
            findings.extend(reach::judge(found, &config));
            findings
        }
    }
}

fn whole(found: &Found, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let open = matches!(&config.unmatched, Unmatched::Route(route) if route.price == Price::Free);
    if open && routes(&found.filter).next().is_some() {
        findings.push(Finding::warning(
            found.at("unmatched"),
            "what no route names is free: a new endpoint of your API, and every spelling of a \
             priced path that only your API takes for it (\"/Joke\", \"/joke;x\"); write \"deny\" or a \
             price, and name what is free",
        ));
    }
    if config.failure_mode_allow {
        findings.push(Finding::warning(
            found.at("failure_mode_allow"),
            "while tollwayd cannot be reached everything is served unpaid; write false unless a \
             refused customer costs you more than that",
        ));
    }
    if config.has_shadow {
        findings.push(Finding::warning(
            found.at("shadow"),
            "requests in shadow pass unpaid; take it out when you have seen enough",
        ));
    }
    let services = found.filter.get("services").and_then(Value::as_array);
    let services = services.into_iter().flatten().enumerate();
    let of_services = services.map(|(at, service)| (format!("services[{at}].proof"), service));
    for (place, object) in [("proof".to_owned(), &found.filter)].into_iter().chain(of_services) {
        if object.get("proof").is_some_and(|proof| proof == "payment_hash_alone") {
            findings.push(Finding::warning(
                found.at(&place),
                "a payment hash is no secret: whoever sees an invoice, a token or a log line can \
                 spend what its payment bought; write \"lookup\" unless your clients have no token",
            ));
        }
    }
    findings
}
