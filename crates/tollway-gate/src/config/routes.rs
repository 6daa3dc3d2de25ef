//! Routes: what matches them, what they cost, and the route of everything else.

use std::rc::Rc;

use tollway_core::pricing::{
    HeaderFault, HeaderRule, HostRule, MethodRule, PathRule, PatternFault, Price, RouteMatch,
};
use tollway_core::wire::ROUTE_NAME_BYTES_MAX;

use super::price::PriceReader;
use super::reader::{ConfigError, Node, Object};
use super::terms::{Mode, Route, TERMS, charge};
use super::{Service, Unmatched};

/// The most routes. Finding two equal ones compares all pairs, which stays instant up to here.
const ROUTES_MAX: usize = 2_000;
/// The most methods or header conditions of one route.
const CONDITIONS_MAX: usize = 64;
/// The longest path pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1_024;
/// Stands for the requests that no route matches, wherever routes are named.
const UNMATCHED: &str = "unmatched";

/// The fields of a route: its own, and [`TERMS`].
pub(super) const ROUTE_FIELDS: [&str; 26] = [
    "name",
    "match",
    "service",
    "price",
    "price_sats",
    "price_msat",
    "price_fiat",
    "class",
    "free",
    "body_bytes_max",
    "description",
    "refund_on",
    "charge_on",
    "meter",
    "hold_ttl_s",
    "mode",
    "free_tier",
    "idempotency",
    "overrun",
    "when_credit_ends",
    "mint_caveats",
    "tier_wish",
    "spend",
    "lease_max_sats",
    "exact_above_sats",
    "shadow",
];

/// Routes in the order of the configuration.
pub(super) type Routes = Vec<(RouteMatch, Rc<Route>)>;

/// Reads routes, which refer to services by name.
#[derive(Debug)]
pub(super) struct RouteReader<'s> {
    services: &'s [Rc<Service>],
    prices: PriceReader,
}

impl<'s> RouteReader<'s> {
    pub(super) const fn new(services: &'s [Rc<Service>], prices: PriceReader) -> Self {
        Self { services, prices }
    }

    /// Reads `routes` and `unmatched`.
    pub(super) fn read(&self, root: &Object<'_>) -> Result<(Routes, Unmatched), ConfigError> {
        let list = root.required("routes", "list the routes of the API and their prices")?;
        let mut routes = Routes::new();
        for node in list.items(ROUTES_MAX)? {
            let (rule, route) = self.route(&node)?;
            for (other_rule, other) in &routes {
                let (mine, theirs) = (&route.name, &other.name);
                if mine == theirs {
                    return Err(node.problem(format!(
                        "expected a name that no route before has, but found \"{mine}\" twice; \
                         rename one of the two"
                    )));
                }
                if rule == *other_rule {
                    return Err(node.problem(format!(
                        "expected a match that no route before has, but found that of \
                         \"{theirs}\" again in \"{mine}\"; narrow or remove one of the two"
                    )));
                }
            }
            routes.push((rule, Rc::new(route)));
        }
        let unmatched = self.unmatched(root)?;
        let all = routes.iter().map(|(_, route)| route);
        one_session_per_service(
            &list,
            match &unmatched {
                Unmatched::Route(route) => all.chain(Some(route)).collect(),
                Unmatched::Deny => all.collect(),
            },
        )?;
        if routes.is_empty() && !charges(&unmatched) {
            return Err(list.problem(
                "expected at least one route, but found none; list one, or give \"unmatched\" a \
                 price"
                    .to_owned(),
            ));
        }
        Ok((routes, unmatched))
    }

    fn route(&self, node: &Node<'_>) -> Result<(RouteMatch, Route), ConfigError> {
        let fields = node.object(&ROUTE_FIELDS)?;
        let name = route_name(&fields.required("name", "give the route a name")?)?;
        let rule =
            route_match(&fields.required(
                "match",
                "write which requests it is for, such as {\"path\": \"/joke\"}",
            )?)?;
        let service = self.service(&fields)?;
        Ok((rule, charge(&fields, name, service, &self.prices)?))
    }

