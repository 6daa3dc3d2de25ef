//! Statements that both databases understand, made from the declarations of the rows.

mod checks;

use tollway_core::wire::{REVOKED_TOKENS_MAX, WINDOW_SECONDS_MAX};

use super::engine::allowances::DAY_MS;
use super::rows::Row;
use super::rows::field::Value;
pub(super) use checks::CHECKS;

/// How long an unpaid invoice is kept after its end, for a payment that is reported late.
pub(super) const UNPAID_KEPT_MS: u64 = 7 * DAY_MS;
/// The same for one that was sold with a coupon, which waits for somebody else meanwhile. What is
/// paid and reported later still is credited with its terms, from the node.
pub(super) const RESERVED_KEPT_MS: u64 = 3_600_000;
/// How long news are kept after they were sent, or given up.
pub(super) const NEWS_KEPT_MS: u64 = 7 * DAY_MS;
/// Rows that one pruning deletes of one table.
const PRUNED_ROWS_MAX: u64 = 5_000;
/// Days whose secrets are kept: the longest window, and the day on which it ends.
pub(super) const DAY_SECRETS_KEPT: u64 = WINDOW_SECONDS_MAX / 86_400 + 1;
/// Clients whose free tier is remembered. Beyond it those whose window ends first are
/// forgotten, which gives them a new one: a flood of addresses locks nobody out.
const ALLOWANCES_MAX: u64 = 500_000;

/// The columns of a table, as a list.
pub(super) fn columns<R: Row>() -> String {
    let names: Vec<&str> = R::COLUMNS.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// The columns of a table's key.
pub(super) fn key_columns<R: Row>() -> impl Iterator<Item = &'static str> {
    R::COLUMNS.iter().take(R::KEY_COLUMNS).map(|(name, _)| *name)
}

/// Rows of the statements that insert: the largest first, and in the end one.
pub(super) const ROWS_PER_INSERT: [usize; 4] = [32, 8, 2, 1];

/// Some columns of a table: the lowest bit stands for its first column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Columns(u64);

impl Columns {
    /// The columns at which this holds.
    pub(super) fn where_so(so: impl Iterator<Item = bool>) -> Self {
        Self(so.zip(0..u64::BITS).fold(0, |bits, (so, at)| bits | u64::from(so) << at))
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The items that stand at these columns.
    pub(super) fn of<T>(self, items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        items.zip(0..u64::BITS).filter(move |(_, at)| self.0 >> at & 1 == 1).map(|(item, _)| item)
    }

    fn names<R: Row>(self) -> Vec<&'static str> {
        const { assert!(R::COLUMNS.len() <= u64::BITS as usize, "a bit for every column") }
        self.of(R::COLUMNS.iter().map(|(name, _)| *name)).collect()
    }
}

/// Finds the row with a key.
pub(super) fn select_one<R: Row>() -> String {
    let key: Vec<String> = key_columns::<R>().map(|name| format!("{name} = ?")).collect();
    format!("SELECT {} FROM {} WHERE {}", columns::<R>(), R::TABLE, key.join(" AND "))
}

/// Inserts so many rows that have nothing in the other columns.
pub(super) fn insert<R: Row>(filled: Columns, rows: usize) -> String {
    let names = filled.names::<R>();
    let slots = vec![format!("({})", vec!["?"; names.len()].join(", ")); rows].join(", ");
    let (names, conflict) = (names.join(", "), on_conflict::<R>());
    format!("INSERT INTO {} ({names}) VALUES {slots}{conflict}", R::TABLE)
}

/// Sets these columns of the row with a key, which comes after them.
pub(super) fn update<R: Row>(changed: Columns) -> String {
    let equal = |names: Vec<&str>, between| {
        let equal: Vec<String> = names.iter().map(|name| format!("{name} = ?")).collect();
        equal.join(between)
    };
    let (rest, key) = (changed.names::<R>(), key_columns::<R>().collect());
    format!("UPDATE {} SET {} WHERE {}", R::TABLE, equal(rest, ", "), equal(key, " AND "))
}

/// What an insertion does where the key is there already; without words it fails.
pub(super) fn on_conflict<R: Row>() -> &'static str {
    match R::TABLE {
        // Its only row is written again and again.
        "probe" => " ON CONFLICT (id) DO UPDATE SET at_ms = excluded.at_ms",
        "totals" => {
            " ON CONFLICT (slot, route, kind) DO UPDATE SET
                 times = totals.times + excluded.times,
                 amount_msat = totals.amount_msat + excluded.amount_msat"
        }
        _ => "",
    }
}

