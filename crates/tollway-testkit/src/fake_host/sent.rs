//! Calls as a test reads them.

use serde_json::Value;
use tollway_core::wire::{EXTENSIONS_PATH, EXTENSIONS_SEGMENT, HOLDS_PATH};
use tollway_gate::host::{CallId, CallReply};

/// A call that the gate sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentCall {
    /// Its id.
    pub id: CallId,
    /// The cluster it went to.
    pub cluster: String,
    /// Its headers, pseudo headers included.
    pub headers: Vec<(String, String)>,
    /// Its body; empty when it has none.
    pub body: Vec<u8>,
    /// After how long the proxy gives up.
    pub timeout_ms: u64,
}

impl SentCall {
    /// The value of a header; empty when it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON; `Null` when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The calls that this one stands for: one for each extension, or itself. A line that is not
    /// what `tollwayd` reads stands for an extension of no hold.
    #[must_use]
    pub fn apart(&self) -> Vec<Self> {
        if self.header(":path") != EXTENSIONS_PATH {
            return vec![self.clone()];
        }
        let one = |line: &[u8]| {
            let (hold, body): (String, Value) = serde_json::from_slice(line).unwrap_or_default();
            let mut call = Self { body: body.to_string().into_bytes(), ..self.clone() };
            for (_, path) in call.headers.iter_mut().filter(|(name, _)| name == ":path") {
                *path = format!("{HOLDS_PATH}/{hold}/{EXTENSIONS_SEGMENT}");
            }
            call
        };
        self.body.split_inclusive(|byte| *byte == b'\n').map(one).collect()
    }

    /// The reply to it, made of those to the calls that it stands for.
    #[must_use]
    pub fn replied(&self, replies: &[(u16, Value)]) -> CallReply {
        if self.header(":path") == EXTENSIONS_PATH {
            let lines = replies.iter().map(|(status, body)| format!("[{status},{body}]\n"));
            return CallReply { status: Some(200), body: lines.collect::<String>().into_bytes() };
        }
        let body = replies.first().map(|(_, body)| body.to_string().into_bytes());
        let status = replies.first().map(|(status, _)| *status);
        CallReply { status, body: body.unwrap_or_default() }
    }
}
