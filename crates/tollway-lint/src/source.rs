//! Files: the configurations of the filter in them, wherever they lie.

use serde::Deserialize;
use serde_json::Value;

/// More than any configuration that Envoy takes from a file.
const TEXT_BYTES_MAX: usize = 64 << 20;
/// The `@type` of Envoy's Wasm filter ends so.
pub(crate) const WASM: &str = "extensions.filters.http.wasm.v3.Wasm";

/// A configuration of the filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Where it lies in the file; empty for a file that is nothing else.
    pub place: String,
    /// The configuration.
    pub filter: Value,
}

impl Found {
    /// The place of something inside it.
    pub(crate) fn at(&self, path: &str) -> String {
        match (self.place.as_str(), path) {
            ("", "") => "config".to_owned(),
            ("", path) => path.to_owned(),
            (place, "") => place.to_owned(),
            (place, path) => format!("{place}: {path}"),
        }
    }
}

/// Why nothing could be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// More than any configuration has.
    #[error("expected at most {TEXT_BYTES_MAX} bytes, but found more")]
    TooLong,
    /// Neither JSON nor YAML.
    #[error("expected JSON or YAML, but found a fault in it: {0}")]
    Malformed(String),
    /// Nothing of ours in it.
    #[error(
        "expected a configuration of the filter, but found none: neither one by itself, nor a \
         Wasm filter whose configuration has \"tollwayd\""
    )]
    Nothing,
    /// A Wasm filter's configuration text that names tollwayd and is no JSON.
    #[error("{0}: expected the filter's configuration as JSON, but found a fault in it: {1}")]
    NoJson(String, String),
}

/// Finds the configurations of the filter in this text.
///
/// # Errors
/// [`SourceError`] where there is none, or none that can be read.
pub fn read(text: &str) -> Result<Vec<Found>, SourceError> {
    find(&documents(text)?)
}

/// The documents of a file; JSON is one.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, SourceError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(SourceError::TooLong);
    }
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(vec![value]);
    }
    serde_norway::Deserializer::from_str(text)
        .map(|document| {
            Value::deserialize(document).map_err(|error| SourceError::Malformed(error.to_string()))
        })
        .collect()
}

pub(crate) fn find(documents: &[Value]) -> Result<Vec<Found>, SourceError> {
    let mut found = Vec::new();
    for document in documents {
        let whole = ["static_resources", "resources", "kind", "@type"]
            .iter()
            .any(|key| document.get(key).is_some());
        let ours = ["tollwayd", "routes", "services", "unmatched"]
            .iter()
            .any(|key| document.get(key).is_some());
        if ours && !whole {
            found.push(Found { place: String::new(), filter: document.clone() });
            continue;
        }
        let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default();
        walk(document, &mut String::new(), &mut |place, value| {
            let config = match kind {
                "WasmPlugin" => value.get("pluginConfig"),
                "EnvoyExtensionPolicy" => value.get("config").filter(|c| c.is_object()),
                _ => None,
            };
            if let Some(config) = config.filter(|config| config.get("tollwayd").is_some()) {
                let place = format!("{kind} {name} {place}");
                found.push(Found { place, filter: config.clone() });
            } else if let Some(config) = of_wasm_filter(value, place)? {
                found.push(Found { place: place.to_owned(), filter: config });
            }
            Ok(())
        })?;
    }
    if found.is_empty() { Err(SourceError::Nothing) } else { Ok(found) }
}

/// Visits every object, the outer ones first.
pub(crate) fn walk<E>(
    value: &Value,
    place: &mut String,
    visit: &mut impl FnMut(&str, &Value) -> Result<(), E>,
) -> Result<(), E> {
    let before = place.len();
    match value {
        Value::Object(fields) => {
            visit(place, value)?;
            for (name, field) in fields {
                if !place.is_empty() {
                    place.push('.');
                }
                place.push_str(name);
                walk(field, place, visit)?;
                place.truncate(before);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                place.push_str(&format!("[{at}]"));
                walk(item, place, visit)?;
                place.truncate(before);
            }
        }
        _ => {}
    }
    Ok(())
}

/// The configuration in the `typed_config` of an Envoy Wasm filter, if it is one of ours.
pub(crate) fn of_wasm_filter(typed: &Value, place: &str) -> Result<Option<Value>, SourceError> {
    if !typed.get("@type").and_then(Value::as_str).is_some_and(|kind| kind.ends_with(WASM)) {
        return Ok(None);
    }
    let Some(value) = typed.pointer("/config/configuration/value") else { return Ok(None) };
    let config = match value {
        Value::String(text) => match serde_json::from_str(text) {
            Ok(config) => config,
            Err(error) if text.contains("tollwayd") => {
                return Err(SourceError::NoJson(place.to_owned(), error.to_string()));
            }
            Err(_) => return Ok(None),
        },
        value => value.clone(),
    };
    Ok(Some(config).filter(|config: &Value| config.get("tollwayd").is_some()))
}
