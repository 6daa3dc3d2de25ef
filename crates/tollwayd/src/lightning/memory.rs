//! What the simulated node remembers: a file of its own, as a real node has its own database.
//!
//! One JSON object per line, only ever appended, so that several processes may share the file
//! and `kill -9` costs none of it. It is not the ledger's: who restores the ledger leaves it
//! alone. Nothing is ever removed, and a look-up reads all of it; for demos and tests both will
//! do.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

/// The file.
#[derive(Clone, Debug)]
pub(super) struct Memory(PathBuf);

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Made {
        payment_hash: PaymentHash,
        bolt11: String,
        note: String,
    },
    Paid {
        payment_hash: PaymentHash,
        received_msat: Msat,
    },
    /// An invoice of somebody else was paid.
    Sent {
        payment_hash: PaymentHash,
    },
}

/// What the lines say of one payment hash.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Remembered {
    /// The invoice and its note.
    pub(super) made: Option<(String, String)>,
    pub(super) received: Option<Msat>,
    pub(super) sent: bool,
}

impl Memory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Adds a line in one write. It begins with a line end as well, so that half a line, left
    /// where the disk was full, spoils no other.
    pub(super) fn append(&self, line: &Line) -> io::Result<()> {
        let text = format!("\n{}\n", serde_json::to_string(line)?);
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.0)?;
        file.write_all(text.as_bytes())
    }

    /// Reads everything that is said of this payment hash.
    pub(super) fn find(&self, hash: &PaymentHash) -> io::Result<Remembered> {
        let mut found = Remembered::default();
        let file = match File::open(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
            file => file?,
        };
        for line in BufReader::new(file).split(b'\n') {
            match serde_json::from_slice(&line?) {
                Ok(Line::Made { payment_hash, bolt11, note }) if payment_hash == *hash => {
                    found.made = Some((bolt11, note));
                }
                Ok(Line::Paid { payment_hash, received_msat }) if payment_hash == *hash => {
                    found.received = Some(received_msat);
                }
                Ok(Line::Sent { payment_hash }) if payment_hash == *hash => found.sent = true,
                // Of another payment, empty, or half.
                _ => {}
            }
        }
        Ok(found)
    }
}
