//! The stores, and the configuration that opens them.

use std::path::{Path, PathBuf};

use tollway_testkit::postgres::Postgres;
use tollwayd::config::{Config, RawConfig};

pub(crate) const GATE_TOKEN: &str = "gate-token-of-the-benchmark";
pub(crate) const ADMIN_TOKEN: &str = "admin-token-of-the-benchmark";
/// Any free port.
const ANY_PORT: &str = "127.0.0.1:0";

/// A store that outlives who opens it.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    postgres: Option<Postgres>,
}

impl Store {
    /// A file in a new directory.
    pub(crate) fn create(path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        Self { path: path.join("tollway.db"), postgres: None }
    }

    /// A PostgreSQL of its own, if this machine has one.
    pub(crate) fn postgres() -> Option<Self> {
        match Postgres::start() {
            Ok(server) => Some(Self { path: PathBuf::new(), postgres: Some(server) }),
            Err(error) => {
                println!("postgres: skipped: {error}");
                None
            }
        }
    }

    /// The database file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The environment of a server on this store.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        let store = match &self.postgres {
            Some(server) => ("TOLLWAY_POSTGRES_URL", server.url().to_owned()),
            None => ("TOLLWAYD_STORE", self.path.display().to_string()),
        };
        vec![
            ("TOLLWAY_GATE_TOKEN", GATE_TOKEN.to_owned()),
            ("TOLLWAY_ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
            ("TOLLWAYD_LISTEN", ANY_PORT.to_owned()),
            ("TOLLWAYD_ADMIN_LISTEN", ANY_PORT.to_owned()),
            store,
        ]
    }

    pub(crate) fn config(&self) -> Config {
        let env = self.env();
        let find = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, v)| v.clone());
        let mut text = settings();
        if self.postgres.is_some() {
            text = text
                .replace("sqlite = \"tollwayd.db\"", "")
                .replace("# postgres = \"env:", "postgres = \"env:");
        }
        RawConfig::parse(&text).unwrap().resolve(&find).unwrap()
    }
}

/// The shipped configuration, without a bound on new invoices.
pub(crate) fn settings() -> String {
    let text = include_str!("../../../../envoy/tollwayd.toml");
    text.replace("all_per_second = 500", "all_per_second = 1000000")
}
