//! Envoy's part of the stack: its configuration, its start, its admin door.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::error::StackError;
use super::parts::Parts;
use super::ports::Ports;
use super::process::{Guardian, Process, Program};

/// How Envoy learns its listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listeners {
    /// From its one configuration file, once.
    #[default]
    Static,
    /// From a file of their own, which [`super::Stack::reload_filter`] replaces while Envoy runs.
    Watched,
}

/// Everything that decides the configuration text.
#[derive(Clone, Debug)]
pub(super) struct EnvoySetup {
    pub(super) parts: Parts,
    pub(super) ports: Ports,
    pub(super) dir: PathBuf,
    pub(super) listeners: Listeners,
    pub(super) concurrency: u32,
    /// The port of a second `tollwayd`.
    pub(super) second_gate: Option<u16>,
    pub(super) gate_token: String,
    pub(super) filter: Option<Value>,
    pub(super) env: Vec<(String, String)>,
    /// Texts of the rendered configuration, each there once, and what stands there instead.
    pub(super) lines: Vec<(String, String)>,
}

impl EnvoySetup {
    /// Writes the configuration files and starts Envoy on them.
    pub(super) fn start(&self, guardian: &Guardian) -> Result<Process, StackError> {
        let config = self.dir.join("envoy.yaml");
        match self.listeners {
            Listeners::Static => self.write("static", &config)?,
            Listeners::Watched => {
                self.write_listeners()?;
                self.write("bootstrap", &config)?;
            }
        }
        let args = ["--disable-hot-restart", "--log-level", "info", "--concurrency"];
        let mut args: Vec<OsString> = args.map(OsString::from).into();
        args.push(self.concurrency.to_string().into());
        args.extend(["-c".into(), config.into_os_string()]);
        let program = Program {
            name: "envoy",
            path: &self.parts.envoy,
            args,
            env: vec![("TOLLWAY_GATE_TOKEN".to_owned(), self.gate_token.clone().into())],
            log_dir: &self.dir,
        };
        Process::start(program, guardian)
    }

    /// Lets Envoy judge the configuration without serving.
    pub(super) fn validate(&self) -> Result<(), StackError> {
        let step = "validate envoy/envoy.yaml";
        let config = self.dir.join("envoy.yaml");
        self.write("static", &config)?;
        let log = self.dir.join("validate.log");
        let output = Command::new(&self.parts.envoy)
            .args(["--mode", "validate", "-c"])
            .arg(&config)
            .env("TOLLWAY_GATE_TOKEN", &self.gate_token)
            .output()
            .map_err(|error| StackError::new(step, error))?;
        fs::write(&log, &output.stderr).map_err(|error| StackError::new(step, error))?;
        if output.status.success() {
            return Ok(());
        }
        Err(StackError::new(step, "Envoy refuses it").with_log(&log))
    }

    /// Replaces the watched listeners in one step; Envoy never sees half a file.
    pub(super) fn write_listeners(&self) -> Result<(), StackError> {
        let next = self.dir.join("listeners.next.yaml");
        self.write("lds", &next)?;
        fs::rename(&next, self.listeners_path())
            .map_err(|error| StackError::new("replace Envoy's listeners", error))
    }

    /// The file of Envoy that has the filter's configuration.
    pub(super) fn filter_file(&self) -> PathBuf {
        match self.listeners {
            Listeners::Static => self.dir.join("envoy.yaml"),
            Listeners::Watched => self.listeners_path(),
        }
    }

    fn listeners_path(&self) -> PathBuf {
        self.dir.join("listeners.yaml")
    }

