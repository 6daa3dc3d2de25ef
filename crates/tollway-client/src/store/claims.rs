//! Who uses a credential alone, in this process or another one: the one call of a credential that
//! is good for one request, and the call that has just bought one that is good for more, until it
//! was served. A claim ends with its call, or with the process.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tollway_core::payment::PaymentHash;

use super::file;

/// The claims of this process.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashSet<PaymentHash>>);

/// A payment that nobody else shows meanwhile.
#[derive(Debug)]
pub(crate) struct Claim {
    payment: PaymentHash,
    claims: Arc<Claims>,
    /// What other processes see of it.
    lock: Option<(PathBuf, File)>,
}

impl Claim {
    /// Claims a payment; `None` while somebody else has it.
    pub(super) fn try_new(
        claims: &Arc<Claims>,
        store: Option<&Path>,
        payment: PaymentHash,
    ) -> io::Result<Option<Self>> {
        if !claims.0.lock().unwrap_or_else(PoisonError::into_inner).insert(payment) {
            return Ok(None);
        }
        let mut claim = Self { payment, claims: Arc::clone(claims), lock: None };
        if let Some(store) = store {
            let path = lock_path(store, payment);
            let Some(lock) = file::try_lock(&path)? else { return Ok(None) };
            claim.lock = Some((path, lock));
        }
        Ok(Some(claim))
    }

    /// Whether somebody has a claim on this payment.
    pub(super) fn exists(
        claims: &Claims,
        store: Option<&Path>,
        payment: PaymentHash,
    ) -> io::Result<bool> {
        if claims.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&payment) {
            return Ok(true);
        }
        let Some(path) = store.map(|store| lock_path(store, payment)) else { return Ok(false) };
        if !path.try_exists()? {
            return Ok(false);
        }
        // One that nobody has was left by a process that died.
        match file::try_lock(&path)? {
            Some(_left) => {
                // Another one may have removed it just now.
                _ = fs::remove_file(path);
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

fn lock_path(store: &Path, payment: PaymentHash) -> PathBuf {
    store.with_extension(format!("using-{payment}.lock"))
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.lock {
            // One that stays is locked by nobody, and hinders nobody.
            _ = fs::remove_file(path);
        }
        self.claims.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.payment);
    }
}
