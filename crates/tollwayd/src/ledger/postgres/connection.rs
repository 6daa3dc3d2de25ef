//! One connection, its prepared statements, and what its errors mean.

use std::collections::HashMap;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Statement};

use super::tls::Database;
use crate::ledger::questions::StoreFault;
use crate::ledger::store::StoreError;

/// A connection that is made when it is needed, and made anew after it broke.
pub(in crate::ledger) struct Connection {
    database: Database,
    live: Option<Live>,
}

/// A connection that stands.
pub(in crate::ledger) struct Live {
    pub(super) client: Client,
    statements: HashMap<String, Statement>,
}

impl Connection {
    pub(super) fn new(database: Database) -> Self {
        Self { database, live: None }
    }

    pub(super) async fn live(&mut self) -> Result<&mut Live, Trouble> {
        let live = match self.live.take().filter(|live| !live.client.is_closed()) {
            Some(live) => live,
            None => connect(&self.database).await?,
        };
        Ok(self.live.insert(live))
    }

    /// Ends a transaction, or the connection if it cannot be ended.
    pub(super) async fn roll_back(&mut self) {
        if let Some(live) = &self.live
            && let Err(error) = live.client.batch_execute("ROLLBACK").await
        {
            tracing::warn!(%error, "a connection to the store is given up");
            self.live = None;
        }
    }
}

pub(super) async fn connect(database: &Database) -> Result<Live, Error> {
    Ok(Live { client: database.connect().await?, statements: HashMap::new() })
}

impl Live {
    /// The prepared statement of this text.
    pub(super) async fn prepare(&mut self, text: &str) -> Result<Statement, Trouble> {
        if let Some(statement) = self.statements.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(text).await?;
        self.statements.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The server refused, or did not answer.
    #[error("{}", words(.0))]
    Server(#[from] Error),
    /// A row cannot be one of its table.
    #[error("a row of {0} is none")]
    Row(&'static str),
}

/// What an error means. A row that another writer inserted first is, like a deadlock, a reason
/// to try again: the next try finds it.
pub(super) fn fault(trouble: &Trouble) -> StoreError {
    let Trouble::Server(error) = trouble else {
        tracing::error!(%trouble, "the store is damaged");
        return StoreFault::Corrupt.into();
    };
    let Some(state) = error.code() else {
        tracing::error!(error = words(error), "the store does not answer");
        return StoreFault::Io.into();
    };
    if *state == SqlState::T_R_SERIALIZATION_FAILURE
        || *state == SqlState::T_R_DEADLOCK_DETECTED
        || *state == SqlState::UNIQUE_VIOLATION
    {
        tracing::debug!(error = words(error), "another writer came in between");
        return StoreError::Retry;
    }
    tracing::error!(error = words(error), "a transaction failed and was undone");
    let class = state.code().get(..2).unwrap_or_default();
    StoreError::Fault(match class {
        "23" => StoreFault::Constraint,
        "53" => StoreFault::Full,
        "25" => StoreFault::ReadOnly,
        "08" | "57" | "58" => StoreFault::Io,
        "XX" => StoreFault::Corrupt,
        _ => StoreFault::Other,
    })
}

/// The server's words, which `Display` of the error leaves out.
fn words(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}
