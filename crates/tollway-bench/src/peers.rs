//! The peers, each with its own bare route. What is not installed says why.

use std::ffi::OsString;
use std::path::Path;

use tollway_testkit::stack::{Process, free_port};

use crate::Result;
use crate::filter::TARGET;
use crate::load::Traffic;
use crate::rounds::Case;
use crate::workshop::{Job, LOAD_CORE, SERVER_CORE, Workshop};

/// The peers that run.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    pub(crate) cases: Vec<Case>,
    /// Why a peer does not.
    pub(crate) missing: Vec<String>,
    processes: Vec<Process>,
}

/// A server of a peer.
struct Server<'a> {
    name: &'static str,
    label: &'static str,
    bare: &'static str,
    /// Below the server's address.
    path: &'static str,
    program: &'a Path,
    args: Vec<OsString>,
    port: u16,
}

impl Peers {
    /// Starts what is installed.
    pub(crate) async fn start(workshop: &Workshop) -> Self {
        let mut peers = Self::default();
        if let Err(reason) = peers.toll_booth(workshop).await {
            peers.missing.push(format!("toll-booth: {reason}"));
        }
        if let Err(reason) = peers.lightning_toll(workshop).await {
            peers.missing.push(format!("lightning-toll: {reason}"));
        }
        for reason in &peers.missing {
            println!("missing {reason}");
        }
        peers
    }

    async fn toll_booth(&mut self, workshop: &Workshop) -> Result<()> {
        let program = workshop.target.join("peers/release/toll-booth-bench");
        let cases = [
            ("toll_booth_bare", "axum, no layer", "bare"),
            ("toll_booth", "toll-booth 0.2.1, its layer, in memory", "layer"),
            ("toll_booth_reconciled", "toll-booth 0.2.1, reconciled by hand", "reconciled"),
        ];
        for (name, label, mode) in cases {
            let port = free_port()?;
            let args = vec![port.to_string().into(), mode.into()];
            let (path, bare, program) = (TARGET, "toll_booth_bare", program.as_path());
            let server = Server { name, label, bare, path, program, args, port };
            self.serve(workshop, server).await?;
        }
        Ok(())
    }

    async fn lightning_toll(&mut self, workshop: &Workshop) -> Result<()> {
        let program = workshop.parts.root.join(".tools/peers/lightning-toll/bin/uvicorn");
        let cases = [
            ("lightning_toll_bare", "FastAPI under uvicorn, no toll", "/v1/bare"),
            ("lightning_toll", "lightning-toll 0.1.1 under uvicorn", TARGET),
        ];
        for (name, label, path) in cases {
            let port = free_port()?;
            let mut args: Vec<OsString> =
                ["app:app", "--loop", "uvloop", "--http", "httptools"].map(OsString::from).into();
            args.extend(["--no-access-log", "--log-level", "warning"].map(OsString::from));
            args.extend(["--app-dir".into(), workshop.bench("peers/lightning-toll").into()]);
            args.extend(["--port".into(), port.to_string().into()]);
            let (bare, program) = ("lightning_toll_bare", program.as_path());
            let server = Server { name, label, bare, path, program, args, port };
            self.serve(workshop, server).await?;
        }
        Ok(())
    }

    async fn serve(&mut self, workshop: &Workshop, server: Server<'_>) -> Result<()> {
        if !server.program.is_file() {
            return Err("it is not installed; make bench says above why".into());
        }
        let mut process = workshop.start(Job {
            name: server.name,
            place: server.name,
            cores: SERVER_CORE,
            path: server.program,
            args: server.args,
            env: vec![("PYTHONDONTWRITEBYTECODE".to_owned(), "1".into())],
        })?;
        let base = format!("http://127.0.0.1:{}", server.port);
        let credential_url = format!("{base}/credential");
        workshop.ready(&mut process, &credential_url, None, 200, 1).await?;
        let credential = workshop.http.get(credential_url).send().await?.text().await?;
        let url = format!("{base}{}", server.path);
        workshop.ready(&mut process, &url, Some(&credential), 200, 1).await?;
        self.cases.push(Case {
            name: server.name,
            label: server.label,
            bare: server.bare,
            url,
            traffic: Traffic::Fixed(Some(credential)),
            refused: false,
            server: process.pid(),
            companion: None,
            load_cores: LOAD_CORE,
            warm_up_requests: 0.0,
        });
        self.processes.push(process);
        Ok(())
    }
}
