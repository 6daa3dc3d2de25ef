//! Statements that both databases understand, made from the declarations of the rows.

use tollway_core::wire::{REVOKED_TOKENS_MAX, WINDOW_SECONDS_MAX};

use super::engine::allowances::DAY_MS;
use super::rows::Row;
use super::rows::field::Value;

/// How long an unpaid invoice is kept after its end, for a payment that is reported late.
pub(super) const UNPAID_KEPT_MS: u64 = 7 * DAY_MS;
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

/// Rows of a statement that inserts many.
pub(super) const ROWS_PER_INSERT: usize = 16;

/// What moves rows of a table, with numbered parameters in the order of the columns.
pub(super) struct Statements {
    /// The row with a key.
    pub(super) select: String,
    pub(super) insert: String,
    /// [`ROWS_PER_INSERT`] rows.
    pub(super) insert_many: String,
    /// Sets every column of the row with a key.
    pub(super) update: String,
}

impl Statements {
    pub(super) fn of<R: Row>() -> Self {
        let (table, columns) = (R::TABLE, columns::<R>());
        let insert = |rows: usize| {
            let slots = vec![format!("({})", vec!["?"; R::COLUMNS.len()].join(", ")); rows];
            let (slots, conflict) = (slots.join(", "), on_conflict::<R>());
            format!("INSERT INTO {table} ({columns}) VALUES {slots}{conflict}")
        };
        let equal: Vec<String> =
            R::COLUMNS.iter().zip(1..).map(|((name, _), at)| format!("{name} = ?{at}")).collect();
        let (key, rest) = equal.split_at(R::KEY_COLUMNS);
        let (key, rest) = (key.join(" AND "), rest.join(", "));
        Self {
            select: format!("SELECT {columns} FROM {table} WHERE {key}"),
            insert: insert(1),
            insert_many: insert(ROWS_PER_INSERT),
            update: format!("UPDATE {table} SET {rest} WHERE {key}"),
        }
    }
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
pub(super) fn pruning(now_ms: u64) -> [(&'static str, Vec<Value<'static>>); 9] {
    let int = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    [
        (
            "DELETE FROM invoices WHERE settled_at_ms IS NULL AND payment_hash IN
               (SELECT payment_hash FROM invoices
                WHERE settled_at_ms IS NULL AND expires_at_ms < $1
                ORDER BY expires_at_ms LIMIT $2)",
            vec![int(now_ms.saturating_sub(UNPAID_KEPT_MS)), int(PRUNED_ROWS_MAX)],
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
            "DELETE FROM transfers WHERE id IN
               (SELECT id FROM transfers WHERE state IN ('reserved', 'refused')
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

/// The newest tokens of revoked accounts: those that opened one, the last revoked first, then
/// those that topped one up. Only the former can be sessions, and none may be crowded out.
pub(super) fn revoked() -> String {
    format!(
        "WITH newest AS
           (SELECT account, revoked_at_ms FROM accounts WHERE revoked_at_ms IS NOT NULL
            ORDER BY revoked_at_ms DESC, account LIMIT {REVOKED_TOKENS_MAX})
         SELECT token FROM
           (SELECT account AS token, revoked_at_ms, 0 AS tops_up FROM newest
            UNION ALL
            SELECT i.payment_hash, n.revoked_at_ms, 1 FROM newest n
            JOIN invoices i ON i.account = n.account AND i.account <> i.payment_hash
            WHERE i.settled_at_ms IS NOT NULL) tokens
         ORDER BY tops_up, revoked_at_ms DESC, token LIMIT {REVOKED_TOKENS_MAX}"
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

/// One comparison of the audit: a query that yields only the rows that differ, as account name,
/// subject, claimed, recorded.
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

/// Compares a column of the totals with what they count. Free requests leave no record of their
/// own.
macro_rules! totals_check {
    ($column:literal) => {
        concat!(
            "SELECT '', u.kind || ' of route ''' || u.route || '''',
                    CAST(sum(u.claimed) AS BIGINT), CAST(sum(u.recorded) AS BIGINT)
             FROM (SELECT route, kind, ",
            $column,
            " AS claimed, CAST(0 AS BIGINT) AS recorded FROM totals
                   WHERE kind NOT IN ('challenge', 'free')
                   UNION ALL SELECT r.route, r.kind, CAST(0 AS BIGINT), r.",
            $column,
            " FROM (SELECT coalesce(route, '') AS route, kind, count(*) AS times,
                           CAST(sum(amount_msat) AS BIGINT) AS amount_msat
                    FROM entries GROUP BY 1, 2
                    UNION ALL SELECT '', 'account', count(*), CAST(0 AS BIGINT) FROM accounts
                    WHERE entries > 0
                    UNION ALL SELECT '', 'payer', count(*), CAST(0 AS BIGINT) FROM accounts
                    WHERE charged_msat > 0
                    UNION ALL SELECT h.route, 'void', count(*), CAST(0 AS BIGINT) FROM holds h
                    JOIN postings p ON p.hold_id = h.id AND p.release = 1 AND p.route = h.route
                    WHERE h.state = 'released' AND h.posted_msat = 0 GROUP BY h.route
                    UNION ALL SELECT route, 'request', CAST(sum(requests) AS BIGINT),
                    CAST(0 AS BIGINT) FROM postings
                    WHERE charged_msat > 0 OR debt_msat > 0 GROUP BY route
                    UNION ALL SELECT route, 'debt', count(*), CAST(sum(debt_msat) AS BIGINT)
                    FROM postings WHERE debt_msat > 0 GROUP BY route) r) u
             GROUP BY u.kind, u.route HAVING sum(u.claimed) <> sum(u.recorded)"
        )
    };
}

/// The audit trusts entries, postings, holds and tranches, and compares everything that repeats
/// them.
pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "balance_msat against the sum of entries",
        sql: "SELECT lower(hex(a.account)), NULL, a.balance_msat, coalesce(e.total, 0)
              FROM accounts a
              LEFT JOIN (SELECT account, CAST(sum(amount_msat) AS BIGINT) AS total FROM entries
                         GROUP BY account) e ON e.account = a.account
              WHERE a.balance_msat <> coalesce(e.total, 0)",
    },
    Check {
        name: "entries of an account against their numbers",
        sql: "SELECT lower(hex(a.account)), NULL, a.entries, coalesce(e.total, 0)
              FROM accounts a
              LEFT JOIN (SELECT account, count(*) AS total, max(n) AS last FROM entries
                         GROUP BY account) e ON e.account = a.account
              WHERE a.entries <> coalesce(e.total, 0) OR a.entries <> coalesce(e.last, 0)",
    },
    Check {
        name: "held_msat against the open holds",
        sql: "SELECT lower(hex(a.account)), NULL, a.held_msat, coalesce(h.total, 0)
              FROM accounts a
              LEFT JOIN (SELECT account,
                                CAST(sum(amount_msat - taken_back_msat - posted_msat) AS BIGINT)
                                AS total
                         FROM holds WHERE state = 'open' GROUP BY account) h
                ON h.account = a.account
              WHERE a.held_msat <> coalesce(h.total, 0)",
    },
    Check {
        name: "tranched_msat against the tranches",
        sql: "SELECT lower(hex(a.account)), NULL, a.tranched_msat, coalesce(t.total, 0)
              FROM accounts a
              LEFT JOIN (SELECT account, CAST(sum(remaining_msat) AS BIGINT) AS total
                         FROM tranches GROUP BY account) t ON t.account = a.account
              WHERE a.tranched_msat <> coalesce(t.total, 0)",
    },
    Check {
        name: "debt_msat against the postings and repayments",
        sql: "SELECT lower(hex(a.account)), NULL, a.debt_msat,
                     coalesce(p.total, 0) + coalesce(e.total, 0)
              FROM accounts a
              LEFT JOIN (SELECT account, CAST(sum(debt_msat) AS BIGINT) AS total FROM postings
                         GROUP BY account) p ON p.account = a.account
              LEFT JOIN (SELECT account, CAST(sum(amount_msat) AS BIGINT) AS total FROM entries
                         WHERE kind = 'repayment' GROUP BY account) e ON e.account = a.account
              WHERE a.debt_msat <> coalesce(p.total, 0) + coalesce(e.total, 0)",
    },
    Check {
        name: "charged_msat against the charges, repayments and sessions",
        sql: "SELECT lower(hex(a.account)), NULL, a.charged_msat, -coalesce(e.total, 0)
              FROM accounts a
              LEFT JOIN (SELECT account, CAST(sum(amount_msat) AS BIGINT) AS total FROM entries
                         WHERE kind IN ('charge', 'repayment', 'session') GROUP BY account) e
                ON e.account = a.account
              WHERE a.charged_msat <> -coalesce(e.total, 0)",
    },
    Check {
        name: "refunded_msat against the refunds",
        sql: "SELECT lower(hex(a.account)), NULL, a.refunded_msat, coalesce(e.total, 0)
              FROM accounts a
              LEFT JOIN (SELECT account, CAST(sum(amount_msat) AS BIGINT) AS total FROM entries
                         WHERE kind = 'refund' GROUP BY account) e ON e.account = a.account
              WHERE a.refunded_msat <> coalesce(e.total, 0)",
    },
    Check {
        name: "available credit below zero",
        sql: "SELECT lower(hex(a.account)), NULL, a.balance_msat - a.held_msat, 0 FROM accounts a
              WHERE a.balance_msat < a.held_msat OR a.held_msat < 0",
    },
    Check {
        name: "credit entries of an invoice against its settlement",
        sql: "SELECT lower(hex(i.account)), 'invoice ' || lower(hex(i.payment_hash)), coalesce(e.credits, 0),
                     CASE WHEN i.settled_at_ms IS NULL THEN 0 ELSE 1 END
              FROM invoices i
              LEFT JOIN (SELECT account, payment_hash, count(*) AS credits FROM entries
                         WHERE kind = 'credit' GROUP BY account, payment_hash) e
                ON e.payment_hash = i.payment_hash AND e.account = i.account
              WHERE coalesce(e.credits, 0)
                    <> CASE WHEN i.settled_at_ms IS NULL THEN 0 ELSE 1 END",
    },
    Check {
        name: "credited amount against the invoice's",
        sql: "SELECT lower(hex(e.account)), 'invoice ' || lower(hex(e.payment_hash)), e.amount_msat,
                     CASE WHEN i.amount_msat IS NULL THEN 0
                          WHEN i.received_msat > i.amount_msat THEN i.received_msat
                          ELSE i.amount_msat END
              FROM entries e
              LEFT JOIN invoices i
                ON i.payment_hash = e.payment_hash AND i.account = e.account
              WHERE e.kind = 'credit' AND e.amount_msat <>
                     CASE WHEN i.amount_msat IS NULL THEN 0
                          WHEN i.received_msat > i.amount_msat THEN i.received_msat
                          ELSE i.amount_msat END",
    },
    Check {
        name: "session entries of a payment against what it bought",
        sql: "SELECT lower(hex(e.account)), 'invoice ' || lower(hex(e.payment_hash)), e.sessions,
                     CASE WHEN i.buys = 'session' THEN e.credits ELSE 0 END
              FROM (SELECT account, payment_hash,
                           CAST(-sum(CASE WHEN kind = 'session' THEN amount_msat ELSE 0 END)
                                AS BIGINT) AS sessions,
                           CAST(sum(CASE WHEN kind = 'session' THEN 0 ELSE amount_msat END)
                                AS BIGINT) AS credits
                    FROM entries WHERE kind IN ('credit', 'bonus', 'seed', 'session')
                    GROUP BY account, payment_hash) e
              LEFT JOIN invoices i
                ON i.payment_hash = e.payment_hash AND i.account = e.account
              WHERE e.sessions <> CASE WHEN i.buys = 'session' THEN e.credits ELSE 0 END",
    },
    Check {
        name: "posted_msat of a hold against its postings",
        sql: "SELECT lower(hex(h.account)), 'hold ' || lower(hex(h.id)), h.posted_msat, coalesce(p.total, 0)
              FROM holds h
              LEFT JOIN (SELECT hold_id, CAST(sum(charged_msat) AS BIGINT) AS total
                         FROM postings GROUP BY hold_id) p ON p.hold_id = h.id
              WHERE h.posted_msat <> coalesce(p.total, 0)",
    },
    Check {
        name: "postings of a hold above its amount",
        sql: "SELECT lower(hex(h.account)), 'hold ' || lower(hex(h.id)), p.total,
                     h.amount_msat - h.taken_back_msat
              FROM holds h
              JOIN (SELECT hold_id, CAST(sum(charged_msat) AS BIGINT) AS total FROM postings
                    GROUP BY hold_id) p ON p.hold_id = h.id
              WHERE p.total > h.amount_msat - h.taken_back_msat",
    },
    Check {
        name: "charge entries of a posting against its amount",
        sql: "SELECT lower(hex(p.account)), 'hold ' || lower(hex(p.hold_id)) || ' seq ' || p.seq,
                     coalesce(e.total, 0), p.charged_msat
              FROM postings p
              LEFT JOIN (SELECT account, hold_id, seq, CAST(-sum(amount_msat) AS BIGINT) AS total
                         FROM entries WHERE kind = 'charge' GROUP BY account, hold_id, seq) e
                ON e.hold_id = p.hold_id AND e.seq = p.seq AND e.account = p.account
              WHERE coalesce(e.total, 0) <> p.charged_msat",
    },
    Check {
        name: "a charge entry without its posting",
        sql: "SELECT lower(hex(e.account)), 'hold ' || lower(hex(e.hold_id)) || ' seq ' || e.seq,
                     -e.amount_msat, CAST(0 AS BIGINT)
              FROM entries e
              LEFT JOIN postings p ON p.hold_id = e.hold_id AND p.seq = e.seq
              WHERE e.kind = 'charge' AND p.hold_id IS NULL",
    },
    Check {
        name: "a refund or grant against the audit log",
        sql: "SELECT lower(hex(e.account)), 'action ' || lower(hex(e.action)), e.amount_msat,
                     coalesce(a.amount_msat, 0)
              FROM entries e LEFT JOIN actions a ON a.id = e.action AND a.kind = e.kind
              WHERE e.kind IN ('refund', 'grant')
                AND e.amount_msat <> coalesce(a.amount_msat, 0)",
    },
    Check {
        name: "used_msat of a budget against its holds",
        sql: "WITH RECURSIVE chain (leaf, id) AS
                (SELECT id, id FROM budgets
                 UNION SELECT c.leaf, b.parent FROM chain c JOIN budgets b ON b.id = c.id
                 WHERE b.parent IS NOT NULL)
              SELECT lower(hex(b.account)), 'budget ' || lower(hex(b.id)), b.used_msat,
                     coalesce(h.total, 0)
              FROM budgets b
              LEFT JOIN (SELECT o.id, CAST(sum(
                             CASE WHEN h.state = 'open' THEN h.amount_msat - h.taken_back_msat
                                  ELSE h.posted_msat END) AS BIGINT) AS total
                         FROM holds h
                         JOIN chain c ON c.leaf = h.budget
                         JOIN budgets o ON o.id = c.id AND h.budget_at_ms >= o.began_at_ms
                         GROUP BY o.id) h ON h.id = b.id
              WHERE b.used_msat <> coalesce(h.total, 0)",
    },
    Check {
        name: "times of a route's total against its records",
        sql: totals_check!("times"),
    },
    Check {
        name: "amount_msat of a route's total against its records",
        sql: totals_check!("amount_msat"),
    },
    Check {
        // Unpaid invoices are deleted one day, so that there may be fewer.
        name: "challenges of a route below its invoices",
        sql: "SELECT '', 'challenge of route ''' || i.route || '''', coalesce(t.times, 0), i.times
              FROM (SELECT route, count(*) AS times FROM invoices GROUP BY route) i
              LEFT JOIN (SELECT route, CAST(sum(times) AS BIGINT) AS times FROM totals
                         WHERE kind = 'challenge' GROUP BY route) t ON t.route = i.route
              WHERE coalesce(t.times, 0) < i.times",
    },
];
