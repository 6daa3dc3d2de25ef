//! The files that are shipped: every configuration is valid, the filter is small.

use std::fs;

use tollway_testkit::stack::{Parts, validate};

use crate::harness::config;

#[test]
fn envoy_accepts_the_shipped_configuration() {
    validate(None).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn envoy_refuses_a_typo_with_the_field_s_path() {
    let mut typo = config();
    typo["routes"][0]["prise_sats"] = serde_json::json!(5);
    let error = validate(Some(typo)).unwrap_err().to_string();
    assert!(error.contains("routes[0].prise_sats"), "{error}");
}

#[test]
fn the_filter_is_under_600_kilobytes() {
    let bytes = fs::metadata(Parts::locate().unwrap().filter).unwrap().len();
    println!("the filter has {bytes} bytes");
    assert!(bytes < 600_000, "{bytes} bytes");
}
