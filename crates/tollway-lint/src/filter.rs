//! The filter's own configuration: what its reader refuses, and what it takes and an operator will
//! regret.

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
    findings
}
