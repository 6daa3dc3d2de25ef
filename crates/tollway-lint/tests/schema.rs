//! The published JSON Schema and the filter's own reader, held to each other: every field that the
//! reader knows is in the schema, every range and choice is the same, and what the one refuses in
//! a single field the other refuses too.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use jsonschema::Validator;
use serde_json::{Value, json};
use tollway_gate::config::{Config, ConfigError};

/// A name that is near to no field's.
const UNKNOWN: &str = "@@@@@@@@@@@@";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn file(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(&file("envoy/tollway.schema.json")).unwrap()
}

fn reader(config: &Value) -> Result<Config, ConfigError> {
    Config::parse(config.to_string().as_bytes(), &|_| Some("0123456789abcdef".into()))
}

/// Every whole configuration in the tree: the schema's own, the proxies' examples, the documents'.
fn examples(schema: &Value) -> Vec<(String, Value)> {
    let own = schema["examples"].as_array().unwrap().iter().enumerate();
    let mut all: Vec<(String, Value)> =
        own.map(|(at, config)| (format!("examples[{at}]"), config.clone())).collect();
    for name in ["filter.json", "envoy.yaml", "istio.yaml", "envoy-gateway.yaml"] {
        let text = file(&format!("envoy/{name}"));
        let found = tollway_lint::read(&text).unwrap();
        all.extend(found.into_iter().map(|found| (name.to_owned(), found.filter)));
    }
    let documents = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let documents = documents.chain([root().join("README.md")]);
    for path in documents.filter(|path| path.extension().is_some_and(|ending| ending == "md")) {
        let text = fs::read_to_string(&path).unwrap();
        for fence in text.split("```json\n").skip(1) {
            let json = fence.split("```").next().unwrap();
            let value: Value = serde_json::from_str(json).unwrap_or_default();
            // A part of a configuration, with what it needs.
            let mut config = json!({
                "tollwayd": {"cluster": "tollwayd", "gate_token": "env:TOLLWAY_GATE_TOKEN"},
                "services": [{"name": "demo"}],
                "unmatched": "deny"
            });
            if value.get("routes").is_some() {
                let fields = value.as_object().unwrap().clone();
                config.as_object_mut().unwrap().extend(fields);
                all.push((path.display().to_string(), config));
            }
        }
    }
    all
}

/// A place in the schema: its pointer and what stands there.
type Place<'s> = (String, &'s Value);

/// What holds for a value: the schema here, what it refers to, and the branches for such a value.
fn applicable<'s>(root: &'s Value, place: &Place<'s>, value: &Value) -> Vec<Place<'s>> {
    let (pointer, schema) = place;
    let mut all = vec![place.clone()];
    if let Some(target) = schema.get("$ref") {
        let target = target.as_str().unwrap().trim_start_matches('#').to_owned();
        let found = root.pointer(&target).unwrap();
        all.extend(applicable(root, &(target, found), value));
    }
    for key in ["allOf", "oneOf", "anyOf"] {
        let branches = schema.get(key).and_then(Value::as_array).into_iter().flatten();
        for (at, branch) in branches.enumerate() {
            let branch = (format!("{pointer}/{key}/{at}"), branch);
            if key == "allOf" || takes(root, &branch, value) {
                all.extend(applicable(root, &branch, value));
            }
        }
    }
    all
}

/// Whether a branch is for this value.
fn takes(root: &Value, branch: &Place<'_>, value: &Value) -> bool {
    let mut schema = branch.1.clone();
    schema["$defs"] = root["$defs"].clone();
    jsonschema::is_valid(&schema, value)
}

fn fields<'s>(places: &[Place<'s>]) -> BTreeMap<&'s str, Place<'s>> {
    let mut all = BTreeMap::new();
    for (pointer, schema) in places {
        for (name, property) in
            schema.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            all.insert(name.as_str(), (format!("{pointer}/properties/{name}"), property));
        }
    }
    all
}

