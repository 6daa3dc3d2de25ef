//! The file that keeps credentials between calls.
//!
//! Credentials are money, so the file is readable by its owner alone, is replaced in one step,
//! and is changed under a lock: two calls at once lose nothing of each other's.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tollway_core::payment::{PaymentHash, Preimage};

use crate::challenge::Challenge;

const VERSION: u32 = 1;
/// The most credentials of one origin; the least recently used one is forgotten first.
const CREDENTIALS_PER_ORIGIN_MAX: usize = 16;

/// Where credentials are kept.
#[derive(Clone, Debug)]
pub struct CredentialStore {
    path: Option<PathBuf>,
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
    #[error("expected credentials at {}, but found something else; move the file away", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// A credential, or one that waits for its payment's proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credential {
    /// The services it opens; see [`Challenge::scope`].
    pub(crate) scope: String,
    /// In base64, as the server wrote it.
    pub(crate) macaroon: String,
    pub(crate) proof: Proof,
}

/// How far the payment is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Proof {
    /// The invoice was handed to the wallet and no answer was seen.
    Invoice(String),
    /// It is paid.
    Preimage(Preimage),
}

impl Credential {
    pub(crate) fn pending(challenge: &Challenge) -> Self {
        let proof = Proof::Invoice(challenge.invoice());
        Self { scope: challenge.scope(), macaroon: challenge.macaroon_text().to_owned(), proof }
    }

    pub(crate) fn paid(challenge: &Challenge, preimage: Preimage) -> Self {
        let proof = Proof::Preimage(preimage);
        Self { scope: challenge.scope(), macaroon: challenge.macaroon_text().to_owned(), proof }
    }

    /// The value of the `Authorization` header, once it is paid.
    pub(crate) fn authorization(&self) -> Option<String> {
        match &self.proof {
            Proof::Invoice(_) => None,
            Proof::Preimage(preimage) => {
                Some(format!("L402 {}:{}", self.macaroon, preimage.reveal_hex()))
            }
        }
    }

    /// The payment that it proves, once it is paid.
    pub(crate) fn payment_hash(&self) -> Option<PaymentHash> {
        match &self.proof {
            Proof::Invoice(_) => None,
            Proof::Preimage(preimage) => Some(preimage.payment_hash()),
        }
    }

    /// The challenge that waits for its payment's proof.
    pub(crate) fn challenge(&self) -> Option<Challenge> {
        match &self.proof {
            Proof::Invoice(invoice) => Challenge::new(&self.macaroon, invoice).ok(),
            Proof::Preimage(_) => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    /// By origin, most recently used first.
    origins: BTreeMap<String, Vec<Credential>>,
}

impl CredentialStore {
    /// Keeps credentials in this file.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self { path: Some(path) }
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

    /// Keeps nothing.
    #[must_use]
    pub const fn nowhere() -> Self {
        Self { path: None }
    }

    /// The file, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The credentials of an origin, most recently used first.
    pub(crate) fn load(&self, origin: &str) -> Result<Vec<Credential>, StoreError> {
        let Some(path) = &self.path else { return Ok(Vec::new()) };
        Ok(read(path)?.origins.remove(origin).unwrap_or_default())
    }

    /// Puts a credential first. It replaces what it is the paid form of, and, once paid, what
    /// it is the successor of.
    pub(crate) fn put(&self, origin: &str, credential: &Credential) -> Result<(), StoreError> {
        let paid = matches!(credential.proof, Proof::Preimage(_));
        self.change(origin, |known| {
            known.retain(|other| {
                let same = other.macaroon == credential.macaroon;
                let succeeded = paid
                    && other.scope == credential.scope
                    && matches!(other.proof, Proof::Preimage(_));
                !same && !succeeded
            });
            known.insert(0, credential.clone());
            known.truncate(CREDENTIALS_PER_ORIGIN_MAX);
        })
    }

    /// Forgets a credential.
    pub(crate) fn remove(&self, origin: &str, credential: &Credential) -> Result<(), StoreError> {
        self.change(origin, |known| known.retain(|other| other.macaroon != credential.macaroon))
    }

    fn change(
        &self,
        origin: &str,
        change: impl FnOnce(&mut Vec<Credential>),
    ) -> Result<(), StoreError> {
        let Some(path) = &self.path else { return Ok(()) };
        let fault = |source| StoreError::Io { path: path.clone(), source };
        let folder = path.parent().unwrap_or(Path::new("."));
        create_private_folder(folder).map_err(fault)?;
        // The lock is its own file, since the credentials' file is replaced. It ends with `lock`.
        let lock = private_file(&path.with_extension("lock"), false).map_err(fault)?;
        lock.lock().map_err(fault)?;
        let mut contents = read(path)?;
        let known = contents.origins.entry(origin.to_owned()).or_default();
        change(known);
        if known.is_empty() {
            contents.origins.remove(origin);
        }
        replace(path, folder, &contents).map_err(fault)
    }
}

fn read(path: &Path) -> Result<Contents, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Contents { version: VERSION, origins: BTreeMap::new() });
        }
        Err(source) => return Err(StoreError::Io { path: path.to_owned(), source }),
    };
    serde_json::from_slice::<Contents>(&bytes)
        .ok()
        .filter(|contents| contents.version == VERSION)
        .ok_or_else(|| StoreError::Malformed { path: path.to_owned() })
}

