//! The file that names the owner's wallets.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Settings;
use crate::store::file;

const VERSION: u32 = 1;
/// The most characters of a wallet's name.
const NAME_CHARS_MAX: usize = 40;

/// A file of wallets, with their credentials; readable by its owner alone.
#[derive(Clone, Debug)]
pub struct WalletBook {
    path: PathBuf,
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wallets {
    version: u32,
    /// The one that pays where none is named.
    pub default: Option<String>,
    /// All of them, by name.
    pub wallets: BTreeMap<String, Settings>,
}

/// Why the wallets cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The environment does not say where the file belongs.
    #[error("expected XDG_CONFIG_HOME or HOME to name the folder for wallets, but found neither")]
    NoHome,
    /// The file or its folder cannot be used.
    #[error("the wallets at {} cannot be used: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not one of ours.
    #[error("expected wallets at {}, but found something else; move the file away", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The name could not be typed in a shell.
    #[error("expected a name of 1 to {NAME_CHARS_MAX} letters, digits, - and _, but found {0:?}")]
    BadName(String),
    /// There is one of this name already.
    #[error("there is a wallet named {0} already; remove it first, or choose another name")]
    Taken(String),
    /// There is none of this name.
    #[error("there is no wallet named {0}; `tollway wallet list` shows those that are there")]
    Unknown(String),
}

impl Default for Wallets {
    fn default() -> Self {
        Self { version: VERSION, default: None, wallets: BTreeMap::new() }
    }
}

impl WalletBook {
    /// Wallets in this file.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Wallets in `tollway/wallets.json` below `$XDG_CONFIG_HOME` or `~/.config`. `env` looks an
    /// environment variable up.
    ///
    /// # Errors
    /// [`BookError::NoHome`] when the environment names neither.
    pub fn in_config_folder(env: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, BookError> {
        let absolute = |name| env(name).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".config")))
            .ok_or(BookError::NoHome)?;
        Ok(Self::at(config.join("tollway/wallets.json")))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All wallets.
    ///
    /// # Errors
    /// [`BookError`] when they cannot be read.
    pub fn load(&self) -> Result<Wallets, BookError> {
        let path = || self.path.clone();
        match file::read(&self.path) {
            Ok(None) => Ok(Wallets::default()),
            Ok(Some(json)) => serde_json::from_slice::<Wallets>(&json)
                .ok()
                .filter(|wallets| wallets.version == VERSION)
                .ok_or_else(|| BookError::Malformed { path: path() }),
            Err(source) => Err(BookError::Io { path: path(), source }),
        }
    }

    /// The wallet of this name, or the default one.
    ///
    /// # Errors
    /// [`BookError::Unknown`], or what [`Self::load`] meets.
    pub fn find(&self, name: Option<&str>) -> Result<Option<Settings>, BookError> {
        let mut wallets = self.load()?;
        let Some(name) = name.or(wallets.default.as_deref()).map(str::to_owned) else {
            return Ok(None);
        };
        wallets.wallets.remove(&name).map(Some).ok_or(BookError::Unknown(name))
    }

    /// Adds a wallet. The first one becomes the default, and any one that says so.
    ///
    /// # Errors
    /// [`BookError`] for a bad or taken name, or a file that cannot be written.
    pub fn add(&self, name: &str, settings: Settings, default: bool) -> Result<(), BookError> {
        let fits = (1..=NAME_CHARS_MAX).contains(&name.len());
        if !fits || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            return Err(BookError::BadName(name.chars().take(NAME_CHARS_MAX).collect()));
        }
        self.change(|wallets| {
            if wallets.wallets.contains_key(name) {
                return Err(BookError::Taken(name.to_owned()));
            }
            wallets.wallets.insert(name.to_owned(), settings);
            if default || wallets.default.is_none() {
                wallets.default = Some(name.to_owned());
            }
            Ok(())
        })
    }

    /// Forgets a wallet and its credential.
    ///
    /// # Errors
    /// [`BookError::Unknown`], or a file that cannot be written.
    pub fn remove(&self, name: &str) -> Result<(), BookError> {
        self.change(|wallets| {
            let gone = wallets.wallets.remove(name);
            gone.ok_or_else(|| BookError::Unknown(name.to_owned()))?;
            if wallets.default.as_deref() == Some(name) {
                wallets.default = None;
            }
            Ok(())
        })
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Wallets) -> Result<(), BookError>,
    ) -> Result<(), BookError> {
        let fault = |source| BookError::Io { path: self.path.clone(), source };
        let _lock = file::lock(&self.path, "lock").map_err(fault)?;
        let mut wallets = self.load()?;
        change(&mut wallets)?;
        let json = serde_json::to_vec_pretty(&wallets).map_err(|error| fault(error.into()))?;
        file::replace(&self.path, &json).map_err(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Secret;
    use super::*;

    fn lnbits() -> Settings {
        Settings::Lnbits { url: "http://a".into(), key: Secret::new("canary") }
    }

    #[test]
    fn keeps_wallets_privately_and_knows_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let book = WalletBook::at(folder.path().join("a/wallets.json"));
        assert_eq!(book.find(None).unwrap(), None);
        book.add("one", lnbits(), false).unwrap();
        book.add("two", Settings::Simulated { url: "http://b".into() }, false).unwrap();
        assert_eq!(book.find(None).unwrap(), Some(lnbits()));
        assert_eq!(book.find(Some("two")).unwrap().unwrap().kind(), "simulated");
        assert!(matches!(book.find(Some("three")), Err(BookError::Unknown(_))));
        assert!(matches!(book.add("one", lnbits(), true), Err(BookError::Taken(_))));
        book.remove("one").unwrap();
        assert_eq!(book.find(None).unwrap(), None);
        book.add("three", lnbits(), true).unwrap();
        assert_eq!(book.load().unwrap().default.as_deref(), Some("three"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(book.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(!format!("{:?}", book.load().unwrap()).contains("canary"));
    }

    #[test]
    fn err_name_and_foreign_file() {
        let folder = tempfile::tempdir().unwrap();
        let book = WalletBook::at(folder.path().join("wallets.json"));
        for name in ["", "a b", "../x", "ä", &"a".repeat(41)] {
            assert!(
                matches!(book.add(name, lnbits(), false), Err(BookError::BadName(_))),
                "{name}"
            );
        }
        std::fs::write(book.path(), "{}").unwrap();
        assert!(matches!(book.load(), Err(BookError::Malformed { .. })));
    }
}
