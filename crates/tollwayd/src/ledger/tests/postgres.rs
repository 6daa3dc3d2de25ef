//! What only PostgreSQL has: other replicas, and conflicts with them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tollway_core::secret::SecretText;
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

pub(super) async fn client(url: &str) -> tokio_postgres::Client {
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
        let url = server.url();
        format!("{url}{glue}application_name={schema}&options=-csearch_path%3D{schema}")
    } else {
        let url = server.url();
        format!("{url} application_name={schema} options='-c search_path={schema}'")
    };
    Some(Bench::at(Place::Postgres(url)).await)
}

/// How a test reaches its database.
pub(super) fn at(url: &str) -> crate::config::Postgres {
    crate::config::Postgres { url: SecretText::new(url.to_owned()), ca: None }
}

/// Another tollwayd on the same database.
async fn replica(bench: &Bench) -> Ledger {
    let Place::Postgres(url) = &bench.place else { panic!("no PostgreSQL") };
    let metrics = Metrics::new().ledger;
    let url = at(url);
    // The writer's thread goes on as long as somebody can ask it.
    Ledger::open_postgres(&url, bench.clock.clone(), metrics).await.unwrap().ledger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_replicas_credit_once_and_admit_exactly_k() {
    const K: usize = 37;
    let Some(bench) = bench().await else { return };
    let others = [bench.ledger.clone(), replica(&bench).await];
    bench.ledger.open_invoice(invoice(1, 379, None)).await.unwrap();
    bench.ledger.open_invoice(invoice(2, 1, Some(hash(1)))).await.unwrap();
    let mut asks = tokio::task::JoinSet::new();
    for id in 0..200_u128 {
        let ledger = others[usize::try_from(id % 2).unwrap()].clone();
        asks.spawn(async move {
            let tag = if id % 7 == 0 { 2 } else { 1 };
            if id % 5 == 0 {
                ledger.settle(Settlement::of(hash(tag))).await.unwrap();
            }
            // Each id is asked for twice, once of each replica.
            ledger.hold(order(id / 2, hash(1), 10)).await.unwrap()
        });
    }
    asks.join_all().await;
    let stats = others[1].stats().await.unwrap();
    assert_eq!((stats.credited_msat, stats.accounts), (380, 1));
    // The top-up may have come late: 37 or 38 fit, and no credit is left unused.
    let fits = usize::try_from(stats.holds_open).unwrap();
    assert!((K..=K + 1).contains(&fits), "{fits} holds");
    assert_eq!(bench.sums(hash(1)).await, (380, stats.holds_open * 10));
    let released = (0..100).map(|id| posting(id, 0, 10, true)).collect::<Vec<_>>();
    let (one, two) = tokio::join!(others[0].post(released.clone()), others[1].post(released));
    assert_eq!(one.unwrap(), two.unwrap(), "both replicas say the same");
    assert_eq!(bench.sums(hash(1)).await, (380 - stats.holds_open * 10, 0));
    bench.assert_audit_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_agree_on_the_revision_within_a_second() {
    let Some(bench) = bench().await else { return };
    let other = replica(&bench).await;
    revocations::others_hear_of_it_within_a_second(&bench, &other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_send_nothing_twice_at_a_time() {
    let Some(bench) = bench().await else { return };
    let other = replica(&bench).await;
    outbox::replicas_take_each_once([bench.ledger.clone(), other]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_certificate_buys_once_at_all_replicas_together() {
    let Some(bench) = bench().await else { return };
    let ledgers = [bench.ledger.clone(), replica(&bench).await];
    for round in 0..20_u8 {
        let id = tollway_core::digest::Digest::of(&[&[round]]);
        let certificate = Some(Certificate { id, expires_at_ms: START_MS + 60_000 });
        let order = |tag| NewInvoice { certificate, ..invoice(tag, 1_000, None) };
        let (one, two) = tokio::join!(
            ledgers[0].open_invoice(order(2 * round + 1)),
            ledgers[1].open_invoice(order(2 * round + 2))
        );
        let sold = [one.unwrap(), two.unwrap()];
        let stored = sold.iter().filter(|it| **it == InvoiceOutcome::Stored).count();
        assert_eq!(stored, 1, "{sold:?}");
        assert!(sold.contains(&InvoiceOutcome::CertificateUsed));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conflicts_with_other_writers_are_tried_again() {
    let Some(bench) = bench().await else { return };
    let Place::Postgres(url) = &bench.place else { panic!("no PostgreSQL") };
    let client = client(url).await;
    let hash = bench.paid(1, 1_000).await;
    for (id, state) in [(1, "40001"), (2, "40P01")] {
        // The first two tries fail, as they would against another writer.
        client
            .batch_execute(&format!(
                "CREATE SEQUENCE tries_{id};
                 CREATE OR REPLACE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN
                   IF nextval('tries_{id}') <= 2 THEN
                     RAISE EXCEPTION 'planted' USING ERRCODE = '{state}';
                   END IF;
                   RETURN NEW;
                 END $$;
                 DROP TRIGGER IF EXISTS conflict ON holds;
                 CREATE TRIGGER conflict BEFORE INSERT ON holds
                   FOR EACH ROW EXECUTE FUNCTION conflict()"
            ))
            .await
            .unwrap();
        let balance = 1_000 - u64::try_from(id).unwrap() * 10;
        let outcome = bench.ledger.hold(order(id, hash, 10)).await;
        assert_eq!(outcome, Ok(granted(hash, 10, balance)), "{state}");
    }
    assert_eq!(bench.metrics.ledger.retries.get(), 4);
    assert_eq!(bench.sums(hash).await, (1_000, 20));
    bench.assert_audit_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_connection_is_made_anew_and_nothing_is_lost() {
    let Some(bench) = bench().await else { return };
    let Place::Postgres(url) = &bench.place else { panic!("no PostgreSQL") };
    let hash = bench.paid(1, 100).await;
    let name = url
        .split("search_path")
        .nth(1)
        .unwrap()
        .trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let name = name.strip_prefix("3D").unwrap_or(name);
    client(server().unwrap().url())
        .await
        .execute(
            // Other tests of this process have connections too; they may not lose theirs.
            &format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = '{name}' AND pid <> pg_backend_pid()"
            ),
            &[],
        )
        .await
        .unwrap();
    let mut granted_at_last = false;
    for _ in 0..10 {
        granted_at_last = bench.ledger.hold(order(1, hash, 10)).await == Ok(granted(hash, 10, 90));
        if granted_at_last {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(granted_at_last);
    assert_eq!(bench.sums(hash).await, (100, 10));
    bench.assert_audit_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_database_refuses_changes_of_the_journal_and_a_planted_sum_is_named() {
    let Some(bench) = bench().await else { return };
    let Place::Postgres(url) = &bench.place else { panic!("no PostgreSQL") };
    let hash = bench.paid(1, 100).await;
    let client = client(url).await;
    for sql in ["UPDATE entries SET amount_msat = 1", "DELETE FROM entries"] {
        let error = client.execute(sql, &[]).await.unwrap_err();
        assert!(error.as_db_error().unwrap().message().contains("append-only"), "{error}");
    }
    client.execute("UPDATE accounts SET balance_msat = 101", &[]).await.unwrap();
    let store = crate::config::Store::Postgres(at(url));
    let found = crate::ledger::audit(&store).await.unwrap().differences;
    assert_eq!((found.len(), found[0].claimed, found[0].recorded), (1, 101, 100));
    assert_eq!(found[0].account, hash.to_hex());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_encrypted_for_the_right_server_or_refused() {
    let started = tokio::task::spawn_blocking(|| {
        let mut server = Postgres::private()?;
        let door = server.serve_tls()?;
        Ok::<_, String>((server, door))
    });
    let (_server, door) = match started.await.unwrap() {
        Ok(started) => started,
        Err(reason) => return eprintln!("SKIPPED: TLS to PostgreSQL: {reason}"),
    };
    let directory = tempfile::tempdir().unwrap();
    let (good, other) = (directory.path().join("good.pem"), directory.path().join("other.pem"));
    std::fs::write(&good, &door.authority).unwrap();
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&other, stranger.cert.pem()).unwrap();

    // The name is in the certificate, the address is not.
    let by_address = door.url.replace("localhost", "127.0.0.1");
    for (url, ca, encrypted) in [
        (door.url.clone(), Some(&good), Ok(true)),
        (format!("{}?sslmode=require", door.url), Some(&good), Ok(true)),
        (door.url.clone(), None, Ok(false)),
        (door.url.clone(), Some(&other), Err("invalid peer certificate")),
        (by_address, Some(&good), Err("not valid for name")),
        (format!("{}?sslmode=require", door.url), None, Err("invalid peer certificate")),
        (format!("{}?sslmode=disable", door.url), Some(&good), Err("store.postgres_ca")),
    ] {
        let store = crate::config::Postgres { url: SecretText::new(url.clone()), ca: ca.cloned() };
        let found = encryption(&store).await;
        match (encrypted, found) {
            (Ok(expected), Ok(found)) => assert_eq!(found, expected, "{url} {ca:?}"),
            (Err(word), Err(error)) => assert!(error.contains(word), "{url} {ca:?}: {error}"),
            (expected, found) => panic!("{url} {ca:?}: expected {expected:?}, found {found:?}"),
        }
    }
}

/// What the server says of the connection of a ledger.
async fn encryption(store: &crate::config::Postgres) -> Result<bool, String> {
    use std::error::Error as _;
    let words = |error: tokio_postgres::Error| {
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        format!("{error}: {source}")
    };
    let database = crate::ledger::postgres::tls::Database::new(store).map_err(|e| e.to_string())?;
    let client = database.connect().await.map_err(words)?;
    let question = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    client.query_one(question, &[]).await.map(|row| row.get(0)).map_err(words)
}