/// Deletions of what nobody needs any more.
pub(super) fn pruning(now_ms: u64) -> [(&'static str, Vec<Value<'static>>); 10] {
    let int = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    [
        (
            "DELETE FROM invoices WHERE settled_at_ms IS NULL AND payment_hash IN
               (SELECT payment_hash FROM invoices
                WHERE settled_at_ms IS NULL AND revoked_at_ms IS NULL AND expires_at_ms < $1
                ORDER BY expires_at_ms LIMIT $2)",
            vec![int(now_ms.saturating_sub(UNPAID_KEPT_MS)), int(PRUNED_ROWS_MAX)],
        ),
        (
            // What was taken of the coupon goes back in the same statement, by a trigger.
            "DELETE FROM invoices WHERE settled_at_ms IS NULL AND payment_hash IN
               (SELECT payment_hash FROM invoices
                WHERE settled_at_ms IS NULL AND coupon IS NOT NULL AND revoked_at_ms IS NULL
                AND expires_at_ms < $1
                ORDER BY expires_at_ms LIMIT $2)",
            vec![int(now_ms.saturating_sub(RESERVED_KEPT_MS)), int(PRUNED_ROWS_MAX)],
        ),
        (
            "DELETE FROM once WHERE (account, key) IN
               (SELECT account, key FROM once WHERE expires_at_ms <= $1
                ORDER BY expires_at_ms LIMIT $2)",
            vec![int(now_ms), int(PRUNED_ROWS_MAX)],
        ),
        (
            "DELETE FROM allowances WHERE client IN
               (SELECT client FROM allowances WHERE ends_at_ms <= $1
                ORDER BY ends_at_ms LIMIT $2)",
            vec![int(now_ms), int(PRUNED_ROWS_MAX)],
        ),
        (
            "DELETE FROM allowances WHERE client IN
               (SELECT client FROM allowances ORDER BY ends_at_ms DESC LIMIT $1 OFFSET $2)",
            vec![int(PRUNED_ROWS_MAX), int(ALLOWANCES_MAX)],
        ),
        (
            // What an open hold counts in, or leads to, is needed when the hold ends.
            "DELETE FROM budgets WHERE id IN
               (SELECT id FROM budgets b WHERE needed_until_ms <= $1
                AND NOT EXISTS (SELECT 1 FROM holds WHERE budget = b.id AND state = 'open')
                AND NOT EXISTS (SELECT 1 FROM budgets WHERE parent = b.id)
                ORDER BY needed_until_ms LIMIT $2)",
            vec![int(now_ms), int(PRUNED_ROWS_MAX)],
        ),
        ("DELETE FROM certificates WHERE expires_at_ms <= $1", vec![int(now_ms)]),
        (
            // A payout stays, as all records of money do.
            "DELETE FROM outbox WHERE state <> 'open' AND id IN
               (SELECT id FROM outbox WHERE kind = 'webhook' AND state <> 'open'
                AND due_at_ms < $1 ORDER BY due_at_ms LIMIT $2)",
            vec![int(now_ms.saturating_sub(NEWS_KEPT_MS)), int(PRUNED_ROWS_MAX)],
        ),
        (
            // The index is of those that are not settled, and has to be told.
            "DELETE FROM transfers WHERE id IN
               (SELECT id FROM transfers
                WHERE state <> 'settled' AND state IN ('reserved', 'refused')
                AND until_ms <= $1 ORDER BY until_ms LIMIT $2)",
            vec![int(now_ms.saturating_sub(DAY_MS)), int(PRUNED_ROWS_MAX)],
        ),
        (
            // A window may have begun under an older secret.
            "DELETE FROM day_secrets WHERE day < $1",
            vec![int((now_ms / DAY_MS).saturating_sub(DAY_SECRETS_KEPT))],
        ),
    ]
}

/// The newest revoked tokens, by themselves or with their accounts: those that opened an account,
/// the last revoked first, then those that topped one up. Only the former can be sessions, and
/// none may be crowded out.
pub(super) fn revoked() -> String {
    // CROSS JOIN: SQLite, which knows nothing of sizes, would begin with all paid invoices.
    format!(
        "WITH newest AS
           (SELECT account, revoked_at_ms FROM accounts WHERE revoked_at_ms IS NOT NULL
            ORDER BY revoked_at_ms DESC, account LIMIT {REVOKED_TOKENS_MAX})
         SELECT token FROM
           (SELECT account AS token, revoked_at_ms, 0 AS tops_up FROM newest
            UNION ALL
            SELECT i.payment_hash, n.revoked_at_ms, 1 FROM newest n
            CROSS JOIN invoices i
            WHERE i.account = n.account AND i.account <> i.payment_hash
                AND i.settled_at_ms IS NOT NULL
            UNION ALL
            SELECT payment_hash, revoked_at_ms,
                CASE WHEN account = payment_hash THEN 0 ELSE 1 END
            FROM invoices WHERE revoked_at_ms IS NOT NULL) tokens
         GROUP BY token
         ORDER BY min(tops_up), max(revoked_at_ms) DESC, token LIMIT {REVOKED_TOKENS_MAX}"
    )
}

/// What is due for a receiver: `$1` the kind, `$2` its name, `$3` the time, `$4` how many.
pub(super) const DELIVERIES_DUE: &str = "kind = $1 AND target = $2 AND state = 'open'
    AND due_at_ms <= $3 ORDER BY due_at_ms LIMIT $4";

/// What is open at the time `$1`: unpaid invoices, holds, and what these set aside. Each has an
/// index of its own, which is as small as what is open.
pub(super) const OPEN: &str = "SELECT
    (SELECT count(*) FROM invoices WHERE settled_at_ms IS NULL AND expires_at_ms > $1),
    (SELECT count(*) FROM holds WHERE state = 'open'),
    (SELECT CAST(coalesce(sum(amount_msat - taken_back_msat - posted_msat), 0) AS BIGINT)
     FROM holds
     WHERE state = 'open')";
