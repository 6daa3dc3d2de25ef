//! Domain types to columns and back. A value that cannot be one is an error, never a guess.

use rusqlite::types::Type;
use rusqlite::{Error, Result, Row};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

/// An amount as a column; [`Msat::MAX`] fits easily.
pub(super) fn from_msat(amount: Msat) -> i64 {
    i64::try_from(amount.get()).unwrap_or(i64::MAX)
}

/// A time or a duration as a column; beyond the year 292,000,000 it stands still.
pub(super) fn from_ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// A column as an amount.
pub(super) fn msat(row: &Row<'_>, index: usize) -> Result<Msat> {
    let value: i64 = row.get(index)?;
    u64::try_from(value)
        .ok()
        .and_then(Msat::new)
        .ok_or(Error::IntegralValueOutOfRange(index, value))
}

/// A column as a count.
pub(super) fn count(row: &Row<'_>, index: usize) -> Result<u64> {
    let value: i64 = row.get(index)?;
    u64::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(index, value))
}

/// A column as a payment hash.
pub(super) fn payment_hash(row: &Row<'_>, index: usize) -> Result<PaymentHash> {
    bytes(row, index).map(PaymentHash::from_bytes)
}

/// A column as a byte string of fixed size.
pub(super) fn bytes<const N: usize>(row: &Row<'_>, index: usize) -> Result<[u8; N]> {
    let value = row.get_ref(index)?.as_blob()?;
    value
        .try_into()
        .map_err(|error| Error::FromSqlConversionFailure(index, Type::Blob, Box::new(error)))
}
