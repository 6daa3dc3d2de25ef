//! Where a run works: programs, logs, and processes pinned to their cores.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Client;
use tempfile::TempDir;
use tollway_testkit::stack::{Guardian, Parts, Process, Program, until};

use crate::Result;

/// The core of what is measured.
pub(crate) const SERVER_CORE: &str = "0";
/// The core of the load and of the companions.
pub(crate) const LOAD_CORE: &str = "1";
/// Both, for two workers.
pub(crate) const ALL_CORES: &str = "0,1";
/// A connection that was not used for so long is not used again: the server may be closing it.
const IDLE: Duration = Duration::from_secs(3);

/// Everything that the cases share.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) parts: Parts,
    pub(crate) http: Client,
    /// The build's directory.
    pub(crate) target: PathBuf,
    guardian: Guardian,
    dir: TempDir,
}

/// A program and how it is started.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    /// What messages call it.
    pub(crate) name: &'static str,
    /// The directory of its logs.
    pub(crate) place: &'a str,
    pub(crate) cores: &'a str,
    pub(crate) path: &'a Path,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(String, OsString)>,
}

impl Workshop {
    pub(crate) fn open() -> Result<Self> {
        let here = env::current_exe()?;
        let target = here.ancestors().nth(2).ok_or("expected this program in a build")?;
        // On the disk of the build, not in a file system of memory: flushes have to cost.
        let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(target)?;
        Ok(Self {
            parts: Parts::locate()?,
            http: http_client()?,
            target: target.to_owned(),
            guardian: Guardian::start()?,
            dir,
        })
    }

    /// A file or directory of this run.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of the repository's `bench` directory.
    pub(crate) fn bench(&self, name: &str) -> PathBuf {
        self.parts.root.join("bench").join(name)
    }

    /// Starts a program on its cores.
    pub(crate) fn start(&self, job: Job<'_>) -> Result<Process> {
        let log_dir = self.place(job.place);
        fs::create_dir_all(&log_dir)?;
        let mut args: Vec<OsString> = vec!["-c".into(), job.cores.into(), job.path.into()];
        args.extend(job.args);
        let taskset = Path::new("taskset");
        let program =
            Program { name: job.name, path: taskset, args, env: job.env, log_dir: &log_dir };
        Ok(Process::start(program, &self.guardian)?)
    }

    /// Waits until the server gives this answer, `times` in a row on new connections.
    pub(crate) async fn ready(
        &self,
        process: &mut Process,
        url: &str,
        authorization: Option<&str>,
        status: u16,
        times: u32,
    ) -> Result<()> {
        until("wait until ready:", process, async || {
            for _ in 0..times {
                let client = http_client().map_err(|error| error.to_string())?;
                let mut request = client.get(url);
                if let Some(value) = authorization {
                    request = request.header("authorization", value);
                }
                let answer = request.send().await.map_err(|error| error.to_string())?;
                if answer.status() != status {
                    return Err(format!("{url} answers {}, not {status}", answer.status()));
                }
            }
            Ok(())
        })
        .await?;
        Ok(())
    }
}

fn http_client() -> Result<Client> {
    let client = Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(60));
    Ok(client.pool_idle_timeout(IDLE).build()?)
}