    fn unmatched(&self, root: &Object<'_>) -> Result<Unmatched, ConfigError> {
        const REMEDY: &str = "write what becomes of requests that no route matches: \
             \"deny\" refuses \
             them, \"free\" lets them pass unpaid, {\"price_sats\": 1} charges them";
        let node = root.required(UNMATCHED, REMEDY)?;
        if node.is_text() {
            return match (node.text("")?, self.services.first()) {
                ("deny", _) => Ok(Unmatched::Deny),
                // A free route never looks at its service.
                ("free", Some(service)) => {
                    let free = Route::free(UNMATCHED.to_owned(), Rc::clone(service));
                    Ok(Unmatched::Route(Rc::new(free)))
                }
                _ => Err(node.fault("\"deny\", \"free\" or an object with a price", REMEDY)),
            };
        }
        let fields = node.object(&TERMS)?;
        let service = self.service(&fields)?;
        let route = charge(&fields, UNMATCHED.to_owned(), service, &self.prices)?;
        Ok(Unmatched::Route(Rc::new(route)))
    }

    /// The service a route names; it may stay unnamed where there is only one.
    fn service(&self, fields: &Object<'_>) -> Result<Rc<Service>, ConfigError> {
        let names: Vec<&str> = self.services.iter().map(|service| service.name.as_str()).collect();
        let remedy = format!("name one of {}", names.join(", "));
        match (fields.optional("service"), self.services) {
            (None, [only]) => Ok(Rc::clone(only)),
            (None, _) => Err(fields.missing("service", &remedy)),
            (Some(node), services) => {
                let name = node.text("the name of a service")?;
                let named = services.iter().find(|service| service.name == name);
                named.cloned().ok_or_else(|| node.fault("the name of a service", &remedy))
            }
        }
    }
}

fn charges(unmatched: &Unmatched) -> bool {
    matches!(unmatched, Unmatched::Route(route) if !matches!(route.price, Price::Free))
}

/// A session opens every session route of its service, so all of them must sell the same.
fn one_session_per_service(list: &Node<'_>, routes: Vec<&Rc<Route>>) -> Result<(), ConfigError> {
    let mut sold: Vec<&Rc<Route>> = Vec::new();
    for route in routes {
        let Mode::Session { .. } = route.mode else { continue };
        match sold.iter().find(|other| other.service.name == route.service.name) {
            Some(other) if !sells_the_same(other, route) => {
                return Err(list.problem(format!(
                    "expected one price and duration for all session routes of a service, but \
                     found others in \"{}\" than in \"{}\"; one session opens both, so make them \
                     equal or put them into two services",
                    route.name, other.name
                )));
            }
            Some(_) => {}
            None => sold.push(route),
        }
    }
    Ok(())
}

/// Whether two session routes have one price and duration. A session's price is never a rule.
fn sells_the_same(one: &Route, other: &Route) -> bool {
    let one_price = match (&one.price, &other.price) {
        (Price::Fixed(price), Price::Fixed(other)) => price == other,
        (Price::Fiat(price), Price::Fiat(other)) => price == other,
        _ => false,
    };
    one_price && one.mode == other.mode
}

