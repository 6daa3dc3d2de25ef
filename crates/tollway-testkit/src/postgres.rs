//! A PostgreSQL of a test's own.
//!
//! It uses the server that `TOLLWAY_TEST_POSTGRES_URL` names; without it, it starts a private
//! one from Debian's package `postgresql`, which ends with the process that started it, however
//! that ends. A server refuses to run as root, so that root starts it as the user `postgres`.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Names a server to use instead, as a URL.
pub const ENV_URL: &str = "TOLLWAY_TEST_POSTGRES_URL";

/// Where Debian keeps the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The user that Debian's package makes.
const USER: &str = "postgres";
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Ends the server, and removes its files, when its input ends.
const KEEPER: &str = r#"
directory=$1; shift
"$@" >"$directory/log" 2>&1 </dev/null &
server=$!
cat >/dev/null
kill -INT "$server" 2>/dev/null
wait "$server"
rm -rf "$directory"
"#;

/// A server. It ends when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    keeper: Option<(Child, Option<ChildStdin>)>,
    /// The server's own process, for tests that kill it.
    data: Option<PathBuf>,
}

impl Postgres {
    /// A running server.
    ///
    /// # Errors
    /// Why there is none, for the test to print: there is no server on this machine, or it does
    /// not start.
    pub fn start() -> Result<Self, String> {
        if let Ok(url) = std::env::var(ENV_URL) {
            return Ok(Self { url, keeper: None, data: None });
        }
        let programs = programs()?;
        let directory = tempfile::Builder::new()
            .prefix("tollway-postgres-")
            .tempdir()
            .map_err(|error| format!("no directory for a server: {error}"))?
            .keep();
        let data = directory.join("data");
        let owner = owner(&directory)?;
        let made = run_as(owner, &programs.join("initdb"))
            .args(["--auth=trust", "--username=postgres", "--no-instructions", "--pgdata"])
            .arg(&data)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .map_err(|error| format!("cannot run initdb: {error}"))?;
        if !made.status.success() {
            return Err(format!("initdb failed: {}", String::from_utf8_lossy(&made.stderr)));
        }
        let server = Self::run(&programs, &directory, owner)
            .map_err(|error| format!("cannot start the server: {error}"))?;
        server.wait(&directory)?;
        Ok(server)
    }

    fn run(programs: &Path, directory: &Path, owner: Option<u32>) -> io::Result<Self> {
        let data = directory.join("data");
        let mut keeper = run_as(owner, Path::new("/bin/sh"));
        keeper.args(["-c", KEEPER, "keeper"]).arg(directory).arg(programs.join("postgres"));
        keeper.arg("-D").arg(&data).arg("-k").arg(directory);
        // A socket only: no port is taken, and nobody else can reach it.
        keeper.args(["-c", "listen_addresses=", "-c", "max_connections=300"]);
        let mut child = keeper.stdin(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let url = format!("host={} user=postgres dbname=postgres", directory.display());
        Ok(Self { url, keeper: Some((child, input)), data: Some(data) })
    }

    fn wait(&self, directory: &Path) -> Result<(), String> {
        const PAUSE: Duration = Duration::from_millis(20);
        let ready = self.data.as_ref().map(|data| data.join("postmaster.pid"));
        for _ in 0..STARTS_WITHIN.as_millis() / PAUSE.as_millis() {
            let state = ready.as_ref().and_then(|file| fs::read_to_string(file).ok());
            if state
                .is_some_and(|state| state.lines().nth(7).is_some_and(|it| it.trim() == "ready"))
            {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
        let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
        Err(format!("the server does not start: {log}"))
    }

    /// How to reach it: a URL, or words as libpq knows them.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some((child, input)) = &mut self.keeper {
            drop(input.take());
            // Nothing is left to do for a keeper that cannot be waited for.
            let _ = child.wait();
        }
    }
}

/// The newest installed version's programs.
fn programs() -> Result<PathBuf, String> {
    let version = |path: &PathBuf| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    let entries = fs::read_dir(VERSIONS).map_err(|_| {
        format!("no PostgreSQL on this machine: install `postgresql`, or set {ENV_URL}")
    })?;
    let paths = entries.flatten().map(|entry| entry.path());
    let newest = paths.filter(|path| path.join("bin/initdb").exists()).max_by_key(version);
    newest
        .map(|path| path.join("bin"))
        .ok_or_else(|| format!("{VERSIONS} has no server: install `postgresql`, or set {ENV_URL}"))
}

/// The user to run as, and a directory that belongs to it; `None` stays as we are.
fn owner(directory: &Path) -> Result<Option<u32>, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
    let line = users.lines().find(|line| line.split(':').next() == Some(USER));
    let id = line.and_then(|line| line.split(':').nth(2)?.parse().ok());
    let id: u32 = id.ok_or_else(|| format!("there is no user {USER} to run the server as"))?;
    chown(directory, Some(id), None).map_err(|error| error.to_string())?;
    Ok(Some(id))
}

fn run_as(user: Option<u32>, program: &Path) -> Command {
    let Some(id) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={id}")).args(["--clear-groups", "--"]).arg(program);
    command
}
