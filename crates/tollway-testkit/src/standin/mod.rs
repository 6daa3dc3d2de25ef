//! Stand-ins for Lightning nodes that no package brings: they speak a node's published protocol
//! over real sockets and mint real signed BOLT 11 invoices, but no money moves; a test says what
//! is paid.
//!
//! Every stand-in is a face of a [`Till`]. What they leave out is named in their modules. LNbits'
//! own clients of these nodes and published ones of BTCPay are run against them, so that they are
//! not only our own reading of the protocols.

mod btcpay;
mod cln;
mod lnd;
mod phoenixd;
mod till;

pub use till::{Lie, Mischief, Till};

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Which node a stand-in stands in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// LND over REST.
    Lnd,
    /// Core Lightning over clnrest.
    Cln,
    /// phoenixd.
    Phoenixd,
    /// The Lightning node of a BTCPay store; its id is [`STORE`].
    Btcpay,
}

/// The id of the store of a BTCPay stand-in.
pub const STORE: &str = "StandInStore";

/// How the paths end on which nodes pay. They pay for nobody, and say that this is all they know.
/// BTCPay has rights by name.
const PAYS: [&str; 3] = ["/v2/router/send", "/v1/pay", "/payinvoice"];

/// A stand-in that serves until it is dropped.
#[derive(Debug)]
pub struct StandIn {
    /// What it sold.
    pub till: Arc<Till>,
    /// The credential that it accepts.
    pub credential: &'static str,
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// What the handlers share: the till, and the credential to ask for.
#[derive(Clone, Debug)]
struct Guard {
    till: Arc<Till>,
    header: HeaderName,
    value: String,
    refusal: Refusal,
}

/// How a node says that it does not accept a credential.
type Refusal = (StatusCode, &'static str);

impl StandIn {
    /// Starts one on a free port, with an empty till.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(kind: Kind) -> io::Result<Self> {
        Self::serve(kind, Arc::default(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Ends it and starts it again at the same address with the same till, as a node restarts.
    ///
    /// # Errors
    /// Somebody took the port.
    pub async fn restart(self, kind: Kind) -> io::Result<Self> {
        let (till, address) = (Arc::clone(&self.till), self.address);
        self.stop().await;
        Self::serve(kind, till, address).await
    }

    /// Ends it; its connections break.
    pub async fn stop(mut self) {
        self.task.abort();
        // It was aborted, so it ends with an error.
        let _ = (&mut self.task).await;
    }

    async fn serve(kind: Kind, till: Arc<Till>, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let state = Arc::clone(&till);
        let (credential, header, value, refusal, router) = match kind {
            Kind::Lnd => (
                lnd::MACAROON,
                HeaderName::from_static("grpc-metadata-macaroon"),
                lnd::MACAROON.to_owned(),
                lnd::REFUSAL,
                lnd::router(),
            ),
            Kind::Cln => (
                cln::RUNE,
                HeaderName::from_static("rune"),
                cln::RUNE.to_owned(),
                cln::REFUSAL,
                cln::router(),
            ),
            Kind::Phoenixd => (
                phoenixd::PASSWORD,
                header::AUTHORIZATION,
                phoenixd::AUTHORIZATION.to_owned(),
                phoenixd::REFUSAL,
                phoenixd::router(),
            ),
            Kind::Btcpay => (
                btcpay::API_KEY,
                header::AUTHORIZATION,
                format!("token {}", btcpay::API_KEY),
                btcpay::REFUSAL,
                btcpay::router(),
            ),
        };
        let guard = Guard { till, header, value, refusal };
        let app = router.with_state(Arc::clone(&state));
        let app = app.layer(middleware::from_fn_with_state(guard, judge));
        let task = tokio::spawn(async move {
            // It serves until it is aborted.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { till: state, credential, address, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn judge(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    if guard.till.is(Mischief::Down) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let pays = PAYS.iter().any(|path| request.uri().path().ends_with(path));
    if pays && guard.till.is(Mischief::Generous) {
        return (StatusCode::BAD_REQUEST, "expected an invoice").into_response();
    }
    if pays || !shows(request.headers(), &guard.header, &guard.value) {
        return guard.refusal.into_response();
    }
    next.run(request).await
}

fn shows(headers: &HeaderMap, name: &HeaderName, value: &str) -> bool {
    headers.get(name).is_some_and(|shown| shown.as_bytes() == value.as_bytes())
}
