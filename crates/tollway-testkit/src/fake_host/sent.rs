//! Calls as a test reads them.

use tollway_gate::host::CallId;

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
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
