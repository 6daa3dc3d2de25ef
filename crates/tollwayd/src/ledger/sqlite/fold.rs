//! Folds the write-ahead log back into the database, beside the writer.
//!
//! Copying a long log's pages and flushing them takes tenths of a second, for which nobody would be
//! served. So a thread with a connection of its own copies most of them while the writer goes on,
//! and the writer copies the few that came meanwhile: only then can the log begin anew.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::{Builder, JoinHandle};

use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};

/// So many times at most the thread copies what came while it copied.
const PASSES: u32 = 4;
/// What is left to the writer is at most such a part of the log.
const LOG_TO_REST: i32 = 16;
/// The log grows to so many times its length while it is copied.
const LOG_TO_LONGEST: i32 = 4;
/// A log that could not begin anew, because somebody read from it, is tried again when it has
/// become longer by such a part.
const LOG_TO_RETRY: i32 = 4;

/// Sees to it that the log of a database begins anew when it has become long.
pub(super) fn keep_short(
    connection: &mut Connection,
    path: &Path,
    database: &Arc<File>,
    pages: i32,
) -> rusqlite::Result<()> {
    let mut folding = Folding::new(path, database, pages);
    connection.wal_hook(Some(move |log: &mut Wal, length| {
        folding.committed(log, length);
        Ok(())
    }))
}

/// Waits for what is under way, and begins nothing more.
pub(super) fn stop(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.wal_hook(None::<fn(&mut Wal, i32) -> rusqlite::Result<()>>)
}

struct Folding {
    path: PathBuf,
    database: Arc<File>,
    /// Pages in the log from which on it is folded.
    pages: i32,
    /// Pages from which on it is folded next.
    next: i32,
    /// Pages in the log after the last commit.
    length: Arc<AtomicI32>,
    thread: Option<JoinHandle<()>>,
}

impl Folding {
    fn new(path: &Path, database: &Arc<File>, pages: i32) -> Self {
        let (path, database) = (path.to_path_buf(), Arc::clone(database));
        Self { path, database, pages, next: pages, length: Arc::default(), thread: None }
    }

    fn committed(&mut self, log: &mut Wal, length: i32) {
        self.length.store(length, Ordering::Relaxed);
        if length < self.pages {
            self.next = self.pages;
        }
        match &self.thread {
            None if length < self.next => {}
            None => match self.start() {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => {
                    tracing::warn!(%error, "the writer folds the log alone");
                    self.finish(log, length);
                }
            },
            Some(thread) if !thread.is_finished() && length < self.pages_max() => {}
            Some(_) => {
                self.join();
                self.finish(log, length);
            }
        }
    }

    /// The log waits for the thread up to here, and then the writer does.
    fn pages_max(&self) -> i32 {
        self.pages.saturating_mul(LOG_TO_LONGEST)
    }

    fn join(&mut self) {
        // A panic there has been printed, and spoils nothing.
        let _ = self.thread.take().map(JoinHandle::join);
    }

    /// Copies what is left. The next transaction begins the log anew, if nobody reads from it.
    fn finish(&mut self, log: &mut Wal, length: i32) {
        if let Err(error) = log.checkpoint() {
            tracing::warn!(%error, "the log was not folded");
        }
        self.next = length.saturating_add(self.pages / LOG_TO_RETRY);
    }

    fn start(&self) -> std::io::Result<JoinHandle<()>> {
        let (path, database) = (self.path.clone(), Arc::clone(&self.database));
        let length = Arc::clone(&self.length);
        let rest = self.pages / LOG_TO_REST;
        Builder::new().name("ledger-folder".to_owned()).spawn(move || {
            if let Err(error) = copy(&path, &database, &length, rest) {
                tracing::warn!(%error, "the writer folds the log alone");
            }
        })
    }
}

impl Drop for Folding {
    /// The connection may close, and the file change hands, only when nobody else is at it.
    fn drop(&mut self) {
        self.join();
    }
}

