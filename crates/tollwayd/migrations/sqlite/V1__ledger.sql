-- The ledger. Amounts are integer msat, times are Unix times in ms, hashes are 32 bytes.
-- balance_msat and held_msat of an account repeat what entries and open holds say, so that a
-- hold is one indexed update; `tollwayd audit` recomputes both.

CREATE TABLE accounts (
    id            INTEGER PRIMARY KEY,
    -- The payment hash whose invoice opened the account is its public name.
    payment_hash  BLOB    NOT NULL UNIQUE CHECK (length(payment_hash) = 32),
    balance_msat  INTEGER NOT NULL DEFAULT 0 CHECK (balance_msat BETWEEN 0 AND 9007199254740991),
    held_msat     INTEGER NOT NULL DEFAULT 0 CHECK (held_msat BETWEEN 0 AND balance_msat),
    opened_at_ms  INTEGER NOT NULL
) STRICT;

CREATE TABLE invoices (
    payment_hash   BLOB    NOT NULL PRIMARY KEY CHECK (length(payment_hash) = 32),
    account_id     INTEGER NOT NULL REFERENCES accounts (id),
    amount_msat    INTEGER NOT NULL CHECK (amount_msat BETWEEN 1 AND 9007199254740991),
    route          TEXT    NOT NULL,
    bolt11         TEXT    NOT NULL,
    created_at_ms  INTEGER NOT NULL,
    expires_at_ms  INTEGER NOT NULL,
    settled_at_ms  INTEGER
) STRICT, WITHOUT ROWID;

-- Ids come from the filter and are ordered by time, so the table grows at one end.
CREATE TABLE holds (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    account_id     INTEGER NOT NULL REFERENCES accounts (id),
    payment_hash   BLOB    NOT NULL REFERENCES invoices (payment_hash),
    amount_msat    INTEGER NOT NULL CHECK (amount_msat BETWEEN 1 AND 9007199254740991),
    posted_msat    INTEGER NOT NULL DEFAULT 0 CHECK (posted_msat BETWEEN 0 AND amount_msat),
    ttl_ms         INTEGER NOT NULL CHECK (ttl_ms > 0),
    route          TEXT    NOT NULL,
    state          TEXT    NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'released', 'expired')),
    opened_at_ms   INTEGER NOT NULL,
    expires_at_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The sweeper looks for the open hold that expires first.
CREATE INDEX open_holds_by_expiry ON holds (expires_at_ms) WHERE state = 'open';

CREATE TABLE postings (
    hold_id       BLOB    NOT NULL REFERENCES holds (id),
    seq           INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    amount_msat   INTEGER NOT NULL CHECK (amount_msat BETWEEN 0 AND 9007199254740991),
    route         TEXT    NOT NULL,
    release       INTEGER NOT NULL CHECK (release IN (0, 1)),
    posted_at_ms  INTEGER NOT NULL,
    PRIMARY KEY (hold_id, seq)
) STRICT, WITHOUT ROWID;

-- The journal: what came in (a settled invoice) and what was charged (a posting). Append-only.
CREATE TABLE entries (
    id            INTEGER PRIMARY KEY,
    account_id    INTEGER NOT NULL REFERENCES accounts (id),
    kind          TEXT    NOT NULL CHECK (kind IN ('credit', 'charge')),
    -- Positive for a credit, negative for a charge.
    amount_msat   INTEGER NOT NULL,
    payment_hash  BLOB    REFERENCES invoices (payment_hash),
    hold_id       BLOB,
    seq           INTEGER,
    at_ms         INTEGER NOT NULL,
    FOREIGN KEY (hold_id, seq) REFERENCES postings (hold_id, seq),
    CHECK (
        (kind = 'credit' AND amount_msat > 0 AND payment_hash IS NOT NULL
            AND hold_id IS NULL AND seq IS NULL)
        OR (kind = 'charge' AND amount_msat < 0 AND payment_hash IS NULL
            AND hold_id IS NOT NULL AND seq IS NOT NULL)
    )
) STRICT;

-- One payment credits once, whatever path reports it first.
CREATE UNIQUE INDEX one_credit_per_invoice ON entries (payment_hash) WHERE kind = 'credit';
CREATE INDEX entries_by_account ON entries (account_id);

CREATE TRIGGER entries_are_never_changed BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;

-- The key with the highest id mints; all of them verify.
CREATE TABLE master_keys (
    id             INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 4294967295),
    secret         BLOB    NOT NULL CHECK (length(secret) = 32),
    created_at_ms  INTEGER NOT NULL
) STRICT;

-- The simulated node's secret: preimages and its signing key are derived from it.
CREATE TABLE node_secret (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    secret  BLOB    NOT NULL CHECK (length(secret) = 32)
) STRICT;

-- Written by the readiness probe after a failed commit, to learn whether the disk is back.
CREATE TABLE probe (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    at_ms  INTEGER NOT NULL
) STRICT;
