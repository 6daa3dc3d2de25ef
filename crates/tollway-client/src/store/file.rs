//! The file: private, replaced in one step, changed under a lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;

/// Takes the lock that stands beside the file; it ends with the returned value, and with the
/// process. The lock is its own file, since the file itself is replaced.
pub(crate) fn lock(path: &Path, ending: &str) -> io::Result<File> {
    create_private_folder(folder(path))?;
    let lock = private_file(&path.with_extension(ending), false)?;
    lock.lock()?;
    Ok(lock)
}

/// Takes a lock of its own that its owner removes, unless somebody has it.
pub(super) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    create_private_folder(folder(path))?;
    loop {
        let lock = private_file(path, false)?;
        match lock.try_lock() {
            Ok(()) if is_there(path, &lock)? => return Ok(Some(lock)),
            // Its owner has just removed it: it hinders nobody, so it locks nothing.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether this is the file at the path.
fn is_there(path: &Path, file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let opened = file.metadata()?;
        Ok(match fs::metadata(path) {
            Ok(found) => (found.dev(), found.ino()) == (opened.dev(), opened.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        })
    }
    // Elsewhere an open file cannot be removed.
    #[cfg(not(unix))]
    {
        _ = (path, file);
        Ok(true)
    }
}

/// Writes beside the file and renames: a reader sees the old contents or the new ones.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    create_private_folder(folder(path))?;
    let next = path.with_extension("next");
    let mut file = private_file(&next, true)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    // The rename itself must survive a power cut, for a payment follows.
    File::open(folder(path))?.sync_all()
}

/// The file's contents; `None` where there is no file yet.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
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
