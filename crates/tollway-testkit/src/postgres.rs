//! A PostgreSQL of a test's own.
//!
//! It uses the server that `TOLLWAY_TEST_POSTGRES_URL` names; without it, it starts a private
//! one from Debian's package `postgresql`, which ends with the process that started it, however
//! that ends. A server refuses to run as root, so that root starts it as the user `postgres`.

mod backup;
mod death;
mod standby;
mod tls;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

pub use tls::TlsDoor;

/// Names a server to use instead, as a URL.
pub const ENV_URL: &str = "TOLLWAY_TEST_POSTGRES_URL";

/// Where Debian keeps the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The user that Debian's package makes.
const USER: &str = "postgres";
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Starts the server with each line of its input; ends it, and removes its files, when its input
/// ends.
const KEEPER: &str = r#"
directory=$1; shift
server=
while read -r _; do
  [ -z "$server" ] || wait "$server"
  "$@" >>"$directory/log" 2>&1 </dev/null &
  server=$!
done
[ -z "$server" ] || kill -INT "$server" 2>/dev/null
wait
rm -rf "$directory"
"#;

/// A server. It ends when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    private: Option<Private>,
}

/// A server of our own.
#[derive(Debug)]
struct Private {
    keeper: Child,
    input: Option<ChildStdin>,
    programs: PathBuf,
    directory: PathBuf,
    owner: Option<u32>,
}

impl Postgres {
    /// A running server.
    ///
    /// # Errors
    /// Why there is none, for the test to print: there is no server on this machine, or it does
    /// not start.
    pub fn start() -> Result<Self, String> {
        match std::env::var(ENV_URL) {
            Ok(url) => Ok(Self { url, private: None }),
            Err(_) => Self::private(),
        }
    }

    /// A running server of one's own, whatever the environment names: one that may be killed.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn private() -> Result<Self, String> {
        Self::made(|programs, owner, data| {
            let mut command = run_as(owner, &programs.join("initdb"));
            command.args(["--auth=trust", "--username=postgres", "--no-instructions", "--pgdata"]);
            command.arg(data).env("LC_ALL", "C.UTF-8");
            command
        })
    }

    /// A server on the files that a command makes.
    fn made(command: impl FnOnce(&Path, Option<u32>, &Path) -> Command) -> Result<Self, String> {
        let programs = programs()?;
        let directory = tempfile::Builder::new()
            .prefix("tollway-postgres-")
            .tempdir()
            .map_err(|error| format!("no directory for a server: {error}"))?
            .keep();
        let owner = owner(&directory)?;
        succeed(command(&programs, owner, &directory.join("data")))?;
        settings(&directory.join("data"), "listen_addresses = ''")
            .map_err(|error| format!("cannot configure the server: {error}"))?;
        let private = Private::keep(programs, directory, owner)
            .map_err(|error| format!("cannot start the server: {error}"))?;
        let url = format!("postgresql://postgres@{}/postgres", private.host());
        let mut server = Self { url, private: Some(private) };
        server.start_again()?;
        Ok(server)
    }

    /// A new, empty database of a private server: how to reach it.
    ///
    /// # Errors
    /// The server is not our own, or has such a database.
    pub fn database(&self, name: &str) -> Result<String, String> {
        self.ask(&format!("CREATE DATABASE {name}"))?;
        Ok(format!("postgresql://postgres@{}/{name}", self.own()?.host()))
    }

    /// How to reach it: a URL, or words as libpq knows them if the environment says so.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Private {
    /// The process that starts and ends the server.
    fn keep(programs: PathBuf, directory: PathBuf, owner: Option<u32>) -> io::Result<Self> {
        let mut keeper = run_as(owner, Path::new("/bin/sh"));
        keeper.args(["-c", KEEPER, "keeper"]).arg(&directory).arg(programs.join("postgres"));
        keeper.arg("-D").arg(directory.join("data")).arg("-k").arg(&directory);
        keeper.args(["-c", "max_connections=300"]);
        let mut keeper = keeper.stdin(Stdio::piped()).spawn()?;
        let input = keeper.stdin.take();
        Ok(Self { keeper, input, programs, directory, owner })
    }

    fn start(&mut self) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("the server has no keeper")?;
        writeln!(input, "start").map_err(|error| format!("the keeper is gone: {error}"))?;
        until("the server is ready", || self.says(7).is_some_and(|state| state == "ready"))
            .map_err(|error| format!("{error}: {}", self.log()))
    }

    /// The directory of its socket, as a URL's host.
    fn host(&self) -> String {
        self.directory.display().to_string().replace('/', "%2F")
    }

    /// A line of the file in which a server that runs says who it is.
    fn says(&self, line: usize) -> Option<String> {
        let text = fs::read_to_string(self.directory.join("data/postmaster.pid")).ok()?;
        text.lines().nth(line).map(|words| words.trim().to_owned())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        drop(self.input.take());
        // Nothing is left to do for a keeper that cannot be waited for.
        let _ = self.keeper.wait();
    }
}

/// Looks again and again until it is so.
fn until(what: &str, mut look: impl FnMut() -> bool) -> Result<(), String> {
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 0..STARTS_WITHIN.as_millis() / PAUSE.as_millis() {
        if look() {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
    Err(format!("waited in vain until {what}"))
}

/// A socket only, at first: no port is taken, and nobody else can reach it.
fn settings(data: &Path, line: &str) -> io::Result<()> {
    let mut file = fs::File::options().append(true).open(data.join("postgresql.auto.conf"))?;
    writeln!(file, "{line}")
}

/// Runs a program to its end, and returns what it said.
fn succeed(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} failed: {said}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
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
