//! Routes that no request reaches, or fewer than their author thinks. For each route requests are
//! made up that it matches when it stands alone; then the whole table says who gets them.

use serde_json::Value;
use tollway_core::pricing::Price;
use tollway_gate::config::Config;

use crate::finding::Finding;
use crate::rehearsal::{Asked, alone, route_of, routes};
use crate::source::Found;

/// Stands for a host that no route names.
const OTHER_HOST: &str = "unnamed.invalid";
/// Stands for a path segment that no route names.
const SEGMENT: &str = "any-7f3a";

pub(crate) fn judge(found: &Found, config: &Config) -> Vec<Finding> {
    let filter = &found.filter;
    let hosts = hosts(filter);
    let mut findings = Vec::new();
    for (at, (name, route)) in routes(filter).enumerate() {
        let Some(own) = alone(filter, route) else { continue };
        let asked: Vec<Asked> = witnesses(route, &hosts)
            .into_iter()
            .filter(|asked| route_of(&own, asked).is_some())
            .collect();
        let place = found.at(&format!("routes[{at}]"));
        let lost: Vec<(&Asked, String)> = asked
            .iter()
            .filter_map(|asked| {
                let winner = route_of(config, asked)?;
                (winner.name != name).then(|| (asked, winner.name.clone()))
            })
            .collect();
        match lost.first() {
            Some((_, winner)) if lost.len() == asked.len() => {
                findings.push(Finding::warning(
                    place.clone(),
                    format!(
                        "no request reaches \"{name}\": \"{winner}\" and those like it are as \
                         specific and stand before it, or are more specific; remove it, or put it \
                         before"
                    ),
                ));
            }
            _ => findings.extend(surprises(filter, &place, (name, route), &lost)),
        }
        findings.extend(neighbours(config, &place, (name, route), &own, &asked));
    }
    findings
}

/// Requests that another route takes for a reason that is easily overlooked.
fn surprises(
    filter: &Value,
    place: &str,
    (name, route): (&str, &Value),
    lost: &[(&Asked, String)],
) -> Option<Finding> {
    lost.iter().find_map(|(asked, winner)| {
        let (_, taker) = routes(filter).find(|(known, _)| known == winner)?;
        let same = |field| match_field(route, field) == match_field(taker, field);
        let same_path = ["path", "path_prefix", "path_template"].into_iter().all(same);
        let why = if !same("host") && !same_path {
            "a named host counts before the path"
        } else if same("host") && same_path && header_count(route) > header_count(taker) {
            "listed methods count before header conditions"
        } else {
            return None;
        };
        Some(Finding::warning(
            place,
            format!(
                "{} {}{} goes to \"{winner}\", not to \"{name}\": {why}; say the same in both if \
                 that is not meant",
                asked.method, asked.host, asked.target
            ),
        ))
    })
}

/// Spellings beside an exact, priced path that cost nothing, while many APIs take them for it.
fn neighbours(
    config: &Config,
    place: &str,
    (name, route): (&str, &Value),
    own: &Config,
    asked: &[Asked],
) -> Option<Finding> {
    let path = match_field(route, "path")?.as_str()?;
    let priced = |asked: &Asked| route_of(own, asked).is_some_and(|r| r.price != Price::Free);
    let first = asked.first().filter(|first| path != "/" && priced(first))?;
    let spellings = [format!("{path}/"), format!("{path};x"), path.to_ascii_uppercase()];
    spellings.into_iter().filter(|spelling| spelling != path).find_map(|target| {
        let beside = Asked { target, ..first.clone() };
        let taker = route_of(config, &beside).filter(|taker| taker.price == Price::Free)?;
        Some(Finding::warning(
            place,
            format!(
                "\"{}\" is free by \"{}\"; an API that takes it for \"{path}\" gives \"{name}\" \
                 away; write path_prefix, or close what is around it",
                beside.target, taker.name
            ),
        ))
    })
}

fn match_field<'v>(route: &'v Value, field: &str) -> Option<&'v Value> {
    route.get("match")?.get(field)
}

fn header_count(route: &Value) -> usize {
    match_field(route, "headers").and_then(Value::as_array).map_or(0, Vec::len)
}

/// A host for each that the file names, and one that it does not name.
fn hosts(filter: &Value) -> Vec<String> {
    let named = routes(filter).filter_map(|(_, route)| match_field(route, "host")?.as_str());
    let mut hosts: Vec<String> = named.map(a_host).collect();
    hosts.push(OTHER_HOST.to_owned());
    hosts.sort();
    hosts.dedup();
    hosts
}

fn a_host(rule: &str) -> String {
    match rule.strip_prefix("*.") {
        Some(domain) => format!("{SEGMENT}.{domain}"),
        None if rule == "*" => OTHER_HOST.to_owned(),
        None => rule.to_owned(),
    }
}

/// A request that the route is for.
pub(crate) fn witness(route: &Value) -> Option<Asked> {
    let host = match_field(route, "host").and_then(Value::as_str).map_or(OTHER_HOST.into(), a_host);
    witnesses(route, &[host]).pop()
}

fn witnesses(route: &Value, hosts: &[String]) -> Vec<Asked> {
    let text = |field| match_field(route, field).and_then(Value::as_str);
    let targets = match (text("path"), text("path_prefix"), text("path_template")) {
        (Some(path), _, _) => vec![path.to_owned()],
        (_, Some(prefix), _) => {
            let prefix = prefix.trim_end_matches('/');
            vec![
                if prefix.is_empty() { "/" } else { prefix }.to_owned(),
                format!("{prefix}/{SEGMENT}"),
            ]
        }
        (_, _, Some(template)) => vec![filled(template)],
        _ => Vec::new(),
    };
    let listed = match_field(route, "methods").and_then(Value::as_array);
    let methods: Vec<&str> = match listed {
        Some(methods) => methods.iter().filter_map(Value::as_str).collect(),
        None => vec!["GET", "POST", "PUT", "DELETE", "PATCH"],
    };
    let headers = sent_headers(route);
    let mut all = Vec::new();
    for target in &targets {
        for host in hosts {
            for method in &methods {
                all.push(Asked {
                    method: (*method).to_owned(),
                    host: host.clone(),
                    target: target.clone(),
                    headers: headers.clone(),
                    body: Vec::new(),
                });
            }
        }
    }
    all
}

/// The template with a segment for each parameter.
fn filled(template: &str) -> String {
    let segments =
        template.split('/').map(|segment| if segment.starts_with('{') { SEGMENT } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// Headers that fulfil the route's conditions.
fn sent_headers(route: &Value) -> Vec<(String, String)> {
    let conditions = match_field(route, "headers").and_then(Value::as_array);
    let sent = |condition: &Value| {
        let name = condition.get("name")?.as_str()?.to_ascii_lowercase();
        let value = match (condition.get("value"), condition.get("present")) {
            (Some(value), _) => value.as_str()?.to_owned(),
            (None, Some(present)) if present.as_bool()? => SEGMENT.to_owned(),
            _ => return None,
        };
        Some((name, value))
    };
    conditions.into_iter().flatten().filter_map(sent).collect()
}
