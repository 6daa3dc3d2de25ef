//! What the command shows while an answer comes: the answer itself, and a person how much of it.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use futures_util::stream;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::shop::Shop;

/// Runs a program on a terminal of its own, and prints what that shows.
const TERMINAL: &str = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";

/// Ends with the test, whatever becomes of that.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn at_home(command: &mut Command, home: &TempDir, wallet: &str) {
    command
        .env("XDG_STATE_HOME", home.path())
        .env("XDG_CONFIG_HOME", home.path())
        .env("TOLLWAY_WALLET_URL", wallet)
        .stdin(Stdio::null());
}

/// A server whose one answer has these parts; its URL.
async fn server(parts: UnboundedReceiver<&'static str>) -> String {
    let parts = Arc::new(Mutex::new(Some(parts)));
    let answer = move || {
        let parts = parts.lock().unwrap().take().unwrap();
        let body = stream::unfold(parts, async |mut parts| {
            parts.recv().await.map(|part| (Ok::<_, Infallible>(part), parts))
        });
        async { Body::from_stream(body) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_written_while_it_comes() {
    let home = tempfile::tempdir().unwrap();
    let (send, parts) = unbounded_channel();
    let url = server(parts).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollway"));
    at_home(&mut command, &home, &url);
    command.args(["get", &url]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    // Each part is sent only when the one before it was read: nothing waits for the end.
    for part in ["one\n", "two\n", "three\n"] {
        send.send(part).unwrap();
        let (line, rest) =
            tokio::task::spawn_blocking(move || (lines.next(), lines)).await.unwrap();
        assert_eq!(line.unwrap().unwrap(), part.trim_end());
        lines = rest;
    }
    drop(send);
    let status = tokio::task::spawn_blocking(move || running.0.wait()).await.unwrap();
    assert_eq!(status.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_that_it_pays_and_how_much_is_here() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: python3 makes the terminal, and is not installed");
        return;
    }
    let (home, shop) = (tempfile::tempdir().unwrap(), Shop::open().await);
    let file = home.path().join("joke");
    let mut command = Command::new("python3");
    at_home(&mut command, &home, &shop.url);
    command.args(["-c", TERMINAL, env!("CARGO_BIN_EXE_tollway"), "get", "-o"]).arg(&file);
    command.arg(format!("{}/jokes", shop.url));
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let seen = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{seen}");
    assert!(seen.contains("tollway: paying 10 sats ..."), "{seen}");
    assert!(seen.contains("12 of 12 bytes"), "{seen}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one of jokes");
}
