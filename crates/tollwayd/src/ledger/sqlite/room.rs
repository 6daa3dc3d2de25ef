//! Room at the end of the write-ahead log.
//!
//! A flush of a file that has grown writes the file system's own journal as well, which about
//! doubles its time. So the log is grown before it is needed, by many pages at once: SQLite writes
//! over the zeros, and takes what it has not written for the end of the log.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The log grows by as much as it has, rounded up to pieces: a quiet ledger's stays small.
const PIECE: usize = 64 * 1_024;
const PIECES_MAX: u64 = 64;
static ZEROS: [u8; PIECE] = [0; PIECE];
/// The file is looked at once in so many transactions. Linux gives a file that was looked at an
/// exact time with its next change, and without a journal a flush then writes that as well.
const TRANSACTIONS_PER_LOOK: u32 = 16;

/// The log's file.
#[derive(Debug)]
pub(super) struct LogRoom {
    file: File,
    /// The file's length as it was left. Another length means that SQLite needed more, or began
    /// the file anew.
    bytes: u64,
    /// Transactions until the next look.
    transactions: u32,
}

impl LogRoom {
    /// Room for the log of this database; `None` if it cannot be opened.
    pub(super) fn open(database: &Path) -> Option<Self> {
        let mut name = database.as_os_str().to_owned();
        name.push("-wal");
        let file = OpenOptions::new().write(true).open(Path::new(&name));
        let file = file.inspect_err(|error| tracing::warn!(%error, "the log gets no room"));
        Some(Self { file: file.ok()?, bytes: 0, transactions: 0 })
    }

    /// Makes room where there may be none. Only within a transaction that writes: then nobody
    /// else appends.
    pub(super) fn keep(&mut self) -> io::Result<()> {
        if self.transactions > 0 {
            self.transactions -= 1;
            return Ok(());
        }
        self.transactions = TRANSACTIONS_PER_LOOK - 1;
        let bytes = self.file.metadata()?.len();
        if bytes != self.bytes {
            let piece = ZEROS.len() as u64;
            for n in 0..bytes.div_ceil(piece).clamp(1, PIECES_MAX) {
                self.file.write_all_at(&ZEROS, bytes.saturating_add(n * piece))?;
            }
            self.bytes = self.file.metadata()?.len();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_has_grown_gets_room_and_keeps_what_it_has() {
        let directory = tempfile::tempdir().unwrap();
        let (database, log) = (directory.path().join("l.db"), directory.path().join("l.db-wal"));
        assert!(LogRoom::open(&database).is_none(), "no log is made where there is none");
        std::fs::write(&log, "frames").unwrap();
        let mut room = LogRoom::open(&database).unwrap();
        let look = |room: &mut LogRoom| {
            (0..TRANSACTIONS_PER_LOOK).for_each(|_| room.keep().unwrap());
        };
        look(&mut room);
        look(&mut room);
        let content = std::fs::read(&log).unwrap();
        assert_eq!(content.len(), "frames".len() + PIECE);
        assert!(content.starts_with(b"frames\0"));
        std::fs::write(&log, vec![1; 3 * PIECE]).unwrap();
        look(&mut room);
        let content = std::fs::read(&log).unwrap();
        assert_eq!(content.len(), 6 * PIECE);
        assert!(content[..3 * PIECE].iter().all(|byte| *byte == 1));
        std::fs::write(&log, "").unwrap();
        look(&mut room);
        assert_eq!(std::fs::read(&log).unwrap(), ZEROS);
    }
}