/// Why the log was not copied.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error("the log cannot be copied: {0}")]
    Copy(#[from] rusqlite::Error),
    #[error("the database cannot be flushed: {0}")]
    Flush(#[from] std::io::Error),
}

/// Copies the log until little is left.
fn copy(path: &Path, database: &File, length: &AtomicI32, rest: i32) -> Result<(), CopyError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    for _ in 0..PASSES {
        let copied: i32 = connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| row.get("checkpointed"))?;
        // SQLite itself flushes the database only when all of the log is in it, which it never is
        // while somebody writes; then the writer would wait for all of it.
        database.sync_data()?;
        if length.load(Ordering::Relaxed) - copied <= rest {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const PAGES: i32 = 200;
    const PATIENCE: Duration = Duration::from_secs(60);

    struct Fixture {
        writer: Connection,
        length: Arc<AtomicI32>,
        rows: i64,
        database: Arc<File>,
        directory: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        fixture_with(|_| None)
    }

    /// With a thread that is at work already; it is told the log's length.
    fn fixture_with(thread: fn(Arc<AtomicI32>) -> Option<JoinHandle<()>>) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l.db");
        let database = Arc::new(File::create_new(&path).unwrap());
        let mut writer = Connection::open(&path).unwrap();
        let table = "PRAGMA journal_mode = WAL; CREATE TABLE rows (n INTEGER, filling BLOB)";
        writer.execute_batch(table).unwrap();
        let mut folding = Folding::new(&path, &database, PAGES);
        let length = Arc::clone(&folding.length);
        folding.thread = thread(Arc::clone(&length));
        let hook = move |log: &mut Wal, length| {
            folding.committed(log, length);
            Ok(())
        };
        writer.wal_hook(Some(hook)).unwrap();
        Fixture { writer, length, rows: 0, database, directory }
    }

    impl Fixture {
        fn write(&mut self) -> i32 {
            self.rows += 1;
            let row = "INSERT INTO rows VALUES (?1, zeroblob(9000))";
            self.writer.execute(row, (self.rows,)).unwrap();
            self.length.load(Ordering::Relaxed)
        }

        /// Writes until the log has begun anew; gives the length it had.
        fn write_until_anew(&mut self) -> i32 {
            let (begun, mut longest) = (Instant::now(), 0);
            loop {
                assert!(begun.elapsed() < PATIENCE, "the log has {longest} pages");
                let length = self.write();
                if length < longest {
                    return longest;
                }
                longest = length;
            }
        }
    }

    #[test]
    fn a_long_log_begins_anew_while_somebody_writes() {
        let mut fixture = fixture();
        for _ in 0..3 {
            assert!(fixture.write_until_anew() >= PAGES);
        }
        stop(&mut fixture.writer).unwrap();
        // What the log began anew after is in the database: without its log it has those rows.
        let copy = fixture.directory.path().join("copy.db");
        std::fs::copy(fixture.directory.path().join("l.db"), &copy).unwrap();
        let copied = Connection::open(&copy).unwrap();
        let count = "SELECT count(*) FROM rows";
        let rows: i64 = copied.query_row(count, (), |row| row.get(0)).unwrap();
        assert!(rows > i64::from(PAGES) / 4 && rows <= fixture.rows, "{rows}");
        let sound: String =
            copied.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        assert!(fixture.database.sync_data().is_ok());
    }

    #[test]
    fn a_log_that_is_read_from_waits_for_its_reader() {
        let mut fixture = fixture();
        fixture.write();
        let reader = Connection::open(fixture.directory.path().join("l.db")).unwrap();
        let count = "SELECT count(*) FROM rows";
        reader.execute_batch("BEGIN").unwrap();
        assert_eq!(reader.query_row(count, (), |row| row.get(0)), Ok(1_i64));
        let mut length = 0;
        while length < 4 * PAGES {
            let now = fixture.write();
            assert!(now > length, "the log began anew under its reader");
            length = now;
        }
        assert_eq!(reader.query_row(count, (), |row| row.get(0)), Ok(1_i64));
        reader.execute_batch("COMMIT").unwrap();
        assert!(fixture.write_until_anew() >= 4 * PAGES);
    }

    #[test]
    fn a_writer_that_is_too_fast_waits_for_the_copy() {
        let mut fixture = fixture_with(|length| {
            Some(std::thread::spawn(move || {
                while length.load(Ordering::Relaxed) < 4 * PAGES {
                    std::thread::yield_now();
                }
                // Time to write much more.
                let reached = Instant::now();
                while reached.elapsed() < Duration::from_millis(100) {
                    std::thread::yield_now();
                }
            }))
        });
        let longest = fixture.write_until_anew();
        assert!((4 * PAGES..5 * PAGES).contains(&longest), "{longest}");
    }
}
