//! Istio and Envoy Gateway: what their documents say about the filter.

use std::convert::Infallible;

use serde_json::Value;

use crate::finding::Finding;
use crate::source::walk;

pub(crate) fn judge(documents: &[Value]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut extended = false;
    let mut normalised = false;
    for document in documents {
        let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "WasmPlugin" => findings.extend(plugin(document)),
            "EnvoyExtensionPolicy" => {
                let before = findings.len();
                extended |= policies(document, &mut findings) || findings.len() > before;
            }
            "ClientTrafficPolicy" => {
                normalised = true;
                findings.extend(client_traffic(document));
            }
            _ => {}
        }
    }
    if extended && !normalised {
        findings.push(Finding::warning(
            "EnvoyExtensionPolicy",
            "no ClientTrafficPolicy stands beside it; escaped slashes then take Envoy Gateway's \
             default, and a client's own headers may name its address: see \
             envoy/envoy-gateway.yaml",
        ));
    }
    findings
}

fn place(document: &Value, kind: &str, field: &str) -> String {
    let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    format!("{kind} {name} {field}")
}

fn plugin(document: &Value) -> Option<Finding> {
    document.pointer("/spec/pluginConfig/tollwayd")?;
    let strategy = document.pointer("/spec/failStrategy").and_then(Value::as_str);
    let at = place(document, "WasmPlugin", "spec.failStrategy");
    match strategy {
        Some("FAIL_OPEN") => Some(Finding::error(
            at,
            "FAIL_OPEN serves priced routes for free when the filter fails; write FAIL_RELOAD",
        )),
        Some("FAIL_RELOAD") => None,
        _ => Some(Finding::warning(
            at,
            "a crashed filter answers 503 until the proxy restarts; write FAIL_RELOAD",
        )),
    }
}

/// Whether one of the policy's filters is ours.
fn policies(document: &Value, findings: &mut Vec<Finding>) -> bool {
    let mut ours = false;
    let Ok(()) = walk::<Infallible>(document, &mut String::new(), &mut |at, value| {
        if value.get("config").and_then(|config| config.get("tollwayd")).is_some() {
            ours = true;
            if value.get("failOpen").and_then(Value::as_bool) == Some(true) {
                findings.push(Finding::error(
                    place(document, "EnvoyExtensionPolicy", &format!("{at}.failOpen")),
                    "true serves priced routes for free when the filter fails; write false",
                ));
            }
        }
        Ok(())
    });
    ours
}

fn client_traffic(document: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let path = document.pointer("/spec/path");
    let escaped = path.and_then(|path| path.get("escapedSlashesAction")).and_then(Value::as_str);
    if escaped == Some("KeepUnchanged") {
        findings.push(Finding::warning(
            place(document, "ClientTrafficPolicy", "spec.path.escapedSlashesAction"),
            "paths with %2F reach the filter, which refuses them with 400; write RejectRequest or \
             UnescapeAndRedirect",
        ));
    }
    if path.and_then(|path| path.get("disableMergeSlashes")).and_then(Value::as_bool) == Some(true)
    {
        findings.push(Finding::warning(
            place(document, "ClientTrafficPolicy", "spec.path.disableMergeSlashes"),
            "paths with // reach the filter, which refuses them with 400; write false",
        ));
    }
    findings
}
