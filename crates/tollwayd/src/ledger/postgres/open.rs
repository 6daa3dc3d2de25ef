//! Opening the database: migrations, first keys.

use super::connection::connect;
use super::read;
use super::tls::Database;
use crate::config;
use crate::entropy;
use crate::ledger::KeyBytes;
use crate::ledger::rows::field::Field;
use crate::ledger::sqlite::open::OpenError;
use crate::ledger::views::AuditReport;

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// One replica migrates at a time: an arbitrary number that nothing else locks.
const MIGRATION_LOCK: i64 = 0x0054_6f6c_6c77_6179;

/// What opening yields.
pub(in crate::ledger) struct Opened {
    pub(in crate::ledger) database: Database,
    pub(in crate::ledger) node_secret: KeyBytes,
    pub(in crate::ledger) open_holds: i64,
}

/// Connects once, and brings the database to this version.
pub(in crate::ledger) async fn open(
    store: &config::Postgres,
    now_ms: u64,
) -> Result<Opened, OpenError> {
    let database = Database::new(store)?;
    let mut live = connect(&database).await?;
    live.client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
    embedded::migrations::runner()
        .run_async(&mut live.client)
        .await
        .map_err(|error| OpenError::PostgresMigration(Box::new(error)))?;
    let first_key: [u8; 32] = entropy::random_bytes()?;
    live.client
        .execute(
            "INSERT INTO master_keys (id, secret, created_at_ms)
             SELECT 1, $1, $2 WHERE NOT EXISTS (SELECT 1 FROM master_keys)",
            &[&&first_key[..], &i64::try_from(now_ms).unwrap_or(i64::MAX)],
        )
        .await?;
    let first_node_secret: [u8; 32] = entropy::random_bytes()?;
    live.client
        .execute(
            "INSERT INTO node_secret (id, secret) VALUES (1, $1) ON CONFLICT DO NOTHING",
            &[&&first_node_secret[..]],
        )
        .await?;
    live.client.execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK]).await?;
    let row = live.client.query_one("SELECT secret FROM node_secret", &[]).await?;
    let secret: &[u8] = row.try_get(0)?;
    let node_secret = KeyBytes::get(crate::ledger::rows::field::Value::Bytes(secret.into()))
        .ok_or(OpenError::PostgresUrl)?;
    let row = live.client.query_one("SELECT count(*) FROM holds WHERE state = 'open'", &[]).await?;
    Ok(Opened { database, node_secret, open_holds: row.try_get(0)? })
}

/// Audits a database that is of this version; changes nothing.
pub(in crate::ledger) async fn audit(store: &config::Postgres) -> Result<AuditReport, OpenError> {
    let live = connect(&Database::new(store)?).await?;
    let newest = embedded::migrations::runner().get_migrations().iter().map(|m| m.version()).max();
    let found = live
        .client
        .query_one("SELECT max(version)::bigint FROM refinery_schema_history", &[])
        .await
        .and_then(|row| row.try_get::<_, Option<i64>>(0));
    let (expected, found) = (newest.map_or(0, i64::from), found.unwrap_or_default());
    if found != Some(expected) {
        return Err(OpenError::PostgresSchema { expected, found });
    }
    Ok(read::audit_once(&live).await?)
}
