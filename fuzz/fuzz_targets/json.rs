//! One field of a JSON body, and a whole JSON text: reading them never panics, and another parser
//! reads the same.
//!
//! The first byte names the field, the rest is the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tollway_core::json::{Found, find};
use tollway_core::json_tree::Tree;

const FIELDS: [&[&str]; 4] = [&["model"], &["max_tokens"], &["params", "name"], &["a", "a", "a"]];

fuzz_target!(|bytes: &[u8]| {
    let [field, body @ ..] = bytes else { return };
    let path = FIELDS[usize::from(*field) % FIELDS.len()];
    whole(body);
    let names: Vec<String> = path.iter().map(|name| (*name).into()).collect();
    let Ok(found) = find(body, &names) else { return };
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        // It gives up numbers that no double can hold, and halves of surrogate pairs, which the
        // grammar allows: who refuses them serves nothing.
        Err(fault) if fault.to_string().starts_with("number out of range") => return,
        Err(fault) if fault.to_string().contains("hex escape") => return,
        Err(fault) => panic!("another parser refuses it: {fault}"),
    };
    let same = path.iter().try_fold(&value, |value, name| value.get(name));
    match (found, same) {
        (None, None) | (Some(Found::Null), Some(Value::Null)) => {}
        (Some(Found::Bool(flag)), Some(Value::Bool(other))) => assert_eq!(flag, *other),
        (Some(Found::Text(text)), Some(Value::String(other))) => assert_eq!(&text, other),
        (Some(Found::Number(text)), Some(Value::Number(other))) => {
            // It rounds in a way of its own.
            let (ours, theirs) = (text.parse::<f64>().unwrap(), other.as_f64().unwrap());
            assert!((ours - theirs).abs() <= ours.abs() * 1e-9, "{ours} {theirs}");
        }
        (Some(Found::Compound), Some(Value::Array(_) | Value::Object(_))) => {}
        (found, same) => panic!("expected {same:?}, but found {found:?}"),
    }
});

/// What is taken as a tree is JSON for the other parser too, and the same but for its numbers.
fn whole(body: &[u8]) {
    let Ok(tree) = Tree::parse(body) else { return };
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => assert!(same(&tree, &value), "{tree:?} {value}"),
        Err(fault) => assert!(fault.to_string().starts_with("number out of range"), "{fault}"),
    }
}

fn same(tree: &Tree, value: &Value) -> bool {
    match (tree, value) {
        (Tree::Null, Value::Null) | (Tree::Number(_), Value::Number(_)) => true,
        (Tree::Bool(ours), Value::Bool(theirs)) => ours == theirs,
        (Tree::Text(ours), Value::String(theirs)) => ours == theirs,
        (Tree::List(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b))
        }
        // Of two members of one name both take the last.
        (Tree::Object(ours), Value::Object(theirs)) => {
            ours.iter().all(|(name, _)| theirs.contains_key(name))
                && theirs.iter().all(|(name, value)| {
                    tree.get(name).is_some_and(|ours| same(ours, value))
                })
        }
        _ => false,
    }
}
