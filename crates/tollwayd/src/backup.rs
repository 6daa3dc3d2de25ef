//! A copy of the ledger's file, taken while a server may be at work.
//!
//! SQLite's online backup reads one moment of the database; writers go on beside it. The copy
//! appears under its name only when it is complete and on disk, readable by its owner alone: it
//! holds the keys. PostgreSQL has its own tools for this.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

/// A writer that folds its log may be in the way for a moment.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
const BUSY_TRIES_MAX: u32 = 200;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// The copy would overwrite something.
    #[error("{0} exists already; name a new file")]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    /// The store is no database, or the disk failed.
    #[error("store.sqlite: cannot copy {path}: {source}")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    /// The store never came to rest.
    #[error("store.sqlite: {0} was busy for too long; try again")]
    Busy(PathBuf),
}

/// Copies the store at `from` into a new file at `to`; gives its size.
///
/// # Errors
/// [`BackupError`]; then nothing is left at `to`.
pub(crate) fn backup(from: &Path, to: &Path) -> Result<u64, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_path_buf()));
    }
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let copied = copy(from, &part).and_then(|()| publish(&part, to));
    if copied.is_err() {
        // What it left is of no use; the first error tells more than a second one.
        let _ = fs::remove_file(&part);
    }
    copied
}

fn copy(from: &Path, part: &Path) -> Result<(), BackupError> {
    let file = |path: &Path| {
        let path = path.to_path_buf();
        move |source| BackupError::File { path, source }
    };
    fs::metadata(from).map_err(file(from))?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(part)
        .map_err(file(part))?;
    let sqlite = |source| BackupError::Sqlite { path: from.to_path_buf(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags).map_err(sqlite)?;
    let mut target = Connection::open(part).map_err(sqlite)?;
    let work = Backup::new(&source, &mut target).map_err(sqlite)?;
    for _ in 0..BUSY_TRIES_MAX {
        // All pages in one step: between steps a writer would make it begin again.
        match work.step(-1).map_err(sqlite)? {
            StepResult::Done => return Ok(()),
            _ => std::thread::sleep(BUSY_PAUSE),
        }
    }
    Err(BackupError::Busy(from.to_path_buf()))
}

fn publish(part: &Path, to: &Path) -> Result<u64, BackupError> {
    let fault = |source| BackupError::File { path: to.to_path_buf(), source };
    let copy = File::open(part).map_err(fault)?;
    copy.sync_all().map_err(fault)?;
    fs::rename(part, to).map_err(fault)?;
    let parent = to.parent().filter(|path| !path.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()).map_err(fault)?;
    Ok(copy.metadata().map_err(fault)?.len())
}
