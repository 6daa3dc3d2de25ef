//! The trivial service behind Envoy's ext_authz.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use axum::Router;
use axum::http::StatusCode;
use tokio::net::TcpListener;

use crate::Result;

/// Agrees with everything, until the process is ended.
pub(crate) async fn serve(port: u16) -> Result<ExitCode> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener, Router::new().fallback(async || StatusCode::OK)).await?;
    Ok(ExitCode::SUCCESS)
}
