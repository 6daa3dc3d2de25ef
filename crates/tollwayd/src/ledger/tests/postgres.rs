//! What only PostgreSQL has: other replicas, and conflicts with them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tollway_testkit::postgres::Postgres;

use super::*;

/// One server for all tests of this process; it ends with the process.
fn server() -> Option<&'static Postgres> {
    static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
    let started = SERVER.get_or_init(|| match Postgres::start() {
        Ok(server) => Some(server),
        Err(reason) => {
            eprintln!("SKIPPED: no test of PostgreSQL runs: {reason}");
            None
        }
    });
    started.as_ref()
}

async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A ledger in a schema of its own, or `None` on a machine without a server.
pub(super) async fn bench() -> Option<Bench> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = tokio::task::spawn_blocking(server).await.unwrap()?;
    let schema = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    client(server.url()).await.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
    let url = if server.url().contains("://") {
        let glue = if server.url().contains('?') { '&' } else { '?' };
        format!("{}{glue}options=-csearch_path%3D{schema}", server.url())
    } else {
        format!("{} options='-c search_path={schema}'", server.url())
    };
    Some(Bench::at(Place::Postgres(url)).await)
}
