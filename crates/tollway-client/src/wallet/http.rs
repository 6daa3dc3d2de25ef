//! What wallets that speak HTTP have in common.

use std::time::Duration;

use reqwest::{ClientBuilder, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::WalletError;
use crate::error::explained;

/// How long a payment may take. Real ones settle in seconds or get stuck for hours; what is
/// still open then is taken up by the next call.
pub(super) const PAYMENT_TIMEOUT_S: u64 = 60;
/// The wallet gets a little longer to say so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(PAYMENT_TIMEOUT_S + 15);
/// The most characters of a wallet's explanation that an error repeats.
const DETAIL_CHARS_MAX: usize = 200;
/// The most bytes of an answer; a payment with many parts has some tens of thousands.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A wallet's answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: Vec<u8>,
}

/// A client that goes nowhere but to the wallet.
pub(super) fn client(builder: ClientBuilder) -> Result<reqwest::Client, WalletError> {
    builder
        .timeout(ANSWER_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| WalletError::Unreachable(explained(&error)))
}

/// The wallet's address, to which [`at`] adds paths.
pub(super) fn base(url: &str) -> Result<Url, WalletError> {
    let bad = WalletError::BadSetting { expected: "the wallet's address as http://host:port" };
    match Url::parse(url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(bad),
    }
}

/// A path below the wallet's address.
pub(super) fn at(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

/// Sends the request and reads the answer, whatever its status.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer, WalletError> {
    read(request, |_| false).await
}

async fn read(
    request: RequestBuilder,
    enough: impl Fn(&[u8]) -> bool,
) -> Result<Answer, WalletError> {
    let unreachable = |error: reqwest::Error| WalletError::Unreachable(explained(&error));
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(WalletError::NoProof);
        }
        body.extend_from_slice(&chunk);
        if enough(&body) {
            break;
        }
    }
    Ok(Answer { status, body })
}

/// As [`send`], but reads only the first line of a stream.
pub(super) async fn first_line(request: RequestBuilder) -> Result<Answer, WalletError> {
    read(request, |body| body.contains(&b'\n')).await
}

impl Answer {
    /// The body as JSON; an answer of another shape proves nothing.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, WalletError> {
        serde_json::from_slice(&self.body).map_err(|_| WalletError::NoProof)
    }

    /// The wallet's own explanation, made safe for a terminal.
    pub(super) fn detail(&self) -> String {
        let json = serde_json::from_slice::<Value>(&self.body).unwrap_or_default();
        let named = ["detail", "message", "error", "reason"].into_iter().find_map(|key| {
            json.get(key).and_then(|found| {
                // LND wraps the errors of its streams.
                found.as_str().or_else(|| found.get("message")?.as_str())
            })
        });
        let reason = self.status.canonical_reason().unwrap_or("no explanation");
        let text = match (named, std::str::from_utf8(&self.body)) {
            (Some(text), _) => text,
            (None, Ok(text)) if json.is_null() && !text.trim_start().starts_with('<') => text,
            (None, _) => reason,
        };
        let shown: String =
            text.chars().filter(|c| !c.is_control()).take(DETAIL_CHARS_MAX).collect();
        if shown.is_empty() { reason.to_owned() } else { shown }
    }

    /// The error that this status means where the wallet says nothing more exact.
    pub(super) fn error(&self) -> WalletError {
        let (status, detail) = (self.status.as_u16(), self.detail());
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                WalletError::NotAllowed { status, detail }
            }
            // A wallet that is not there says so with 404, and one that is busy with 429.
            StatusCode::NOT_FOUND | StatusCode::TOO_MANY_REQUESTS => {
                WalletError::Failed { status, detail }
            }
            code if code.is_client_error() => WalletError::Refused { status, detail },
            _ => WalletError::Failed { status, detail },
        }
    }
}
