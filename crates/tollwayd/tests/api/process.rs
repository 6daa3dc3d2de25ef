//! The real binary: its command line, its signals, its death.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use reqwest::{Client, Method};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tollway_core::id::HoldId;
use tollway_core::wire::{HoldReply, PostingBatch, PostingOutcome, PostingReply, PostingResult};

use crate::support::*;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy/tollwayd.toml");

pub(crate) fn tollwayd(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollwayd"));
    command
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("TOLLWAY_GATE_TOKEN", GATE_TOKEN)
        .env("TOLLWAY_ADMIN_TOKEN", ADMIN_TOKEN)
        .env("TOLLWAYD_LISTEN", "127.0.0.1:0")
        .env("TOLLWAYD_ADMIN_LISTEN", "127.0.0.1:0");
    command
}

pub(crate) fn run(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = tollwayd(directory, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A tollwayd of its own; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) doors: Doors,
    log: Option<std::thread::JoinHandle<String>>,
}

impl Process {
    /// Starts one and waits for the log line that names its addresses.
    pub(crate) fn start(directory: &Path) -> Self {
        Self::start_with(directory, EXAMPLE, &[])
    }

    /// The same with another configuration, and more variables.
    pub(crate) fn start_with(directory: &Path, config: &str, env: &[(&str, &str)]) -> Self {
        let mut child = tollwayd(directory, &["serve", "--config", config])
            .envs(env.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let serves = lines.find(|line| line.contains("tollwayd serves")).unwrap();
        let serves: Value = serde_json::from_str(&serves).unwrap();
        let doors = Doors::new(
            serves["gate_addr"].as_str().unwrap(),
            serves["admin_addr"].as_str().unwrap(),
            Client::new(),
        );
        let log = std::thread::spawn(move || lines.collect::<Vec<_>>().join("\n"));
        Self { child, doors, log: Some(log) }
    }

    pub(crate) fn kill_9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn terminate(&self) {
        // The shell's own kill: a small machine may have no other.
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// The exit code and the log after the start line.
    fn wait(mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().unwrap();
        (code, self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_command_line_helps_and_tells_its_version() {
    let directory = tempfile::tempdir().unwrap();
    let (code, out, _) = run(directory.path(), &["--version"]);
    assert_eq!((code, out), (0, format!("tollwayd {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, out, _) = run(directory.path(), &["--help"]);
    assert!(code == 0 && ["serve", "check-config", "audit"].iter().all(|name| out.contains(name)));
    for wrong in [&[][..], &["fly"], &["serve"], &["audit", "--config"]] {
        let (code, _, err) = run(directory.path(), wrong);
        assert_eq!(code, 64, "{wrong:?}");
        assert!(err.contains("Usage") || err.contains("--config"), "{err}");
    }
}

#[test]
fn check_config_summarises_without_secrets_or_names_the_fault() {
    let directory = tempfile::tempdir().unwrap();
    let (code, out, err) = run(directory.path(), &["check-config", "--config", EXAMPLE]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("ok: ") && out.contains("127.0.0.1:0"), "{out}");
    assert!(!out.contains("canary"), "{out}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was created");
    let text = std::fs::read_to_string(EXAMPLE).unwrap().replace("invoice_expiry_s", "expiry");
    std::fs::write(directory.path().join("bad.toml"), text).unwrap();
    for command in ["check-config", "serve", "audit"] {
        let (code, out, err) = run(directory.path(), &[command, "--config", "bad.toml"]);
        assert_eq!((code, out.as_str()), (64, ""), "{command}");
        assert!(err.contains("lightning.expiry: unknown field `expiry`"), "{err}");
        assert_eq!(err.lines().count(), 1);
    }
    let (code, _, err) = run(directory.path(), &["serve", "--config", "none.toml"]);
    assert!(code == 64 && err.contains("none.toml"), "{err}");
}

#[tokio::test]
async fn a_second_tollwayd_on_the_same_store_refuses_to_start() {
    let directory = tempfile::tempdir().unwrap();
    let first = Process::start(directory.path());
    let (code, _, err) = run(directory.path(), &["serve", "--config", EXAMPLE]);
    assert_eq!(code, 70);
    assert!(err.contains("another tollwayd is using tollwayd.db"), "{err}");
    first.doors.invoice(1_000, None).await;
    first.kill_9();
    // A killed owner leaves no lock behind.
    Process::start(directory.path()).kill_9();
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let held = std::net::TcpListener::bind(taken).unwrap();
    let output = tollwayd(directory.path(), &["serve", "--config", EXAMPLE])
        .env("TOLLWAYD_ADMIN_LISTEN", held.local_addr().unwrap().to_string())
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(70));
    assert!(err.contains(&format!("admin.listen: cannot listen on {taken}")), "{err}");
}

#[tokio::test]
async fn the_audit_runs_beside_the_server_and_needs_no_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let (code, _, err) = run(directory.path(), &["audit", "--config", EXAMPLE]);
    assert!(code == 70 && err.contains("cannot open tollwayd.db"), "{err}");
    let process = Process::start(directory.path());
    let paid = process.doors.paid(5_000).await;
    process.doors.hold(new_id(), &paid, 1_000).await;
    let audit = |arguments: &[&str]| {
        let output =
            tollwayd(directory.path(), &[&["audit", "--config", EXAMPLE], arguments].concat())
                .env_remove("TOLLWAY_GATE_TOKEN")
                .env_remove("TOLLWAY_ADMIN_TOKEN")
                .output()
                .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(audit(&[]), (0, "audit: 1 accounts, 1 entries, 0 differences\n".to_owned()));
    let db = rusqlite::Connection::open(directory.path().join("tollwayd.db")).unwrap();
    db.execute_batch("UPDATE accounts SET balance_msat = 5001").unwrap();
    let (code, text) = audit(&[]);
    let expected = format!(
        "account {}: balance_msat against the sum of entries: expected 5000, but found 5001\n\
         audit: 1 accounts, 1 entries, 1 differences\n",
        paid.hash
    );
    assert_eq!((code, text), (1, expected));
    let (code, text) = audit(&["--json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["differences"][0]["account"]), (1, &value(paid.hash)));
}

/// What one client counted for itself.
#[derive(Default)]
struct Count {
    granted: u64,
    posted: u64,
}

/// Holds and charges until the server is gone. Counts only what was answered, and gives `done` a
/// permit for every charge.
async fn spend(doors: Doors, paid: Paid, done: Arc<Semaphore>) -> Count {
    let mut count = Count::default();
    loop {
        let id = new_id();
        let hold = doors.call(Method::PUT, &format!("/v1/holds/{id}"));
        let Some(HoldReply::Granted { .. }) = answer(hold.json(&hold_request(&paid, 10))).await
        else {
            return count;
        };
        count.granted += 1;
        let Some(PostingReply { outcomes, .. }) = answer(charge(&doors, id)).await else {
            return count;
        };
        assert!(matches!(outcomes[..], [PostingResult { outcome: PostingOutcome::Posted, .. }]));
        count.posted += 1;
        done.add_permits(1);
    }
}

fn charge(doors: &Doors, id: HoldId) -> reqwest::RequestBuilder {
    let batch = PostingBatch { postings: vec![posting(id, 0, 10, true)] };
    doors.call(Method::POST, "/v1/postings").json(&batch)
}

/// The answer, or `None` where the server died before it.
async fn answer<T: serde::de::DeserializeOwned>(call: reqwest::RequestBuilder) -> Option<T> {
    call.send().await.ok()?.error_for_status().ok()?.json().await.ok()
}

/// Runs clients until they have done some work, then strikes; returns their own counts.
async fn under_load(process: Process, strike: impl FnOnce(Process)) -> (Paid, Vec<Count>) {
    const CLIENTS: usize = 16;
    let paid = process.doors.paid(100_000_000).await;
    let done = Arc::new(Semaphore::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(spend(process.doors.clone(), paid.clone(), Arc::clone(&done)));
    }
    done.acquire_many(200).await.unwrap().forget();
    strike(process);
    (paid, clients.join_all().await)
}

pub(crate) fn assert_audit_clean(directory: &Path) {
    let (code, out, err) = run(directory, &["audit", "--config", EXAMPLE]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.ends_with(" 0 differences\n"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kill_9_under_load_loses_nothing_that_was_answered() {
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let process = Process::start(directory.path());
        let (paid, counts) = under_load(process, Process::kill_9).await;
        assert_audit_clean(directory.path());
        let process = Process::start(directory.path());
        let view = process.doors.account(paid.hash).await;
        let charged = 100_000_000 - view["balance_msat"].as_u64().unwrap();
        let answered: u64 = counts.iter().map(|count| count.posted * 10).sum();
        let in_flight = counts.len() as u64 * 10;
        // What was answered is there; what was not may be, once per client at most.
        assert!((answered..=answered + in_flight).contains(&charged), "round {round}: {charged}");
        assert!(view["held_msat"].as_u64().unwrap() <= in_flight);
        process.kill_9();
        assert_audit_clean(directory.path());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sigterm_under_load_loses_nothing_and_exits_0() {
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(directory.path());
    let (stopped, code_and_log) = std::sync::mpsc::channel();
    let (paid, counts) = under_load(process, |process| {
        process.terminate();
        std::thread::spawn(move || stopped.send(process.wait()));
    })
    .await;
    let (code, log) = code_and_log.recv().unwrap();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("\"stopped\"") && !log.contains("ERROR"), "{log}");
    let log_left = std::fs::metadata(directory.path().join("tollwayd.db-wal"));
    assert!(log_left.is_err() || log_left.unwrap().len() == 0, "the log was folded in");
    assert_audit_clean(directory.path());
    let process = Process::start(directory.path());
    let view = process.doors.account(paid.hash).await;
    let charged = 100_000_000 - view["balance_msat"].as_u64().unwrap();
    let (granted, posted): (u64, u64) =
        counts.iter().fold((0, 0), |sums, count| (sums.0 + count.granted, sums.1 + count.posted));
    assert!(charged >= posted * 10 && charged <= granted * 10, "{posted} {charged} {granted}");
}

#[tokio::test]
async fn an_invoice_of_a_killed_process_can_still_be_paid() {
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(directory.path());
    let invoice = process.doors.invoice(1_000, None).await;
    process.kill_9();
    let process = Process::start(directory.path());
    let paid = process.doors.paid_invoice(&invoice).await;
    assert!(matches!(process.doors.hold(new_id(), &paid, 1_000).await, HoldReply::Granted { .. }));
}
