//! What is kept between calls: credentials, and the payments that the budget counts.
//!
//! Credentials are money, so the file is readable by its owner alone, is replaced in one step,
//! and is changed under a lock: processes that share it lose nothing of each other's, and spend
//! one budget together.

mod claims;
pub(crate) mod file;
mod records;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;
use tollway_core::money::Msat;

use crate::budget::{Budget, OverBudget};
use crate::challenge::Challenge;
use crate::token::Token;
use claims::{Claim, Claims};
use records::Contents;
pub(crate) use records::{Credential, Purchase};
pub use records::{PaymentRecord, PaymentState};

/// Purchases of different things seldom share a lock, and there are never more lock files.
const PURCHASE_LOCKS: usize = 16;

/// How long others leave a new credential to the call that bought it. A gateway has counted that
/// call long before, however late its answer.
const FIRST_USE_MAX: Duration = Duration::from_secs(10);
const FIRST_USE_POLL: Duration = Duration::from_millis(20);

/// Where credentials and payments are kept. Clones share what they keep.
#[derive(Clone, Debug)]
pub struct CredentialStore {
    place: Place,
    purchases: Arc<[Arc<tokio::sync::Mutex<()>>]>,
    claims: Arc<Claims>,
}

/// A credential that a call may show. One that is good for one request, or that the call has just
/// bought, is the call's alone until this is dropped.
#[derive(Debug)]
pub(crate) struct Usable {
    pub(crate) credential: Credential,
    _claim: Option<Claim>,
}

#[derive(Clone, Debug)]
enum Place {
    Memory(Arc<Mutex<Contents>>),
    File(PathBuf),
}

/// Why credentials cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The environment does not say where the file belongs.
    #[error(
        "expected XDG_STATE_HOME or HOME to name the folder for credentials, but found neither"
    )]
    NoHome,
    /// The file or its folder cannot be used.
    #[error("the credentials at {} cannot be used: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not one of ours.
    #[error(
        "expected credentials at {}, but found something else; move the file away",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// A credential that is kept, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCredential {
    /// The origin that sold it, and the only one that sees it.
    pub origin: String,
    /// What it opens, as far as it says.
    pub scope: String,
    /// Whether its payment is known to have arrived.
    pub is_paid: bool,
    /// What the server last said is left of it.
    pub balance: Option<Msat>,
}

/// Only one call at a time buys the same thing. The lock ends with this value.
#[derive(Debug)]
pub(crate) struct PurchaseLock {
    _in_process: OwnedMutexGuard<()>,
    _between_processes: Option<File>,
}

