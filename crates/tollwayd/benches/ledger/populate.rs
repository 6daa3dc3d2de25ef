//! A store with a past: accounts that bought once and spent four times.
//!
//! Written straight into the tables, in the order of their keys; the audit agrees with it.

use rusqlite::{Connection, params};
use tollway_core::id::HoldId;
use tollway_core::payment::Preimage;

use crate::doors::Store;
use crate::load::{CREDIT_MSAT, Load, Proof};

const AT_MS: i64 = 1_700_000_000_000;
const CHARGES: u32 = 4;
const CHARGE_MSAT: i64 = 1_000;
const AMOUNT_MSAT: i64 = CREDIT_MSAT.cast_signed();

/// What the product would have counted.
const TOTALS: &str = "DELETE FROM totals; INSERT INTO totals
    SELECT 0, route, kind, count(*), sum(amount_msat) FROM entries GROUP BY route, kind
    UNION ALL SELECT 0, route, 'challenge', count(*), 0 FROM invoices GROUP BY route
    UNION ALL SELECT 0, route, 'request', count(*), 0 FROM postings GROUP BY route
    UNION ALL SELECT 0, '', 'account', count(*), 0 FROM accounts
    UNION ALL SELECT 0, '', 'payer', count(*), 0 FROM accounts";

/// Fills an empty store; gives a proof for every account, in no order of their names.
pub(crate) fn fill(store: &Store, accounts: usize) -> Vec<Proof> {
    // The product makes the tables.
    Load::open(store).close();
    let mut proofs = Vec::with_capacity(accounts);
    let mut rows = Vec::with_capacity(accounts);
    for number in 0..accounts as u64 {
        let mut bytes = [0xb5; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let preimage = Preimage::from_bytes(bytes);
        let hash = preimage.payment_hash();
        rows.push((*hash.as_bytes(), number));
        proofs.push(Proof { payment_hash: hash.to_hex(), preimage: preimage.reveal_hex() });
    }
    rows.sort_unstable();
    let connection = Connection::open(store.path()).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF; BEGIN").unwrap();
    insert_accounts(&connection, &rows);
    insert_holds(&connection, &mut rows);
    connection.execute_batch(TOTALS).unwrap();
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(connection);
    // What the kernel would write later would meet what is measured.
    std::fs::File::open(store.path()).and_then(|file| file.sync_all()).unwrap();
    proofs
}

fn insert_accounts(connection: &Connection, rows: &[([u8; 32], u64)]) {
    let spent = i64::from(CHARGES) * CHARGE_MSAT;
    let mut account = connection
        .prepare(
            "INSERT INTO accounts (account, balance_msat, held_msat, tranched_msat, debt_msat,
                 charged_msat, refunded_msat, entries, opened_at_ms)
             VALUES (?1, ?2, 0, 0, 0, ?3, 0, ?4, ?5)",
        )
        .unwrap();
    let mut invoice = connection
        .prepare(
            "INSERT INTO invoices (payment_hash, account, amount_msat, credit_msat, seed_msat,
                 route, bolt11, created_at_ms, expires_at_ms, settled_at_ms)
             VALUES (?1, ?1, ?2, ?2, 0, 'bench', 'lnbcrt', ?3, ?3, ?3)",
        )
        .unwrap();
    let mut credit = connection
        .prepare(
            "INSERT INTO entries (account, n, kind, amount_msat, payment_hash, route, at_ms)
             VALUES (?1, 1, 'credit', ?2, ?1, 'bench', ?3)",
        )
        .unwrap();
    let mut charge = connection
        .prepare(
            "INSERT INTO entries (account, n, kind, amount_msat, hold_id, seq, route, at_ms)
             VALUES (?1, ?2, 'charge', ?3, ?4, ?5, 'bench', ?6)",
        )
        .unwrap();
    for (hash, number) in rows {
        let entries = CHARGES + 1;
        account.execute(params![hash, AMOUNT_MSAT - spent, spent, entries, AT_MS]).unwrap();
        invoice.execute(params![hash, AMOUNT_MSAT, AT_MS]).unwrap();
        credit.execute(params![hash, AMOUNT_MSAT, AT_MS]).unwrap();
        for seq in 0..CHARGES {
            let hold = hold_id(*number);
            charge.execute(params![hash, seq + 2, -CHARGE_MSAT, hold, seq, AT_MS]).unwrap();
        }
    }
}

/// One hold of every account, whose postings are its charges.
fn insert_holds(connection: &Connection, rows: &mut [([u8; 32], u64)]) {
    let spent = i64::from(CHARGES) * CHARGE_MSAT;
    let mut hold = connection
        .prepare(
            "INSERT INTO holds (id, account, payment_hash, min_msat, asked_msat, granted_msat,
                 amount_msat, posted_msat, ttl_ms, route, state, opened_at_ms, expires_at_ms)
             VALUES (?1, ?2, ?2, ?3, ?3, ?3, ?3, ?3, 1000, 'bench', 'released', ?4, ?4)",
        )
        .unwrap();
    let mut posting = connection
        .prepare(
            "INSERT INTO postings (hold_id, seq, account, amount_msat, charged_msat, debt_msat,
                 route, release, over_run, posted_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?4, 0, 'bench', ?5, 'cap', ?6)",
        )
        .unwrap();
    rows.sort_unstable_by_key(|(_, number)| *number);
    for (hash, number) in &*rows {
        let id = hold_id(*number);
        hold.execute(params![id, hash, spent, AT_MS]).unwrap();
        for seq in 0..CHARGES {
            let last = seq + 1 == CHARGES;
            posting.execute(params![id, seq, hash, CHARGE_MSAT, last, AT_MS]).unwrap();
        }
    }
}

fn hold_id(number: u64) -> [u8; 16] {
    let mut random = [0; 10];
    random[2..10].copy_from_slice(&number.to_be_bytes());
    *HoldId::mint(AT_MS.cast_unsigned() + number, random).as_bytes()
}
