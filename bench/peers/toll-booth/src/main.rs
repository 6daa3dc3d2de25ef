//! A paid route behind the `toll-booth` crate, and the same route without it.
//!
//! `toll-booth-bench PORT bare|layer|reconciled` serves `/v1/target` from one thread;
//! `/credential` gives the `Authorization` value that pays for it. `layer` is the crate's own
//! axum middleware, which never reconciles; its engine then slows down with every request of the
//! last minute. `reconciled` calls the engine by hand and reconciles each request, as the crate's
//! documentation asks of those who embed it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use toll_booth::macaroon::mint_macaroon;
use toll_booth::{
    Currency, L402Rail, L402RailConfig, MemoryStorage, PricingEntry, RootKey, TollBoothConfig,
    TollBoothEngine, TollBoothLayer, TollBoothRequest, TollBoothResult,
};

const ROOT_KEY: &str = "a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4e5f6a1b2";
const PATH: &str = "/v1/target";
const CREDIT_SATS: i64 = 1_000_000_000_000;

type Fault = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fault> {
    let mut args = std::env::args().skip(1);
    let port: u16 = args.next().ok_or("expected a port")?.parse()?;
    let mode = args.next().ok_or("expected bare, layer or reconciled")?;
    let target = Router::new().route(PATH, get(async || "ok\n"));
    let paid = match mode.as_str() {
        "bare" => target,
        "layer" => target.layer(TollBoothLayer::new(engine()?)),
        "reconciled" => target.layer(from_fn_with_state(Arc::new(engine()?), reconciled)),
        other => return Err(format!("unknown mode {other}").into()),
    };
    let credential = credential()?;
    let app = paid.route("/credential", get(async move || credential));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

fn engine() -> Result<TollBoothEngine, Fault> {
    let storage = Arc::new(MemoryStorage::new());
    let rail = L402Rail::new(L402RailConfig {
        root_key: RootKey::from_hex(ROOT_KEY)?,
        storage: storage.clone(),
        default_amount: 1,
        backend: None,
        service_name: Some("bench".to_owned()),
    });
    Ok(TollBoothEngine::new(TollBoothConfig {
        storage,
        pricing: HashMap::from([(PATH.to_owned(), PricingEntry::Simple(1))]),
        rails: vec![Box::new(rail)],
        ..TollBoothConfig::default()
    })?)
}

fn credential() -> Result<String, Fault> {
    let preimage = [7_u8; 32];
    let hash = hex::encode(Sha256::digest(preimage));
    let key = RootKey::from_hex(ROOT_KEY)?;
    let macaroon = mint_macaroon(&key, &hash, CREDIT_SATS, &[], Currency::Sat)?;
    Ok(format!("L402 {macaroon}:{}", hex::encode(preimage)))
}

/// What the crate's layer does, with the reconciliation that it leaves out.
async fn reconciled(
    State(engine): State<Arc<TollBoothEngine>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let asked = TollBoothRequest {
        method: request.method().as_str().to_owned(),
        path: request.uri().path().to_owned(),
        headers: request
            .headers()
            .iter()
            .filter_map(|(name, value)| {
                Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
            })
            .collect(),
        ip: peer.ip().to_string(),
        tier: None,
    };
    match engine.handle(&asked).await {
        TollBoothResult::Pass { headers, .. } => {
            add(request.headers_mut(), &headers);
            next.run(request).await
        }
        TollBoothResult::Proxy { headers, request_id, estimated_cost, .. } => {
            add(request.headers_mut(), &headers);
            let mut response = next.run(request).await;
            add(response.headers_mut(), &headers);
            if let (Some(id), Some(cost)) = (request_id, estimated_cost) {
                engine.reconcile(&id, cost);
            }
            response
        }
        TollBoothResult::Challenge { .. } => StatusCode::PAYMENT_REQUIRED.into_response(),
        TollBoothResult::Blocked { .. } => StatusCode::FORBIDDEN.into_response(),
    }
}

fn add(to: &mut HeaderMap, headers: &HashMap<String, String>) {
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            to.insert(name, value);
        }
    }
}
