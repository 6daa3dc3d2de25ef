//! HTTP towards a node: bounded in time and size, no redirects, the credential in a header.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tollway_core::secret::SecretText;

use super::NodeFault;
use super::tls::{self, TlsFault};
use crate::config::NodeUrl;

/// A node on the same machine answers in milliseconds; one behind Tor in seconds.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A stream that is silent for hours still notices that its peer has gone.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The longest answer that is read: an invoice with its payments is a few KiB.
const REPLY_BYTES_MAX: usize = 256 * 1_024;
/// How much of a fault's text goes to the log.
const FAULT_CHARS_MAX: usize = 200;
/// What nobody can pay.
pub(super) const NO_INVOICE: &str = "no invoice";

/// The client of one node.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    base: NodeUrl,
}

/// A whole answer.
pub(super) struct Reply {
    status: StatusCode,
    body: Vec<u8>,
}

impl Http {
    /// A client that shows this credential with every call.
    ///
    /// # Errors
    /// [`TlsFault`] if the certificate is of no use.
    pub(super) fn new(
        base: &NodeUrl,
        cert: Option<&Path>,
        (name, credential): (HeaderName, &SecretText),
    ) -> Result<Self, TlsFault> {
        let client = |error: &dyn std::error::Error| TlsFault::Client(error.to_string());
        let mut value =
            HeaderValue::from_str(credential.reveal()).map_err(|error| client(&error))?;
        value.set_sensitive(true);
        let builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(KEEPALIVE)
            .redirect(Policy::none())
            // The credential goes to the node and nowhere else.
            .no_proxy()
            .default_headers(HeaderMap::from_iter([(name, value)]));
        let builder = match cert {
            Some(path) => builder.tls_backend_preconfigured(tls::pinned(path)?),
            None => builder,
        };
        let built = builder.build().map_err(|error| client(&error))?;
        Ok(Self { client: built, base: base.clone() })
    }

    /// The kind of node, and where it is.
    pub(super) fn name(&self, kind: &str) -> String {
        format!("{kind} {}", self.base)
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.client.request(Method::GET, self.base.join(path))
    }

    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> RequestBuilder {
        self.client.request(Method::POST, self.base.join(path)).json(body)
    }

    pub(super) fn post_form(&self, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        self.client.request(Method::POST, self.base.join(path)).form(form)
    }
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// [`NodeFault::Down`] if there is none in time, [`NodeFault::Unreadable`] if it is too long.
pub(super) async fn send(request: RequestBuilder) -> Result<Reply, NodeFault> {
    send_within(TIMEOUT, request).await
}

/// The same with another limit, for calls that wait for something.
///
/// # Errors
/// As [`send`].
pub(super) async fn send_within(
    limit: Duration,
    request: RequestBuilder,
) -> Result<Reply, NodeFault> {
    let exchange = async {
        let mut response = open(request).await?;
        let mut body = Vec::new();
        while let Some(chunk) = chunk(&mut response).await? {
            if body.len().saturating_add(chunk.len()) > REPLY_BYTES_MAX {
                tracing::error!("the node's answer is too long");
                return Err(NodeFault::Unreadable);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status: response.status(), body })
    };
    tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| {
        tracing::warn!(limit_s = limit.as_secs(), "the node does not answer in time");
        Err(NodeFault::Down)
    })
}

/// Sends a request and returns once the answer begins.
///
/// # Errors
/// [`NodeFault::Down`] if there is no connection.
pub(super) async fn open(request: RequestBuilder) -> Result<Response, NodeFault> {
    request.send().await.map_err(|error| down(&error))
}

/// The next bytes of an answer; `None` at its end.
///
/// # Errors
/// [`NodeFault::Down`] if the connection broke.
pub(super) async fn chunk(response: &mut Response) -> Result<Option<Vec<u8>>, NodeFault> {
    let chunk = response.chunk().await.map_err(|error| down(&error))?;
    Ok(chunk.map(|bytes| bytes.to_vec()))
}

/// What a status says, apart from success.
///
/// # Errors
/// [`NodeFault`] for every status that is none.
pub(super) fn check(status: StatusCode) -> Result<(), NodeFault> {
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(NodeFault::Denied),
        status if status.is_client_error() => Err(NodeFault::Refused),
        _ => Err(NodeFault::Down),
    }
}

impl Reply {
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether the credential does not reach so far.
    pub(super) fn denies(&self) -> bool {
        check(self.status) == Err(NodeFault::Denied)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The text of a success.
    ///
    /// # Errors
    /// [`NodeFault`] by the status; [`NodeFault::Unreadable`] if it is other JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, NodeFault> {
        check(self.status).inspect_err(|fault| {
            let status = self.status.as_u16();
            tracing::warn!(status, said = self.said(), %fault, "the node does not do it");
        })?;
        self.parse()
    }

    /// The text, whatever the status says.
    ///
    /// # Errors
    /// [`NodeFault::Unreadable`] if it is other JSON.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, NodeFault> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // The position says enough; the text may hold a preimage.
            let (line, column) = (error.line(), error.column());
            tracing::error!(line, column, "the node's answer cannot be read");
            NodeFault::Unreadable
        })
    }

    /// The beginning of a fault's text. Nodes put no secrets into faults.
    pub(super) fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.chars().filter(|letter| !letter.is_control()).take(FAULT_CHARS_MAX).collect()
    }
}

fn down(error: &reqwest::Error) -> NodeFault {
    let mut said = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        said = cause.to_string();
        source = cause.source();
    }
    tracing::warn!(error = said, "the node cannot be reached");
    NodeFault::Down
}
