//! Documents that tell machines what is sold and for how much, made from the price table that
//! runs: a manifest for `/.well-known/l402`, an OpenAPI description with the offers of
//! draft-payment-discovery, and a text for language models (`llms.txt`).

use std::rc::Rc;

use serde_json::{Map, Value};
use tollway_core::pricing::Price;
use tollway_gate::config::{ConfigError, Mode, Route, Unmatched};

use crate::reach::witness;
use crate::rehearsal::{config, route_of, routes};

/// The forms in which prices are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON for `/.well-known/l402`.
    Manifest,
    /// OpenAPI 3.1 with `x-payment-info`, for `/openapi.json`.
    OpenApi,
    /// Markdown for `/llms.txt`.
    Llms,
}

/// Describes what this configuration sells. A route that no request reaches is left out.
///
/// # Errors
/// The filter does not take the configuration.
pub fn describe(filter: &Value, title: &str, form: Form) -> Result<String, ConfigError> {
    let config = config(filter)?;
    let mut sold: Vec<Sold<'_>> = routes(filter)
        .filter_map(|(name, written)| {
            let route = route_of(&config, &witness(written)?)?;
            (route.name == name).then(|| Sold { rule: written.get("match"), route })
        })
        .collect();
    if let Unmatched::Route(route) = &config.unmatched {
        sold.push(Sold { rule: None, route: Rc::clone(route) });
    }
    Ok(match form {
        Form::Manifest => pretty(&manifest_of(title, &sold)),
        Form::OpenApi => pretty(&openapi_of(title, &sold)),
        Form::Llms => text_of(title, &sold),
    })
}

fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}

/// A route, and what matches it; without that it is the one for everything else.
struct Sold<'a> {
    rule: Option<&'a Value>,
    route: Rc<Route>,
}

impl<'a> Sold<'a> {
    fn said(&self, field: &str) -> Option<&'a Value> {
        self.rule.and_then(|rule| rule.get(field))
    }

    /// The path, and how it matches.
    fn path(&self) -> (&'a str, &'static str) {
        let named = |field| self.said(field).and_then(Value::as_str);
        match (named("path"), named("path_template"), named("path_prefix")) {
            (Some(path), _, _) => (path, "exact"),
            (_, Some(path), _) => (path, "template"),
            (_, _, path) => (path.unwrap_or("/"), "prefix"),
        }
    }

    fn methods(&self) -> impl Iterator<Item = &'a str> {
        let listed = self.said("methods").and_then(Value::as_array);
        let any = listed.is_none().then_some("GET");
        listed.into_iter().flatten().filter_map(Value::as_str).chain(any)
    }

    /// What a request costs, as the manifest has it.
    fn pricing(&self) -> Value {
        let model = |name: &str| ("model", Value::from(name));
        match &self.route.price {
            Price::Free => object([model("free")]),
            Price::Fixed(price) => {
                object([model("fixed"), ("price_msat", Value::from(price.get()))])
            }
            _ => object([model("dynamic")]),
        }
    }

    fn buys(&self) -> String {
        match self.route.mode {
            Mode::Credits => "credit".to_owned(),
            Mode::SingleUse => "request".to_owned(),
            Mode::Session { duration_s } => format!("{duration_s}s"),
        }
    }
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect())
}

fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> Value {
    Value::Array(items.into_iter().map(Value::from).collect())
}

/// What is there, or null, which [`object`] leaves out.
fn optional(value: Option<&Value>) -> Value {
    value.cloned().unwrap_or_default()
}

