//! The death of a server, as a power cut would have it, and its return.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::{Postgres, Private, until};

impl Postgres {
    /// Ends every process of the server at once, as `kill -9` does, and waits until all are gone.
    ///
    /// # Errors
    /// It is not ours, or does not die.
    pub fn kill(&mut self) -> Result<(), String> {
        self.private.as_ref().ok_or("only a server of one's own may be killed")?.kill()
    }

    /// Starts the server on the files that it left.
    ///
    /// # Errors
    /// It is not ours, or does not become ready.
    pub fn start_again(&mut self) -> Result<(), String> {
        self.private.as_mut().ok_or("only a server of one's own can be started")?.start()
    }
}

impl Private {
    fn kill(&self) -> Result<(), String> {
        let first = self.says(0).and_then(|text| text.parse().ok());
        let first: i32 = first.ok_or("the server does not run")?;
        // It must not start others while its own are counted.
        send(first, Signal::STOP);
        let mut doomed = children(first);
        doomed.push(first);
        doomed.iter().for_each(|process| send(*process, Signal::KILL));
        until("the server is gone", || !doomed.iter().copied().any(lives))?;
        // It still says that it is ready.
        let pid_file = self.directory.join("data/postmaster.pid");
        fs::remove_file(pid_file).map_err(|error| error.to_string())
    }
}

fn send(process: i32, signal: Signal) {
    if let Some(process) = Pid::from_raw(process) {
        // One that has ended already is as dead as it should be.
        let _ = kill_process(process, signal);
    }
}

fn children(of: i32) -> Vec<i32> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|it| it.file_name());
    let processes = names.filter_map(|name| name.to_str()?.parse().ok());
    processes.filter(|process| state(*process).is_some_and(|(_, parent)| parent == of)).collect()
}

/// State and parent of a process.
fn state(process: i32) -> Option<(String, i32)> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name, in brackets, may hold anything.
    let mut words = text.rsplit_once(')')?.1.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

fn lives(process: i32) -> bool {
    state(process).is_some_and(|(state, _)| state != "Z" && state != "X")
}
