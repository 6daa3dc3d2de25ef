//! Who uses a credential that is good for one request: one call at a time, in this process or
//! another one. A claim ends with its call, or with the process.

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
            let path = store.with_extension(format!("using-{payment}.lock"));
            let Some(lock) = file::try_lock(&path)? else { return Ok(None) };
            claim.lock = Some((path, lock));
        }
        Ok(Some(claim))
    }
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