fn manifest_of(title: &str, sold: &[Sold<'_>]) -> Value {
    let mut services: Vec<(&str, Vec<Value>)> = Vec::new();
    for one in sold {
        let (path, kind) = one.path();
        let resource = object([
            ("route", one.route.name.as_str().into()),
            ("path", path.into()),
            ("path_match", kind.into()),
            ("methods", optional(one.said("methods"))),
            ("host", optional(one.said("host"))),
            ("headers", optional(one.said("headers"))),
            ("description", one.route.description.as_str().into()),
            ("buys", one.buys().into()),
            ("pricing", one.pricing()),
        ]);
        let service = one.route.service.name.as_str();
        match services.iter_mut().find(|(name, _)| *name == service) {
            Some((_, resources)) => resources.push(resource),
            None => services.push((service, vec![resource])),
        }
    }
    let services = services.into_iter().map(|(name, resources)| {
        object([("name", name.into()), ("resources", Value::Array(resources))])
    });
    object([
        ("version", "1.0".into()),
        ("provider", object([("name", title.into())])),
        ("currencies", list(["msat"])),
        ("payment_methods", list(["lightning"])),
        ("services", services.collect()),
    ])
}

fn openapi_of(title: &str, sold: &[Sold<'_>]) -> Value {
    let mut paths = Map::new();
    for one in sold {
        let (path, kind) = one.path();
        for method in one.methods() {
            let at = paths.entry(path).or_insert_with(|| object([]));
            let Value::Object(operations) = at else { continue };
            let operation = operations
                .entry(method.to_ascii_lowercase())
                .or_insert_with(|| operation(one, path, kind));
            let offers = operation.pointer_mut("/x-payment-info/offers");
            if let (Some(Value::Array(offers)), Some(offer)) = (offers, offer(one)) {
                offers.push(offer);
            }
        }
    }
    object([
        ("openapi", "3.1.0".into()),
        ("info", object([("title", title.into()), ("version", "1".into())])),
        ("paths", Value::Object(paths)),
    ])
}

fn operation(one: &Sold<'_>, path: &str, kind: &str) -> Value {
    let answer = |text: &str| object([("description", text.into())]);
    let parameters = path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        let schema = object([("type", "string".into())]);
        let (place, needed) = (Value::from("path"), Value::from(true));
        Some(object([
            ("name", name.into()),
            ("in", place),
            ("required", needed),
            ("schema", schema),
        ]))
    });
    object([
        ("summary", one.route.description.as_str().into()),
        ("parameters", parameters.collect()),
        ("x-path-prefix", if kind == "prefix" { true.into() } else { Value::Null }),
        ("x-payment-info", object([("offers", Value::Array(Vec::new()))])),
        ("responses", object([("200", answer("Success")), ("402", answer("Payment Required"))])),
    ])
}

/// What is asked for a request; nothing where it is free.
fn offer(one: &Sold<'_>) -> Option<Value> {
    let price = match &one.route.price {
        Price::Free => return None,
        Price::Fixed(price) => Some(*price),
        _ => None,
    };
    let sats = price.map(|price| Value::from(price.to_sats_rounded_up().to_string()));
    Some(object([
        ("intent", "charge".into()),
        ("method", "lightning".into()),
        ("amount", sats.unwrap_or_default()),
        ("currency", "sat".into()),
        ("price_msat", price.map(|price| Value::from(price.get())).unwrap_or_default()),
        ("route", one.route.name.as_str().into()),
        ("host", optional(one.said("host"))),
        ("headers", optional(one.said("headers"))),
    ]))
}

fn text_of(title: &str, sold: &[Sold<'_>]) -> String {
    let mut text = format!(
        "# {title}\n\n> Paid over Lightning (L402): an unpaid request is answered 402 with an \
         invoice; pay it and repeat the request with Authorization: L402 <macaroon>:<preimage>.\n\n"
    );
    for one in sold {
        let (path, kind) = one.path();
        let below = if kind == "prefix" { " and below" } else { "" };
        let methods: Vec<&str> = one.methods().collect();
        let price = match &one.route.price {
            Price::Free => "free".to_owned(),
            Price::Fixed(price) => price.to_string(),
            _ => "a price that depends on the request".to_owned(),
        };
        let what = &one.route.description;
        text.push_str(&format!("- {} {path}{below}: {price} ({what})\n", methods.join(", ")));
    }
    text
}
