//! `tollwayd` without its listeners: the real doors on a real store that outlives it.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tollwayd::clock::ManualClock;
use tollwayd::config::{Config, RawConfig};
use tollwayd::{App, Service};
use tower::ServiceExt;

pub(crate) const GATE_TOKEN: &str = "gate-token-of-the-simulation";
const ADMIN_TOKEN: &str = "admin-token-of-the-simulation";
/// A reply is never longer: the largest is an account with its entries.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Which listener a request would have gone to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Gate,
    Admin,
}

/// What keeps the ledger.
#[derive(Clone, Debug)]
pub(crate) enum Keeper {
    Sqlite,
    /// The URL of an empty schema.
    Postgres(String),
}

/// The companion; it can be down.
pub(crate) struct Companion {
    keeper: Keeper,
    directory: TempDir,
    clock: Arc<ManualClock>,
    runtime: Runtime,
    service: Option<Service>,
}

impl Companion {
    pub(crate) fn start(keeper: Keeper, clock: Arc<ManualClock>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = directory();
        let mut companion = Self { keeper, directory, clock, runtime, service: None };
        companion.restart();
        companion
    }

    pub(crate) fn is_up(&self) -> bool {
        self.service.is_some()
    }

    /// It dies. What it had committed stays; nothing is under way, since every call that was
    /// delivered was also finished.
    pub(crate) fn crash(&mut self) {
        if let Some(service) = self.service.take() {
            service.close().unwrap();
        }
    }

    pub(crate) fn restart(&mut self) {
        if self.service.is_none() {
            let clock = Arc::clone(&self.clock);
            let opened = self.runtime.block_on(App::open(&self.config(), clock));
            self.service = Some(opened.unwrap());
        }
    }

    /// The files of the store; to be touched only while the companion is down.
    pub(crate) fn store(&self) -> PathBuf {
        self.directory.path().join("tollway.db")
    }

    /// Carries a request to a door that is open.
    pub(crate) fn call(
        &self,
        door: Door,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
    ) -> (u16, Value) {
        self.call_preferring("", door, method, path, body)
    }

    /// The same with this `Prefer` header, if it is any.
    pub(crate) fn call_preferring(
        &self,
        prefer: &str,
        door: Door,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
    ) -> (u16, Value) {
        let service = self.service.as_ref().expect("the companion is up");
        let (router, token) = match door {
            Door::Gate => (&service.gate, GATE_TOKEN),
            Door::Admin => (&service.admin, ADMIN_TOKEN),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if !prefer.is_empty() {
            request = request.header("prefer", prefer);
        }
        let request = request.body(Body::from(body.unwrap_or_default().to_vec())).unwrap();
        self.runtime.block_on(async {
            let response = router.clone().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let bytes = axum::body::to_bytes(response.into_body(), BODY_BYTES_MAX).await.unwrap();
            (status, serde_json::from_slice(&bytes).unwrap_or_default())
        })
    }

    fn config(&self) -> Config {
        let store = self.store();
        let env = |name: &str| match name {
            "TOLLWAY_GATE_TOKEN" => Some(GATE_TOKEN.to_owned()),
            "TOLLWAY_ADMIN_TOKEN" => Some(ADMIN_TOKEN.to_owned()),
            "TOLLWAYD_STORE" if matches!(self.keeper, Keeper::Sqlite) => {
                Some(store.display().to_string())
            }
            "TOLLWAY_POSTGRES_URL" => match &self.keeper {
                Keeper::Sqlite => None,
                Keeper::Postgres(url) => Some(url.clone()),
            },
            _ => None,
        };
        let text = include_str!("../../envoy/tollwayd.toml");
        let text = match self.keeper {
            Keeper::Sqlite => text.to_owned(),
            Keeper::Postgres(_) => {
                text.replace("\nsqlite =", "\n# sqlite =").replace("\n# postgres =", "\npostgres =")
            }
        };
        RawConfig::parse(&text).unwrap().resolve(&env).unwrap()
    }
}

/// In memory where the system has such a place: thousands of lives wait for no disk.
fn directory() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let builder = tempfile::Builder::new();
    match memory.is_dir() {
        true => builder.tempdir_in(memory).or_else(|_| builder.tempdir()),
        false => builder.tempdir(),
    }
    .unwrap()
}