impl CredentialStore {
    /// Keeps credentials in this file.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self::new(Place::File(path))
    }

    /// Keeps credentials in `tollway/credentials.json` below `$XDG_STATE_HOME` or
    /// `~/.local/state`. `env` looks an environment variable up.
    ///
    /// # Errors
    /// [`StoreError::NoHome`] when the environment names neither.
    pub fn in_state_folder(env: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, StoreError> {
        // The XDG specification says to ignore a relative path.
        let absolute = |name| env(name).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .ok_or(StoreError::NoHome)?;
        Ok(Self::at(state.join("tollway/credentials.json")))
    }

    /// Keeps credentials until the last clone is dropped. What was paid for is lost with it, a
    /// payment that was interrupted included.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Place::Memory(Arc::default()))
    }

    fn new(place: Place) -> Self {
        let purchases = (0..PURCHASE_LOCKS).map(|_| Arc::default()).collect();
        Self { place, purchases, claims: Arc::default() }
    }

    /// The file, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Memory(_) => None,
            Place::File(path) => Some(path),
        }
    }

    /// The payments, the latest last: those of the last 24 hours, and up to 1,000 older ones.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub fn payments(&self) -> Result<Vec<PaymentRecord>, StoreError> {
        self.look(|contents| contents.payments().to_vec())
    }

    /// The credentials, without their secrets.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub fn credentials(&self) -> Result<Vec<KeptCredential>, StoreError> {
        let kept = |(origin, credential): (&str, &Credential)| KeptCredential {
            origin: origin.to_owned(),
            scope: credential.scope.clone(),
            is_paid: credential.is_paid(),
            balance: credential.balance,
        };
        self.look(|contents| contents.origins().map(kept).collect())
    }

    /// The credentials of an origin, bought last first.
    pub(crate) fn load(&self, origin: &str) -> Result<Vec<Credential>, StoreError> {
        self.look(|contents| contents.credentials(origin).to_vec())
    }

    /// The first of these credentials that this call may show.
    pub(crate) fn first_usable<'a>(
        &self,
        origin: &str,
        credentials: impl IntoIterator<Item = &'a Credential>,
    ) -> Result<Option<Usable>, StoreError> {
        for credential in credentials {
            let Some(usable) = self.usable(credential.clone())? else { continue };
            // Whoever had it before has perhaps used it up since it was read.
            if !credential.is_single_use() || self.load(origin)?.contains(credential) {
                return Ok(Some(usable));
            }
        }
        Ok(None)
    }

    /// A credential for this call; `None` while it is another one's.
    pub(crate) fn usable(&self, credential: Credential) -> Result<Option<Usable>, StoreError> {
        if credential.is_single_use() {
            return self.claim(credential);
        }
        let usable = !self.is_claimed(&credential)?;
        Ok(usable.then_some(Usable { credential, _claim: None }))
    }

    /// A credential for this call alone; `None` while it is another one's.
    pub(crate) fn claim(&self, credential: Credential) -> Result<Option<Usable>, StoreError> {
        let Some(payment) = credential.payment_hash() else { return Ok(None) };
        let claim = Claim::try_new(&self.claims, self.path(), payment);
        let claim = claim.map_err(|source| self.claims_fault(source))?;
        Ok(claim.map(|claim| Usable { credential, _claim: Some(claim) }))
    }

    /// Waits until the call that bought this credential was served by it, or long enough. Whoever
    /// came first would else leave nothing to the one that paid.
    pub(crate) async fn after_first_use(
        &self,
        credential: Credential,
    ) -> Result<Usable, StoreError> {
        let begun = Instant::now();
        while self.is_claimed(&credential)? && begun.elapsed() < FIRST_USE_MAX {
            tokio::time::sleep(FIRST_USE_POLL).await;
        }
        Ok(Usable { credential, _claim: None })
    }

    fn is_claimed(&self, credential: &Credential) -> Result<bool, StoreError> {
        let Some(payment) = credential.payment_hash() else { return Ok(false) };
        let exists = Claim::exists(&self.claims, self.path(), payment);
        exists.map_err(|source| self.claims_fault(source))
    }

    fn claims_fault(&self, source: io::Error) -> StoreError {
        StoreError::Io { path: self.path().map(Path::to_owned).unwrap_or_default(), source }
    }

    /// Writes the intent to pay down, if the budget allows it. After this returns, a crash at
    /// any point leaves enough behind to take the purchase up again.
    pub(crate) fn begin(
        &self,
        purchase: &Purchase,
        challenge: &Challenge,
        budget: &Budget,
    ) -> Result<Result<Credential, OverBudget>, StoreError> {
        self.change(|contents| {
            let begun = contents.begin(purchase, challenge, budget);
            let is_news = begun.is_ok();
            (begun, is_news)
        })
    }

    /// Keeps the proof, and forgets the tokens that it succeeds.
    pub(crate) fn settle(
        &self,
        origin: &str,
        paid: &Credential,
        fee: Msat,
        succeeded: &[Token],
    ) -> Result<(), StoreError> {
        self.change(|contents| {
            contents.settle(origin, paid, fee, succeeded);
            ((), true)
        })
    }

    /// Forgets a purchase of which it is certain that nothing was paid.
    pub(crate) fn abandon(&self, origin: &str, pending: &Credential) -> Result<(), StoreError> {
        self.change(|contents| {
            contents.abandon(origin, pending);
            ((), true)
        })
    }

    /// Forgets a credential that is used up.
    pub(crate) fn forget(&self, origin: &str, token: &Token) -> Result<(), StoreError> {
        self.change(|contents| {
            contents.forget(origin, token);
            ((), true)
        })
    }

    /// Remembers where a credential served and what is left of it.
    pub(crate) fn served(
        &self,
        origin: &str,
        token: &Token,
        path: &str,
        balance: Option<Msat>,
    ) -> Result<(), StoreError> {
        self.change(|contents| ((), contents.served(origin, token, path, balance)))
    }

    /// Waits until nobody else buys the same thing, in this process or another one.
    pub(crate) async fn purchase(
        &self,
        origin: &str,
        scope: &str,
    ) -> Result<PurchaseLock, StoreError> {
        let mut hasher = DefaultHasher::new();
        (origin, scope).hash(&mut hasher);
        let slot = usize::try_from(hasher.finish() % PURCHASE_LOCKS as u64).unwrap_or_default();
        // One waiting thread for each lock at most, however many calls wait.
        let in_process = match self.purchases.get(slot) {
            Some(lock) => Arc::clone(lock).lock_owned().await,
            None => Arc::<tokio::sync::Mutex<()>>::default().lock_owned().await,
        };
        let between_processes = match &self.place {
            Place::Memory(_) => None,
            Place::File(path) => {
                let file = path.clone();
                let ending = format!("buying-{slot}.lock");
                let locked = tokio::task::spawn_blocking(move || file::lock(&file, &ending)).await;
                let locked = locked.unwrap_or_else(|error| Err(io::Error::other(error)));
                Some(locked.map_err(|source| StoreError::Io { path: path.clone(), source })?)
            }
        };
        Ok(PurchaseLock { _in_process: in_process, _between_processes: between_processes })
    }

    fn look<T>(&self, look: impl FnOnce(&Contents) -> T) -> Result<T, StoreError> {
        match &self.place {
            Place::Memory(contents) => {
                Ok(look(&contents.lock().unwrap_or_else(PoisonError::into_inner)))
            }
            Place::File(path) => Ok(look(&read(path)?)),
        }
    }

    /// Changes the contents in one step; they are written only if the change says so.
    fn change<T>(&self, change: impl FnOnce(&mut Contents) -> (T, bool)) -> Result<T, StoreError> {
        let path = match &self.place {
            Place::Memory(contents) => {
                return Ok(change(&mut contents.lock().unwrap_or_else(PoisonError::into_inner)).0);
            }
            Place::File(path) => path,
        };
        let fault = |source| StoreError::Io { path: path.clone(), source };
        let _lock = file::lock(path, "lock").map_err(fault)?;
        let mut contents = read(path)?;
        let (answer, is_news) = change(&mut contents);
        if is_news {
            let json = serde_json::to_vec_pretty(&contents).map_err(|error| fault(error.into()))?;
            file::replace(path, &json).map_err(fault)?;
        }
        Ok(answer)
    }
}

fn read(path: &Path) -> Result<Contents, StoreError> {
    match file::read(path) {
        Ok(None) => Ok(Contents::default()),
        Ok(Some(json)) => Contents::from_json(&json)
            .ok_or_else(|| StoreError::Malformed { path: path.to_owned() }),
        Err(source) => Err(StoreError::Io { path: path.to_owned(), source }),
    }
}
