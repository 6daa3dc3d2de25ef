use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

const PATHS: &[Path] = &[
    &[],
    &["model"],
    &["usage", "total"],
    &["list", ELEMENT],
    &["list", ELEMENT, "name"],
    &["[]"],
    &["a", "b", "c", "d", "e"],
];

/// What is found, as `path@at:what`, fed in pieces of this size.
fn found(json: &str, piece: usize) -> (Vec<String>, bool) {
    let (mut scanner, mut hits) = (Scanner::new(PATHS), Vec::new());
    for piece in json.as_bytes().chunks(piece) {
        scanner.feed(piece, &mut |hit| {
            let what = match hit.found {
                Found::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                other => format!("{other:?}"),
            };
            let path = PATHS[hit.path].join(".");
            hits.push(format!("{path}@{}:{what}", hit.at));
        });
    }
    (hits, scanner.is_whole())
}

#[test]
fn values_are_found_at_their_paths_and_nowhere_else() {
    for (json, expected) in [
        (r#"{"model":"x"}"#, vec!["@0:Open", "model@9:x", "@12:Close"]),
        (r#"{"a":{"model":"x"}}"#, vec!["@0:Open", "@18:Close"]),
        (r#"{"a":"\"model\":1","model":null}"#, vec!["@0:Open", "model@27:Null", "@31:Close"]),
        (r#"{"usage":{"total":07}}"#, vec!["@0:Open", "usage.total@18:Integer(0)"]),
        (
            r#"{"usage":{"total":7,"x":{"total":8}},"total":9}"#,
            vec!["@0:Open", "usage.total@18:Integer(7)", "@46:Close"],
        ),
        (
            r#"{"list":["a",{"name":true},[1]],"[]":1}"#,
            vec![
                "@0:Open",
                "list.[]@9:a",
                "list.[]@13:Open",
                "list.[].name@21:Flag(true)",
                "list.[]@25:Close",
                "list.[]@27:Open",
                "list.[]@29:Close",
                "@38:Close",
            ],
        ),
        (r#"[-1,2e3]"#, vec!["@0:Open", "[]@1:Number", "[]@4:Number", "@7:Close"]),
        (
            r#"{"a":{"b":{"c":{"d":{"e":1,"x":{"y":{"z":[2]}}}}}}}"#,
            vec!["@0:Open", "a.b.c.d.e@25:Integer(1)", "@50:Close"],
        ),
        (
            r#"{"model":"a","MODEL":"b","mod\u0065l":"\u00e9\n"}"#,
            vec!["@0:Open", "model@9:a", "model@21:b", "model@38:\u{e9}\n", "@48:Close"],
        ),
        (r#"{"model":"\ud83d\ude00"}"#, vec!["@0:Open", "model@9:LongText", "@23:Close"]),
    ] {
        for piece in 1..=json.len() {
            assert_eq!(found(json, piece).0, expected, "{json} in pieces of {piece}");
        }
    }
}

#[test]
fn long_texts_deep_documents_and_large_numbers_have_bounds() {
    let at = |length: usize| format!(r#"{{"model":"{}"}}"#, "x".repeat(length));
    assert!(found(&at(TEXT_BYTES_MAX), 7).0[1].ends_with('x'));
    assert!(found(&at(TEXT_BYTES_MAX + 1), 7).0[1].ends_with("LongText"));
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let max = usize::try_from(DEPTH_MAX).unwrap();
    assert!(found(&nested(max), 5).1);
    assert!(!found(&nested(max + 1), 5).1);
    for (number, expected) in [
        ("0", "Integer(0)"),
        ("999999999999999", "Integer(999999999999999)"),
        ("1000000000000000", "Number"),
        ("1e99999999999999999999", "Number"),
        ("-0", "Number"),
        ("1.0", "Number"),
    ] {
        let json = format!(r#"{{"usage":{{"total":{number}}}}}"#);
        let hit = format!("usage.total@18:{expected}");
        assert_eq!(found(&json, 3).0.get(1), Some(&hit), "{number}");
    }
}

#[test]
fn a_document_begins_anew_after_a_reset() {
    let mut scanner = Scanner::new(PATHS);
    let mut count = 0;
    for json in ["{\"model\":", "[}", "{\"model\":1}", "{\"model\":2} x"] {
        scanner.reset();
        scanner.feed(json.as_bytes(), &mut |hit| count += usize::from(hit.path == 1));
    }
    assert_eq!((count, scanner.is_broken()), (2, true));
}

/// JSON, and what is almost JSON.
fn text() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        "[\\[\\]{},: \t\n]",
        Just("\"a\":".to_string()),
        Just("\"a\"".to_string()),
        "\"[ -~]{0,3}\"",
        "-?[0-9]{1,2}([.][0-9]{0,2})?([eE][+-]?[0-9]{0,2})?",
        "true|false|null|nul|\\\\u00e|\"\\\\u00e9\"|\"\\\\[a-z/]\"|\u{1}|\"\u{1}\"",
    ];
    let tokens = proptest::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat());
    let leaf = prop_oneof![
        Just("1".to_string()),
        Just("-0.5e+7".to_string()),
        Just("\"x\"".to_string()),
        Just("null".to_string()),
        tokens.clone(),
    ];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec(inner, 0..4).prop_map(|items| {
                let fields: Vec<_> = items.iter().map(|item| format!("\"k\" :{item}")).collect();
                format!("{{{} }}", fields.join(", "))
            }),
        ]
    });
    prop_oneof![tokens, value]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// The judgement of another parser, on everything but a scalar at the root.
    #[test]
    fn what_is_whole_is_json(text in text(), piece in 1_usize..9) {
        let is_container = text.trim_start().starts_with(['{', '[']);
        let text = if is_container { text } else { format!("[{text}]") };
        let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
        prop_assert_eq!(found(&text, piece).1, is_json, "{}", text);
    }
}
