//! Requests byte by byte: no client of a library sends a path as it is given.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A GET request.
pub(super) struct Sent<'a> {
    pub(super) path: &'a [u8],
    pub(super) header: Option<(&'a str, &'a str)>,
    pub(super) credential: Option<&'a str>,
}

impl Sent<'_> {
    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let credential = self.credential.map(|credential| ("authorization", credential));
        self.header.into_iter().chain(credential)
    }
}

/// Sends the request on a connection of its own; the status of the answer, or `None` where the
/// gateway refuses by closing the stream.
pub(super) async fn send(address: &str, protocol: Protocol, sent: &Sent<'_>) -> Option<u16> {
    let stream = TcpStream::connect(address).await.unwrap();
    match protocol {
        Protocol::Http1 => http1(stream, sent).await,
        Protocol::Http2 => http2(stream, sent).await,
    }
}

async fn http1(mut stream: TcpStream, sent: &Sent<'_>) -> Option<u16> {
    let mut request = [b"GET ", sent.path, b" HTTP/1.1\r\nhost: api.example\r\n"].concat();
    for (name, value) in sent.headers() {
        request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    request.extend_from_slice(b"connection: close\r\n\r\n");
    // The peer may refuse and close before it has read everything.
    let _ = stream.write_all(&request).await;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    // The head is enough: after a refusal Envoy leaves the connection open for a while.
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut part).await {
            Ok(read) if read > 0 => answer.extend_from_slice(&part[..read]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// One request in frames of RFC 9113, its headers as literals of RFC 7541, section 6.2.2.
async fn http2(mut stream: TcpStream, sent: &Sent<'_>) -> Option<u16> {
    let mut block = Vec::new();
    let pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "api.example")];
    for (name, value) in pseudo {
        literal(&mut block, name.as_bytes(), value.as_bytes());
    }
    literal(&mut block, b":path", sent.path);
    for (name, value) in sent.headers() {
        literal(&mut block, name.as_bytes(), value.as_bytes());
    }
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
    let bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &request].concat();
    let _ = stream.write_all(&bytes).await;
    let mut status = None;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let (kind, flags) = (head[3], head[4]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.ok()?;
        assert_ne!(kind, CONTINUATION, "an answer's headers fit one frame");
        match kind {
            SETTINGS if flags & ACK == 0 => {
                let _ = stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await;
            }
            HEADERS if status.is_none() => status = Some(status_of(&payload)),
            RST_STREAM | GOAWAY => return status,
            _ => {}
        }
        let of_request = head[5..9] == 1u32.to_be_bytes();
        if of_request && matches!(kind, 0 | HEADERS) && flags & END_STREAM != 0 {
            return status;
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field with a name of its own, neither indexed nor compressed.
fn literal(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.push(0);
    for text in [name, value] {
        integer(block, text.len());
        block.extend_from_slice(text);
    }
}

/// RFC 7541, section 5.1, with a prefix of seven bits.
fn integer(block: &mut Vec<u8>, number: usize) {
    const PREFIX_MAX: usize = 127;
    if number < PREFIX_MAX {
        block.push(u8::try_from(number).unwrap());
        return;
    }
    block.push(127);
    let mut rest = number - PREFIX_MAX;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The status, which comes first: an index of the static table, or a literal of three digits.
fn status_of(block: &[u8]) -> u16 {
    // A change of the table's size may stand before it.
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    if block[0] & 0x80 != 0 {
        return [200, 204, 206, 304, 400, 404, 500][usize::from(block[0] & 0x7f) - 8];
    }
    let text = &block[2..2 + usize::from(block[1] & 0x7f)];
    if block[1] & 0x80 == 0 {
        return String::from_utf8_lossy(text).parse().unwrap();
    }
    // Huffman: 0, 1 and 2 have five bits, the other digits six.
    let bits = text.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
    let mut left = text.len() * 8;
    let mut status = 0;
    for _ in 0..3 {
        let five = bits >> (left - 5) & 0x1f;
        let (digit, length) =
            if five < 3 { (five, 5) } else { ((bits >> (left - 6) & 0x3f) - 22, 6) };
        status = status * 10 + u16::try_from(digit).unwrap();
        left -= length;
    }
    status
}
