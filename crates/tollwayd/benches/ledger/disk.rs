//! What the disk does by itself.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

const PAGE: [u8; 4_096] = [0x5a; 4_096];
const PAGES: u64 = 1_000;
const LASTS: Duration = Duration::from_secs(2);

/// Flushes of one page to a file that need not grow.
pub(crate) fn fsyncs_per_s(directory: &Path) -> f64 {
    let mut file = File::create(directory.join("fsync")).unwrap();
    for _ in 0..PAGES {
        file.write_all(&PAGE).unwrap();
    }
    file.sync_all().unwrap();
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < LASTS {
        file.seek(SeekFrom::Start(u64::from(count) % PAGES * PAGE.len() as u64)).unwrap();
        file.write_all(&PAGE).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}
