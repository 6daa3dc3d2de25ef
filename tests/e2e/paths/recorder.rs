//! An upstream that takes requests as they are: it notes the target and the headers byte by byte,
//! where a web server would already have made sense of them.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it arrived.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) target: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
pub(super) struct Recorder {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: JoinHandle<()>,
}

impl Recorder {
    pub(super) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&seen);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&book)));
            }
        });
        Self { port, seen, server }
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// What arrived since the last time.
    pub(super) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Requests without bodies, one after the other.
async fn serve(mut stream: TcpStream, book: Arc<Mutex<Vec<Seen>>>) {
    const END: &[u8] = b"\r\n\r\n";
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        while let Some(end) = bytes.windows(END.len()).position(|window| window == END) {
            let head: Vec<u8> = bytes.drain(..end + END.len()).collect();
            book.lock().unwrap().push(parse(&head));
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
        match stream.read(&mut part).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&part[..read]),
            _ => return,
        }
    }
}

fn parse(head: &[u8]) -> Seen {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    let first = lines.next().unwrap();
    let from = first.iter().position(|byte| *byte == b' ').unwrap() + 1;
    let to = first.iter().rposition(|byte| *byte == b' ').unwrap();
    let headers = lines.filter(|line| !line.is_empty()).map(|line| {
        let text = String::from_utf8_lossy(line);
        let (name, value) = text.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    Seen { headers: headers.collect(), target: first[from..to].to_vec() }
}
