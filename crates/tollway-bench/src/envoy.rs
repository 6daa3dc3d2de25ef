//! Envoys that differ in one filter.
//!
//! Where CPU is measured, every Envoy answers by itself (`direct_response`), so that the filter is
//! as large a part of the request as it can be, and writes no access log.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tollway_testkit::stack::{Process, free_port};

use crate::Result;
use crate::ledger::GATE_TOKEN;
use crate::token;
use crate::workshop::{Job, Workshop};

/// The cluster of who answers.
const UPSTREAM: &str = "upstream";
const TYPES: &str = "type.googleapis.com/envoy";
const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http";
const MANAGER: &str = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// What stands before the answer.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// The directory of its configuration and logs.
    pub(crate) place: &'a str,
    pub(crate) filter: Option<Value>,
    /// The service that the filter calls, and its port.
    pub(crate) calls: Vec<(&'static str, u16)>,
    /// Who answers, by its port; without one Envoy does.
    pub(crate) upstream: Option<u16>,
    pub(crate) workers: u32,
    pub(crate) cores: &'static str,
}

/// A running Envoy.
#[derive(Debug)]
pub(crate) struct Envoy {
    pub(crate) process: Process,
    pub(crate) port: u16,
    /// Without a path.
    pub(crate) url: String,
}

impl Envoy {
    /// Starts one; who needs it waits until it is ready.
    pub(crate) fn start(workshop: &Workshop, plan: Plan<'_>) -> Result<Self> {
        let (port, admin) = (free_port()?, free_port()?);
        let dir = workshop.place(plan.place);
        fs::create_dir_all(&dir)?;
        let file = dir.join("envoy.json");
        fs::write(&file, config(&plan, port, admin).to_string())?;
        let flags = ["--disable-hot-restart", "--log-level", "warn", "--concurrency"];
        let mut args: Vec<_> = flags.map(Into::into).into();
        args.extend([plan.workers.to_string().into(), "-c".into(), file.into()]);
        let process = workshop.start(Job {
            name: "envoy",
            place: plan.place,
            cores: plan.cores,
            path: &workshop.parts.envoy,
            args,
            env: vec![("TOLLWAY_GATE_TOKEN".to_owned(), GATE_TOKEN.into())],
        })?;
        Ok(Self { process, port, url: format!("http://127.0.0.1:{port}") })
    }
}

fn config(plan: &Plan<'_>, port: u16, admin: u16) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": format!("{HTTP}.router.v3.Router")},
    });
    let filters: Vec<_> = plan.filter.iter().cloned().chain([router]).collect();
    let mut route = json!({"match": {"prefix": "/"}});
    if plan.upstream.is_some() {
        route["route"] = json!({"cluster": UPSTREAM, "timeout": "60s"});
    } else {
        let text = json!({"inline_string": "ok\n"});
        route["direct_response"] = json!({"status": 200, "body": text});
    }
    let calls = plan.calls.iter().map(|(name, port)| cluster(name, *port, true));
    let upstream = plan.upstream.map(|port| cluster(UPSTREAM, port, false));
    let manager = json!({
        "@type": format!("{TYPES}.{MANAGER}"),
        "stat_prefix": "bench",
        // As in envoy/envoy.yaml, for every case alike.
        "normalize_path": true,
        "merge_slashes": true,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "use_remote_address": true,
        "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "api", "domains": ["*"], "routes": [route]}]},
    });
    let name = "envoy.filters.network.http_connection_manager";
    let chain = json!({"filters": [{"name": name, "typed_config": manager}]});
    json!({
        "admin": {"address": address(admin)},
        "static_resources": {
            "listeners": [{"name": "bench", "address": address(port), "filter_chains": [chain]}],
            "clusters": calls.chain(upstream).collect::<Vec<_>>(),
        },
    })
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

/// HTTP/2 for every companion: ours gets no better transport than ext_authz.
fn cluster(name: &str, port: u16, http2: bool) -> Value {
    let options = "extensions.upstreams.http.v3.HttpProtocolOptions";
    let protocol = if http2 { "http2_protocol_options" } else { "http_protocol_options" };
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": format!("{TYPES}.{options}"),
                "explicit_http_config": {protocol: {}},
            },
        },
        "circuit_breakers": {"thresholds": [
            {"max_connections": 1024, "max_pending_requests": 16384, "max_requests": 16384},
        ]},
        "load_assignment": {"cluster_name": name, "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(port)}}]},
        ]},
    })
}

/// A filter in wasm, set up as `envoy/envoy.yaml` sets up ours.
pub(crate) fn wasm(file: &Path, configuration: Option<&Value>) -> Value {
    let mut config = json!({
        "name": "bench",
        "root_id": "bench",
        "failure_policy": "FAIL_RELOAD",
        "vm_config": {
            "vm_id": "bench",
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": file}},
            "environment_variables": {"host_env_keys": ["TOLLWAY_GATE_TOKEN"]},
        },
    });
    if let Some(value) = configuration {
        config["configuration"] = json!({
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": value.to_string(),
        });
    }
    let typed = json!({"@type": format!("{HTTP}.wasm.v3.Wasm"), "config": config});
    json!({"name": "tollway", "typed_config": typed})
}

/// The same, for prices that depend on bodies.
pub(crate) fn wasm_that_reads_bodies(file: &Path, configuration: &Value) -> Value {
    let mut filter = wasm(file, Some(configuration));
    filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] = json!(true);
    filter
}

/// Envoy's own JWT filter with a key set of its own and without its cache of verified tokens.
pub(crate) fn jwt_authn() -> Value {
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": format!("{HTTP}.jwt_authn.v3.JwtAuthentication"),
            "providers": {"bench": {
                "issuer": token::ISSUER,
                "local_jwks": {"inline_string": token::jwks()},
            }},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
        },
    })
}

/// Envoy's own filter that asks a service about every request.
pub(crate) fn ext_authz() -> Value {
    json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": format!("{HTTP}.ext_authz.v3.ExtAuthz"),
            "transport_api_version": "V3",
            "http_service": {
                "server_uri": {"uri": "http://authz", "cluster": "authz", "timeout": "5s"},
            },
        },
    })
}