/// The comparison, one configuration after the other.
struct Comparison<'s> {
    schema: &'s Value,
    validator: Validator,
    seen: BTreeSet<String>,
    /// Choices that the schema lists, and whether the reader took them anywhere.
    choices: BTreeMap<(String, String), bool>,
    faults: Vec<String>,
}

/// A value inside a configuration: where, for the reader and for JSON.
#[derive(Clone)]
struct Here {
    path: String,
    pointer: String,
}

impl Here {
    fn field(&self, name: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self {
            path: format!("{}{dot}{name}", self.path),
            pointer: format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1")),
        }
    }

    fn item(&self, at: usize) -> Self {
        Self { path: format!("{}[{at}]", self.path), pointer: format!("{}/{at}", self.pointer) }
    }
}

impl<'s> Comparison<'s> {
    fn visit(&mut self, config: &Value, here: &Here, place: &Place<'s>) {
        let value = config.pointer(&here.pointer).unwrap();
        let places = applicable(self.schema, place, value);
        self.seen.extend(places.iter().map(|(pointer, _)| pointer.clone()));
        match value {
            Value::Object(object) => {
                let known = fields(&places);
                let entries = places.iter().find_map(|(pointer, schema)| {
                    let entry = schema.get("additionalProperties").filter(|s| s.is_object())?;
                    Some((format!("{pointer}/additionalProperties"), entry))
                });
                if entries.is_none() {
                    self.same_fields(config, here, &known);
                }
                for name in object.keys() {
                    let Some(property) = known.get(name.as_str()).or(entries.as_ref()) else {
                        self.faults.push(format!("{}: {name} is not in the schema", here.path));
                        continue;
                    };
                    self.visit(config, &here.field(name), property);
                }
                // Of what stands under anyOf, another may be there.
                for (_, schema) in places.iter().filter(|(at, _)| !at.contains("/anyOf/")) {
                    let required = schema.get("required").and_then(Value::as_array);
                    for name in required.into_iter().flatten() {
                        let mut without = config.clone();
                        let object = without.pointer_mut(&here.pointer).unwrap();
                        object.as_object_mut().unwrap().remove(name.as_str().unwrap());
                        self.both_refuse(&without, &format!("{} without {name}", here.path));
                    }
                }
            }
            Value::Array(items) => {
                let schemas = places.iter().filter_map(|(pointer, schema)| {
                    Some((format!("{pointer}/items"), schema.get("items")?))
                });
                let schemas: Vec<Place<'s>> = schemas.collect();
                for at in 0..items.len() {
                    self.visit(config, &here.item(at), &schemas[0]);
                }
            }
            _ => {}
        }
        for schema in places.iter().map(|(_, schema)| *schema) {
            self.ranges(config, here, schema);
        }
        for (pointer, schema) in &places {
            self.choice(config, here, pointer, schema);
        }
        // No field takes values of all these types.
        let odd = [
            json!(null),
            json!(true),
            json!("@"),
            json!(1.5),
            json!(-1),
            json!([[]]),
            json!({"@": 1}),
        ];
        for odd in odd {
            self.agree(&with(config, here, odd.clone()), &format!("{} = {odd}", here.path));
        }
    }

    /// The reader names the fields it knows when it finds one that it does not.
    fn same_fields(&mut self, config: &Value, here: &Here, known: &BTreeMap<&str, Place<'s>>) {
        let mut odd = config.clone();
        odd.pointer_mut(&here.pointer).unwrap()[UNKNOWN] = json!(1);
        let error = reader(&odd).expect_err("an unknown field").to_string();
        let Some((_, names)) = error.split_once("unknown field; known here: ") else {
            self.faults.push(format!("{}: expected an unknown field: {error}", here.path));
            return;
        };
        let read: BTreeSet<&str> = names.split(", ").collect();
        let described: BTreeSet<&str> = known.keys().copied().collect();
        if !read.is_subset(&described) {
            self.faults.push(format!(
                "{}: the reader knows {read:?}, envoy/tollway.schema.json {described:?}",
                here.path
            ));
        }
        if self.validator.is_valid(&odd) {
            self.faults.push(format!("{}: the schema takes unknown fields", here.path));
        }
    }