fn route_name(node: &Node<'_>) -> Result<String, ConfigError> {
    let expected = format!("a name of 1 to {ROUTE_NAME_BYTES_MAX} characters");
    let name = node.text(&expected)?;
    let proper = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name == UNMATCHED {
        let remedy = "choose another, since this one stands for requests that no route matches";
        return Err(node.fault("a name of the route's own", remedy));
    }
    if (1..=ROUTE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(proper) {
        Ok(name.to_owned())
    } else {
        Err(node.fault(&expected, "use A-Z, a-z, 0-9, \".\", \"_\" and \"-\""))
    }
}

fn route_match(node: &Node<'_>) -> Result<RouteMatch, ConfigError> {
    let fields =
        node.object(&["host", "path", "path_prefix", "path_template", "methods", "headers"])?;
    let mut rule = RouteMatch::new(path(&fields)?);
    if let Some(node) = fields.optional("host") {
        rule = rule.with_host(host(&node)?);
    }
    if let Some(node) = fields.optional("methods") {
        rule = rule.with_methods(methods(&node)?);
    }
    if let Some(node) = fields.optional("headers") {
        for item in node.items(CONDITIONS_MAX)? {
            let (header, name) = header(&item)?;
            rule = rule.with_header(header).map_err(|fault| {
                name.problem(format!(
                    "expected one condition per header, but found {fault}; keep one of them"
                ))
            })?;
        }
    }
    Ok(rule)
}

fn path(fields: &Object<'_>) -> Result<PathRule, ConfigError> {
    const KINDS: [&str; 3] = ["path", "path_prefix", "path_template"];
    let Some((node, kind)) = fields.one_of(&KINDS)? else {
        return Err(fields.problem(
            "expected one of path, path_prefix, path_template, but found none; write \
             \"path_prefix\": \"/\" for every path"
                .to_owned(),
        ));
    };
    let (expected, read, remedy): (_, fn(&str) -> _, _) = match kind {
        0 => ("a path such as \"/joke\"", PathRule::exact, "write it as Envoy normalises it"),
        1 => ("a path such as \"/api\"", PathRule::prefix, "write it as Envoy normalises it"),
        _ => (
            "a template such as \"/users/{id}/posts\"",
            PathRule::template,
            "a parameter is a whole segment, and the rest is written as Envoy normalises it",
        ),
    };
    let text = node.text(expected)?;
    if text.len() > PATTERN_BYTES_MAX {
        return Err(node.fault(expected, &format!("use at most {PATTERN_BYTES_MAX} bytes")));
    }
    read(text).map_err(|fault| {
        let remedy = match fault {
            PatternFault::NoParameter => "write it as path",
            PatternFault::ParameterRepeated => "rename one of them",
            _ => remedy,
        };
        node.problem(format!("expected {expected}, but found {fault}; {remedy}"))
    })
}

fn host(node: &Node<'_>) -> Result<HostRule, ConfigError> {
    const EXPECTED: &str = "a host such as \"api.example.com\" or \"*.example.com\"";
    HostRule::parse(node.text(EXPECTED)?).map_err(|fault| {
        node.problem(format!(
            "expected {EXPECTED}, but found {fault}; a host matches on every port and in any case"
        ))
    })
}

fn methods(node: &Node<'_>) -> Result<MethodRule, ConfigError> {
    const EXPECTED: &str = "a method such as \"GET\"";
    let items = node.items(CONDITIONS_MAX)?;
    if items.is_empty() {
        return Err(node.problem(
            "expected at least one method, but found none; leave the field out for every method"
                .to_owned(),
        ));
    }
    items.iter().try_fold(MethodRule::any(), |rule, item| {
        rule.with(item.text(EXPECTED)?).map_err(|fault| {
            item.problem(format!(
                "expected {EXPECTED}, but found {fault}; list each method once, in capitals"
            ))
        })
    })
}

/// A condition on a header, and where its name stands.
fn header<'a>(node: &Node<'a>) -> Result<(HeaderRule, Node<'a>), ConfigError> {
    const EXPECTED: &str = "the name of a header that clients send";
    let fields = node.object(&["name", "value", "present"])?;
    let name_node = fields.required("name", "name the header")?;
    let name = name_node.text(EXPECTED)?;
    let (want, rule) = match fields.one_of(&["value", "present"])? {
        None => {
            return Err(fields.problem(
                "expected a value or a presence, but found neither; write \"value\": \"..\" or \
                 \"present\": true"
                    .to_owned(),
            ));
        }
        Some((want, 0)) => {
            let value = want.text("the header's value")?;
            (want, HeaderRule::value(name, value))
        }
        Some((want, _)) => {
            let present = want.flag()?;
            (want, HeaderRule::present(name, present))
        }
    };
    match rule {
        Ok(rule) => Ok((rule, name_node)),
        Err(HeaderFault::ValueMalformed) => {
            Err(want.fault("the header's value", "leave control characters and outer spaces out"))
        }
        Err(fault) => Err(name_node.problem(format!(
            "expected {EXPECTED}, but found {fault}; x-toll-* is removed before the match, and \
             for the host there is \"host\""
        ))),
    }
}
