//! Clients written in Go. They pay from a real lnd node, over a channel to the shop's.

use std::fs;
use std::path::{Path, PathBuf};

use tollway_testkit::nodes::Network;
use tollway_testkit::stack::root;

use super::{Row, as_before, grpc, lnget};

/// Their rows; what cannot run here is skipped with its reason, and its rows stay as they were.
pub(crate) async fn rows() -> Vec<Row> {
    let nodes = Network::available().err().map(|error| error.to_string());
    let aperture = nodes.clone().or_else(grpc::missing);
    let lnget = nodes.or_else(lnget::missing);
    let mut rows = Vec::new();
    let network = match (&aperture, &lnget) {
        (Some(_), Some(_)) => None,
        _ => Some(Network::start().await.unwrap_or_else(|error| panic!("{error}"))),
    };
    match (&network, aperture) {
        (Some(network), None) => rows.push(grpc::aperture(network).await),
        (_, reason) => rows.extend(skipped(grpc::NAME, reason)),
    }
    match (&network, lnget) {
        (Some(network), None) => rows.extend(lnget::rows(network).await),
        (_, reason) => rows.extend(skipped(lnget::NAME, reason)),
    }
    rows
}

fn skipped(client: &str, reason: Option<String>) -> Vec<Row> {
    eprintln!("skipped: {client}: {}", reason.unwrap_or_default());
    as_before(client)
}

/// A configuration of tollwayd with the shop's node.
pub(crate) fn tollwayd_config(network: &Network, folder: &Path) -> PathBuf {
    let shipped = fs::read_to_string(root().unwrap().join("envoy/tollwayd.toml")).unwrap();
    let node = format!(
        "backend = \"lnd\"\nnetwork = \"regtest\"\nurl = \"{}\"\ncert = \"{}\"\n\
         macaroon = \"file:{}\"",
        network.payee.url(),
        network.payee.certificate().display(),
        network.payee.macaroon("invoice").display(),
    );
    let config = folder.join("tollwayd.toml");
    fs::write(&config, shipped.replacen("backend = \"simulated\"", &node, 1)).unwrap();
    config
}
