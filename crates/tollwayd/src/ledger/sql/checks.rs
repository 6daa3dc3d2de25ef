//! What the audit compares, in SQL.

/// One comparison of the audit: a query that yields only the rows that differ, as account name,
/// subject, claimed, recorded.
pub(in crate::ledger) struct Check {
    pub(in crate::ledger) name: &'static str,
    pub(in crate::ledger) sql: &'static str,
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
pub(in crate::ledger) const CHECKS: &[Check] = &[
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
        name: "moved credit of a session against its deposits",
        sql: "SELECT lower(hex(d.payment_hash)), NULL, coalesce(e.total, 0), d.moved
              FROM (SELECT payment_hash,
                           CASE WHEN session = payment_hash
                                THEN deposited_msat - amount_msat - coalesce(returned_msat, 0)
                                ELSE -amount_msat END AS moved FROM deposits) d
              LEFT JOIN (SELECT account, CAST(sum(amount_msat) AS BIGINT) AS total FROM entries
                         WHERE kind = 'moved' GROUP BY account) e ON e.account = d.payment_hash
              WHERE coalesce(e.total, 0) <> d.moved",
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
        name: "used of a stock against its invoices and holds",
        sql: "SELECT '', s.name, s.used, coalesce(i.total, 0) + coalesce(h.total, 0)
              FROM stocks s
              LEFT JOIN (SELECT coupon, count(*) AS total FROM invoices
                         WHERE coupon IS NOT NULL GROUP BY coupon) i ON i.coupon = s.id
              LEFT JOIN (SELECT o.id, count(*) AS total FROM holds h
                         JOIN stocks o ON o.id = h.stock AND h.opened_at_ms >= o.began_at_ms
                         WHERE h.state = 'open' OR h.posted_msat > 0 GROUP BY o.id) h
                ON h.id = s.id
              WHERE s.used <> coalesce(i.total, 0) + coalesce(h.total, 0)",
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