/// Writes beside the file and renames: a reader sees the old contents or the new ones.
fn replace(path: &Path, folder: &Path, contents: &Contents) -> io::Result<()> {
    let next = path.with_extension("next");
    let mut file = private_file(&next, true)?;
    file.write_all(&serde_json::to_vec_pretty(contents)?)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    // The rename itself must survive a power cut, for a payment follows.
    File::open(folder)?.sync_all()
}

/// Opens a file that only its owner can read.
fn private_file(path: &Path, truncate: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(truncate);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(scope: &str, macaroon: &str, preimage: Option<u8>) -> Credential {
        let proof = match preimage {
            Some(byte) => Proof::Preimage(Preimage::from_bytes([byte; 32])),
            None => Proof::Invoice("lnbcrt1".into()),
        };
        Credential { scope: scope.into(), macaroon: macaroon.into(), proof }
    }

    fn store() -> (tempfile::TempDir, CredentialStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = CredentialStore::at(folder.path().join("a/b/credentials.json"));
        (folder, store)
    }

    #[test]
    fn keeps_credentials_by_origin_most_recent_first() {
        let (_folder, store) = store();
        assert_eq!(store.load("http://a").unwrap(), []);
        let jokes = credential("jokes:0", "m1", Some(1));
        let time = credential("time:0", "m2", Some(2));
        store.put("http://a", &jokes).unwrap();
        store.put("http://a", &time).unwrap();
        store.put("http://b", &jokes).unwrap();
        assert_eq!(store.load("http://a").unwrap(), [time.clone(), jokes.clone()]);
        assert_eq!(store.load("http://b").unwrap(), std::slice::from_ref(&jokes));
        store.put("http://a", &jokes).unwrap();
        assert_eq!(store.load("http://a").unwrap(), [jokes, time]);
    }

    #[test]
    fn a_paid_credential_replaces_its_pending_form_and_its_predecessor() {
        let (_folder, store) = store();
        let old = credential("jokes:0", "m1", Some(1));
        let pending = credential("jokes:0", "m2", None);
        let paid = credential("jokes:0", "m2", Some(2));
        store.put("o", &old).unwrap();
        store.put("o", &pending).unwrap();
        assert_eq!(store.load("o").unwrap(), [pending, old]);
        store.put("o", &paid).unwrap();
        assert_eq!(store.load("o").unwrap(), std::slice::from_ref(&paid));
        store.remove("o", &paid).unwrap();
        assert_eq!(store.load("o").unwrap(), []);
    }

    #[test]
    fn forgets_the_least_recently_used_beyond_the_bound() {
        let (_folder, store) = store();
        for n in 0..=CREDENTIALS_PER_ORIGIN_MAX {
            store.put("o", &credential(&n.to_string(), &n.to_string(), Some(0))).unwrap();
        }
        let kept = store.load("o").unwrap();
        assert_eq!(kept.len(), CREDENTIALS_PER_ORIGIN_MAX);
        assert!(kept.iter().all(|credential| credential.scope != "0"));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, store) = store();
        store.put("o", &credential("", "m", Some(1))).unwrap();
        let path = store.path().unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        let folder = path.parent().unwrap();
        assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn changes_at_the_same_time_lose_nothing() {
        let (_folder, store) = store();
        std::thread::scope(|scope| {
            for n in 0..8_u8 {
                let store = &store;
                scope.spawn(move || {
                    let credential = credential("", &n.to_string(), Some(n));
                    store.put(&format!("http://{n}"), &credential).unwrap();
                });
            }
        });
        for n in 0..8 {
            assert_eq!(store.load(&format!("http://{n}")).unwrap().len(), 1, "{n}");
        }
    }

    #[test]
    fn a_foreign_file_is_refused_and_left_alone() {
        let (_folder, store) = store();
        let path = store.path().unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for text in ["{", "[]", r#"{"version":2,"origins":{}}"#] {
            fs::write(path, text).unwrap();
            assert!(matches!(store.load("o"), Err(StoreError::Malformed { .. })), "{text}");
            let put = store.put("o", &credential("", "m", Some(1)));
            assert!(matches!(put, Err(StoreError::Malformed { .. })), "{text}");
            assert_eq!(fs::read_to_string(path).unwrap(), text);
        }
    }

    #[test]
    fn the_state_folder_follows_the_xdg_specification() {
        let at = |vars: &[(&str, &str)]| {
            let find = |name: &str| {
                vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            };
            CredentialStore::in_state_folder(find).ok().and_then(|store| store.path)
        };
        let xdg = ("XDG_STATE_HOME", "/s");
        let home = ("HOME", "/h");
        assert_eq!(at(&[xdg, home]).unwrap(), Path::new("/s/tollway/credentials.json"));
        assert_eq!(
            at(&[("XDG_STATE_HOME", "s"), home]).unwrap(),
            Path::new("/h/.local/state/tollway/credentials.json")
        );
        assert_eq!(at(&[]), None);
    }

    #[test]
    fn debug_shows_no_preimage() {
        let shown = format!("{:?}", credential("", "m", Some(0x42)));
        assert!(!shown.contains("4242") && shown.contains("redacted"), "{shown}");
    }
}
