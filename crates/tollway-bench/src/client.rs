//! A client that counts what it gets: one connection, one request after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The pause after a refusal or a lost connection.
const PAUSE: Duration = Duration::from_millis(5);
/// Far above any answer here.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What all clients share.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    pub(crate) stop: AtomicBool,
    /// Answers delivered so far, by all of them.
    pub(crate) delivered: AtomicU64,
}

/// What one client counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    /// Answers of the API that arrived whole.
    pub(crate) delivered: u64,
    /// 503 and its like: nothing was sold.
    pub(crate) refused: u64,
    /// Connections that ended before an answer was whole.
    pub(crate) lost: u64,
    /// 402 to an account with credit, and whatever else may not be.
    pub(crate) wrong: u64,
}

/// Asks until the crowd is told to stop.
pub(crate) async fn ask(gateway: SocketAddr, request: String, crowd: Arc<Crowd>) -> Count {
    let mut count = Count::default();
    let mut connection = None;
    while !crowd.stop.load(Ordering::Relaxed) {
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => match TcpStream::connect(gateway).await {
                Ok(stream) => stream,
                // Envoy is dead just now.
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        match exchange(&mut stream, request.as_bytes()).await {
            Some(200) => {
                count.delivered += 1;
                crowd.delivered.fetch_add(1, Ordering::Relaxed);
                connection = Some(stream);
            }
            Some(500..=599) => {
                count.refused += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Some(_) => {
                count.wrong += 1;
                tokio::time::sleep(PAUSE).await;
            }
            None => count.lost += 1,
        }
    }
    count
}

/// Sends a request; gives the status of the answer once its body is whole.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Option<u16> {
    stream.write_all(request).await.ok()?;
    let mut buffer = Vec::with_capacity(1_024);
    loop {
        if buffer.len() > ANSWER_BYTES_MAX || stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
        if let Some(status) = whole(&buffer) {
            return Some(status);
        }
    }
}

/// The status of a whole answer with a content length.
fn whole(bytes: &[u8]) -> Option<u16> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length: usize = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })?;
    (bytes.len() >= end + 4 + length).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_its_body_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        assert_eq!(whole(answer), Some(200));
        for cut in 0..answer.len() {
            assert_eq!(whole(&answer[..cut]), None);
        }
        assert_eq!(whole(b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n"), Some(503));
    }
}
