//! Child processes that never outlive us.
//!
//! Each child leads its own process group and is killed when its [`Process`] is dropped. Against
//! ends that run no destructor (Ctrl-C, kill -9, a panic that aborts) stands the [`Guardian`]: a
//! shell that waits for our end of its pipe to close and then kills what still runs.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::error::StackError;

/// Reads "+pid" and "-pid" lines; at the end of its input, kills the groups still on the list.
const GUARD: &str = r#"
trap '' INT TERM HUP
groups=" "
while read -r line; do
  pid="${line#?}"
  case "$line" in
    +*) groups="$groups$pid " ;;
    -*) case "$groups" in *" $pid "*) groups="${groups%%" $pid "*} ${groups#*" $pid "}" ;; esac ;;
  esac
done
for pid in $groups; do kill -s KILL -- "-$pid" 2>/dev/null; done
"#;

/// Kills our children when we are gone.
#[derive(Clone, Debug)]
pub struct Guardian(Arc<Mutex<GuardianShell>>);

#[derive(Debug)]
struct GuardianShell {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Starts the shell that watches over us.
    ///
    /// # Errors
    /// There is no shell.
    pub fn start() -> Result<Self, StackError> {
        let mut shell = Command::new("sh")
            .args(["-c", GUARD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| StackError::new("start the guardian shell", error))?;
        let pipe = shell.stdin.take();
        Ok(Self(Arc::new(Mutex::new(GuardianShell { shell, pipe }))))
    }

    fn tell(&self, sign: char, pid: u32) -> io::Result<()> {
        let mut guardian = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut guardian.pipe {
            Some(pipe) => writeln!(pipe, "{sign}{pid}"),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for GuardianShell {
    fn drop(&mut self) {
        self.pipe.take();
        // It ends by itself now; waiting only avoids a zombie.
        let _ = self.shell.wait();
    }
}

/// What to run.
#[derive(Debug)]
pub struct Program<'a> {
    /// What messages call it, and the name of its log.
    pub name: &'static str,
    /// The file to run.
    pub path: &'a Path,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// More environment for it.
    pub env: Vec<(String, OsString)>,
    /// Where `{name}.log` (stderr) and `{name}.out.log` (stdout) are appended to.
    pub log_dir: &'a Path,
}

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    guardian: Guardian,
}

impl Process {
    /// Starts the program.
    ///
    /// # Errors
    /// It cannot be run, or its logs cannot be written.
    pub fn start(program: Program<'_>, guardian: &Guardian) -> Result<Self, StackError> {
        let name = program.name;
        let failed = |error: io::Error| StackError::new(format!("start {name}"), error);
        let log = program.log_dir.join(format!("{name}.log"));
        let out = program.log_dir.join(format!("{name}.out.log"));
        let mut child = Command::new(program.path)
            .args(program.args)
            .envs(program.env)
            .stdin(Stdio::null())
            .stdout(append(&out).map_err(failed)?)
            .stderr(append(&log).map_err(failed)?)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        if let Err(error) = guardian.tell('+', child.id()) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(error));
        }
        Ok(Self { name, child, log, guardian: guardian.clone() })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its stderr goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// An error of this process that shows its log.
    #[must_use]
    pub fn error(&self, step: &str, found: impl std::fmt::Display) -> StackError {
        StackError::new(format!("{step} {}", self.name), found).with_log(&self.log)
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it where it stands; what is sent to it waits.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = rustix_pid(&self.child) {
            let _ = kill_process(pid, signal);
        }
    }

    fn end(&mut self) {
        if self.ended().is_none()
            && let Some(pid) = rustix_pid(&self.child)
        {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
        let _ = self.guardian.tell('-', self.child.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

fn rustix_pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").process_group(0).spawn().unwrap()
    }

    #[test]
    fn the_guardian_kills_what_is_left_and_spares_what_was_taken_back() {
        let (mut left, mut taken_back) = (sleeper(), sleeper());
        let guardian = Guardian::start().unwrap();
        guardian.tell('+', left.id()).unwrap();
        guardian.tell('+', taken_back.id()).unwrap();
        guardian.tell('-', taken_back.id()).unwrap();
        drop(guardian);
        assert_eq!(left.wait().unwrap().signal(), Some(9));
        assert!(taken_back.try_wait().unwrap().is_none());
        taken_back.kill().unwrap();
        taken_back.wait().unwrap();
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let guardian = Guardian::start().unwrap();
        let program = Program {
            name: "sleep",
            path: Path::new("/bin/sleep"),
            args: vec!["600".into()],
            env: Vec::new(),
            log_dir: dir.path(),
        };
        let process = Process::start(program, &guardian).unwrap();
        let pid = rustix_pid(&process.child).unwrap();
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }
}