    fn write(&self, mode: &str, to: &Path) -> Result<(), StackError> {
        let failed = |error: std::io::Error| StackError::new("render envoy/envoy.yaml", error);
        let source = fs::File::open(self.parts.root.join("envoy/envoy.yaml")).map_err(failed)?;
        let mut command = Command::new("sh");
        command
            .arg(self.parts.root.join("envoy/render.sh"))
            .args(["--mode", mode])
            .env("TOLLWAY_GATEWAY_HOST", "127.0.0.1")
            .env("TOLLWAY_GATEWAY_PORT", self.ports.gateway.to_string())
            .env("TOLLWAY_GATE_HOST", "127.0.0.1")
            .env("TOLLWAY_GATE_PORT", self.ports.gate.to_string())
            .env("TOLLWAY_ENVOY_ADMIN_PORT", self.ports.envoy_admin.to_string())
            .env("TOLLWAY_JOKE_HOST", "127.0.0.1")
            .env("TOLLWAY_JOKE_PORT", self.ports.joke.to_string())
            .env("TOLLWAY_WASM", &self.parts.wasm)
            .env("TOLLWAY_LDS_PATH", self.listeners_path())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(source)
            .stderr(Stdio::piped());
        if let Some(port) = self.second_gate {
            command.env("TOLLWAY_SECOND_GATE_PORT", port.to_string());
        }
        if let Some(filter) = &self.filter {
            command.env("TOLLWAY_FILTER_CONFIG", filter.to_string());
        }
        let rendered = command.output().map_err(failed)?;
        if !rendered.status.success() {
            let found = String::from_utf8_lossy(&rendered.stderr).into_owned();
            return Err(StackError::new("render envoy/envoy.yaml", found));
        }
        let mut text = rendered.stdout;
        for (from, into) in &self.lines {
            text = replaced(&text, from, into)?;
        }
        fs::File::create(to).and_then(|mut file| file.write_all(&text)).map_err(failed)
    }
}

/// The text with `into` where `from` stood; a text that is not there once is a mistake.
fn replaced(text: &[u8], from: &str, into: &str) -> Result<Vec<u8>, StackError> {
    let text = String::from_utf8_lossy(text);
    match text.matches(from).count() {
        1 => Ok(text.replace(from, into).into_bytes()),
        found => Err(StackError::new(
            "render envoy/envoy.yaml",
            format!("expected {from:?} once, but found it {found} times"),
        )),
    }
}

/// Reads `/stats`: counters and gauges by name. Histograms are left out.
pub(super) fn parse_stats(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| line.rsplit_once(": "))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn stats_are_counters_and_gauges() {
        let stats = parse_stats("a.b: 1\nwasmcustom.tollway_requests.decision=ok: 2\nh: P0(1,2)\n");
        assert_eq!(stats.len(), 2);
        assert_eq!(stats["wasmcustom.tollway_requests.decision=ok"], 2);
    }

    fn file(name: &str) -> String {
        fs::read_to_string(super::super::parts::root().unwrap().join("envoy").join(name)).unwrap()
    }

    /// The documents of a YAML file.
    fn documents(name: &str) -> Vec<Value> {
        serde_norway::Deserializer::from_str(&file(name))
            .map(|document| Value::deserialize(document).unwrap())
            .collect()
    }

    fn filter_json() -> Value {
        serde_json::from_str(&file("filter.json")).unwrap()
    }

    /// What an example says at `pointer` in the document of this kind, with the plain cluster name
    /// of `filter.json`.
    fn example(name: &str, kind: &str, pointer: &str) -> Value {
        let documents = documents(name);
        let document = documents.iter().find(|document| document["kind"] == kind).unwrap();
        let mut filter = document.pointer(pointer).unwrap().clone();
        filter["tollwayd"]["cluster"] = "tollwayd".into();
        filter["tollwayd"]["authority"] = "tollwayd".into();
        filter
    }

    #[test]
    fn every_example_holds_the_filter_configuration_of_filter_json() {
        let connection_manager =
            "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
        let filter = "/http_filters/0/typed_config/config/configuration/value";
        let envoy = documents("envoy.yaml").remove(0);
        let text = envoy.pointer(&format!("{connection_manager}{filter}")).unwrap();
        let in_envoy: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        assert_eq!(in_envoy, filter_json());

        let istio = example("istio.yaml", "WasmPlugin", "/spec/pluginConfig");
        assert_eq!(istio, filter_json());
        let gateway = example("envoy-gateway.yaml", "EnvoyExtensionPolicy", "/spec/wasm/0/config");
        assert_eq!(gateway, filter_json());
    }

    #[test]
    fn no_example_fails_open() {
        for (name, closed) in [
            ("envoy.yaml", "failure_policy: FAIL_RELOAD"),
            ("istio.yaml", "failStrategy: FAIL_RELOAD"),
            ("envoy-gateway.yaml", "failOpen: false"),
        ] {
            let text = file(name);
            assert!(text.contains(closed), "{name}: expected {closed}");
            for open in ["policy: FAIL_OPEN", "Strategy: FAIL_OPEN", "failOpen: true"] {
                assert!(!text.contains(open), "{name}: {open}");
            }
        }
    }
}
