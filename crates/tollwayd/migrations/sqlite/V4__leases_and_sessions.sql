-- What leases and sessions need.

-- The least that the last extension asked for; nothing where that was all of it.
ALTER TABLE holds ADD COLUMN extension_min_msat INTEGER;
-- What the hold gave up for others of its account.
ALTER TABLE holds ADD COLUMN taken_back_msat INTEGER NOT NULL DEFAULT 0
    CHECK (taken_back_msat BETWEEN 0 AND amount_msat - posted_msat);

ALTER TABLE invoices ADD COLUMN buys TEXT NOT NULL DEFAULT 'credit'
    CHECK (buys IN ('credit', 'session'));

-- A lease posts for many requests at once.
ALTER TABLE postings ADD COLUMN requests INTEGER NOT NULL DEFAULT 1
    CHECK (requests BETWEEN 1 AND 4294967295);
INSERT INTO totals (slot, route, kind, times, amount_msat)
SELECT 0, route, 'request', count(*), 0 FROM postings
WHERE charged_msat > 0 OR debt_msat > 0 GROUP BY route;

-- Every gate asks for the newest revocations, every few seconds.
CREATE INDEX revoked_accounts ON accounts (revoked_at_ms) WHERE revoked_at_ms IS NOT NULL;

-- The journal has a kind more, and SQLite changes a CHECK only with its table.
DROP TRIGGER entries_are_never_changed;
DROP TRIGGER entries_are_never_deleted;
DROP INDEX one_credit_per_invoice;
ALTER TABLE entries RENAME TO old_entries;

CREATE TABLE entries (
    account       BLOB    NOT NULL REFERENCES accounts (account),
    n             INTEGER NOT NULL CHECK (n >= 1),
    kind          TEXT    NOT NULL,
    -- Positive for what came in.
    amount_msat   INTEGER NOT NULL,
    payment_hash  BLOB,
    hold_id       BLOB,
    seq           INTEGER,
    route         TEXT,
    action        BLOB,
    at_ms         INTEGER NOT NULL,
    PRIMARY KEY (account, n),
    CHECK (
        (kind IN ('credit', 'bonus', 'seed') AND amount_msat > 0 AND payment_hash IS NOT NULL)
        OR (kind = 'session' AND amount_msat < 0 AND payment_hash IS NOT NULL)
        OR (kind = 'charge' AND amount_msat < 0 AND hold_id IS NOT NULL AND seq IS NOT NULL)
        OR (kind IN ('repayment', 'expiry') AND amount_msat < 0)
        OR (kind IN ('refund', 'grant') AND amount_msat > 0 AND action IS NOT NULL)
    )
) STRICT, WITHOUT ROWID;

INSERT INTO entries
SELECT account, n, kind, amount_msat, payment_hash, hold_id, seq, route, action, at_ms
FROM old_entries;
DROP TABLE old_entries;

-- One payment credits once, whatever path reports it first.
CREATE UNIQUE INDEX one_credit_per_invoice ON entries (payment_hash) WHERE kind = 'credit';
CREATE TRIGGER entries_are_never_changed BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