    fn ranges(&mut self, config: &Value, here: &Here, schema: &Value) {
        let bound = |name| schema.get(name).and_then(Value::as_u64);
        let (Some(min), Some(max)) = (bound("minimum"), bound("maximum")) else { return };
        for outside in [i128::from(min) - 1, i128::from(max) + 1] {
            let outside = json!(i64::try_from(outside).unwrap());
            let what = format!("{} = {outside}", here.path);
            self.both_refuse(&with(config, here, outside), &what);
        }
        for inside in [min, max] {
            // Fields that must fit together may refuse it, but not as out of range.
            if let Err(error) = reader(&with(config, here, json!(inside)))
                && error.path() == here.path
                && error.to_string().contains("expected an integer from")
            {
                self.faults.push(format!("the schema allows {inside}: {error}"));
            }
        }
    }

    fn choice(&mut self, config: &Value, here: &Here, pointer: &str, schema: &Value) {
        for choice in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
            let taken = reader(&with(config, here, choice.clone())).is_ok();
            let key = (pointer.to_owned(), choice.to_string());
            *self.choices.entry(key).or_default() |= taken;
        }
    }

    fn both_refuse(&mut self, config: &Value, what: &str) {
        if reader(config).is_ok() {
            self.faults.push(format!("the reader takes {what}"));
        }
        if self.validator.is_valid(config) {
            self.faults.push(format!("the schema takes {what}"));
        }
    }

    /// What the reader takes, the schema must take; and where the type is wrong, neither does.
    fn agree(&mut self, config: &Value, what: &str) {
        match (reader(config), self.validator.is_valid(config)) {
            (Ok(_), false) => self.faults.push(format!("only the reader takes {what}")),
            (Err(error), true) => {
                self.faults.push(format!("only the schema takes {what}: {error}"))
            }
            _ => {}
        }
    }
}

fn with(config: &Value, here: &Here, value: Value) -> Value {
    let mut changed = config.clone();
    *changed.pointer_mut(&here.pointer).unwrap() = value;
    changed
}

/// The pointers of all fields that the schema describes.
fn described(schema: &Value, pointer: &str, all: &mut BTreeSet<String>) {
    let Value::Object(object) = schema else {
        if let Value::Array(items) = schema {
            for (at, item) in items.iter().enumerate() {
                described(item, &format!("{pointer}/{at}"), all);
            }
        }
        return;
    };
    for (name, value) in object {
        let pointer = format!("{pointer}/{name}");
        match name.as_str() {
            "examples" | "default" | "enum" | "const" => continue,
            "properties" => {
                all.extend(
                    value.as_object().unwrap().keys().map(|field| format!("{pointer}/{field}")),
                );
            }
            _ => {}
        }
        described(value, &pointer, all);
    }
}

#[test]
fn the_schema_and_the_reader_are_one() {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut comparison = Comparison {
        schema: &schema,
        validator,
        seen: BTreeSet::new(),
        choices: BTreeMap::new(),
        faults: Vec::new(),
    };
    let examples = examples(&schema);
    assert!(examples.len() > schema["examples"].as_array().unwrap().len() + 4);
    for (name, config) in &examples {
        if let Err(error) = reader(config) {
            comparison.faults.push(format!("{name}: {error}"));
        } else if let Err(error) = comparison.validator.validate(config) {
            comparison.faults.push(format!("{name}: {error} at {}", error.instance_path()));
        } else {
            let start = Here { path: String::new(), pointer: String::new() };
            comparison.visit(config, &start, &(String::new(), &schema));
        }
    }
    let mut fields = BTreeSet::new();
    described(&schema, "", &mut fields);
    for field in fields.difference(&comparison.seen) {
        comparison.faults.push(format!("no example shows {field}: add it to the examples"));
    }
    for ((pointer, choice), taken) in &comparison.choices {
        if !taken {
            comparison.faults.push(format!("{pointer}: the reader takes {choice} in no example"));
        }
    }
    let mut faults = comparison.faults;
    faults.sort();
    faults.dedup();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
