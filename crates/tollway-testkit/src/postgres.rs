//! A PostgreSQL of a test's own.
//!
//! It uses the server that `TOLLWAY_TEST_POSTGRES_URL` names; without it, it starts a private
//! one from Debian's package `postgresql`, which ends with the process that started it, however
//! that ends. A server refuses to run as root, so that root starts it as the user `postgres`.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Names a server to use instead, as a URL.
pub const ENV_URL: &str = "TOLLWAY_TEST_POSTGRES_URL";

/// Where Debian keeps the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The user that Debian's package makes.
const USER: &str = "postgres";
/// Between two looks at something that takes its time.
const PAUSE: Duration = Duration::from_millis(20);
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
    /// One for each life of the server.
    keepers: Vec<(Child, Option<ChildStdin>)>,
    /// Where the server's files are, if it is ours.
    directory: Option<PathBuf>,
}

impl Postgres {
    /// A running server.
    ///
    /// # Errors
    /// Why there is none, for the test to print: there is no server on this machine, or it does
    /// not start.
    pub fn start() -> Result<Self, String> {
        if let Ok(url) = std::env::var(ENV_URL) {
            return Ok(Self { url, keepers: Vec::new(), directory: None });
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
        let url = format!("host={} user=postgres dbname=postgres", directory.display());
        let mut server = Self { url, keepers: Vec::new(), directory: Some(directory.clone()) };
        server.run(&programs, &directory, owner)?;
        Ok(server)
    }

    /// Kills the server of our own as `kill -9` does, every process of it, and starts it again on
    /// what it had written.
    ///
    /// # Errors
    /// It is not ours, or does not come back.
    pub fn kill_and_restart(&mut self) -> Result<(), String> {
        let directory = self.directory.clone().ok_or("the server is not ours to kill")?;
        let state = fs::read_to_string(directory.join("data/postmaster.pid"));
        let state = state.map_err(|error| format!("no server runs: {error}"))?;
        let first = state.lines().next().and_then(|line| line.trim().parse().ok());
        let first: i32 = first.ok_or("no process id in postmaster.pid")?;
        let mut family = children_of(first);
        family.insert(0, first);
        for pid in family.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // One may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
        // While one of them lives it holds the shared memory of the server.
        while family.iter().any(|pid| parent_of(*pid).is_some()) {
            thread::sleep(PAUSE);
        }
        // Its keeper has not buried it, so the next one would take it for alive.
        fs::remove_file(directory.join("data/postmaster.pid"))
            .map_err(|error| error.to_string())?;
        let owner = owner(&directory)?;
        self.run(&programs()?, &directory, owner)
    }

    fn run(&mut self, programs: &Path, directory: &Path, owner: Option<u32>) -> Result<(), String> {
        let data = directory.join("data");
        let mut keeper = run_as(owner, Path::new("/bin/sh"));
        keeper.args(["-c", KEEPER, "keeper"]).arg(directory).arg(programs.join("postgres"));
        keeper.arg("-D").arg(&data).arg("-k").arg(directory);
        // A socket only: no port is taken, and nobody else can reach it.
        keeper.args(["-c", "listen_addresses=", "-c", "max_connections=300"]);
        let mut child = keeper
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start the server: {error}"))?;
        let input = child.stdin.take();
        self.keepers.push((child, input));
        Self::wait(directory)
    }

    fn wait(directory: &Path) -> Result<(), String> {
        let ready = directory.join("data/postmaster.pid");
        for _ in 0..STARTS_WITHIN.as_millis() / PAUSE.as_millis() {
            let state = fs::read_to_string(&ready).unwrap_or_default();
            if state.lines().nth(7).is_some_and(|it| it.trim() == "ready") {
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

    /// The same as a URL, for a configuration.
    #[must_use]
    pub fn uri(&self) -> String {
        match &self.directory {
            None => self.url.clone(),
            Some(directory) => {
                let host = directory.display().to_string().replace('/', "%2F");
                format!("postgresql://postgres@{host}/postgres")
            }
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        for (child, input) in self.keepers.iter_mut().rev() {
            drop(input.take());
            // Nothing is left to do for a keeper that cannot be waited for.
            let _ = child.wait();
        }
    }
}

/// The parent of a process that lives; a dead one that nobody has buried has none.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold anything: state, parent.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    fields.next()?.parse().ok().filter(|_| !dead)
}

fn children_of(parent: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
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
