-- One engine decides for all stores, so the tables are those of every store: an account is
-- named by the payment hash that opened it, everywhere, and its entries are numbered within it.
-- Amounts are integer msat, times are Unix times in ms, hashes are 32 bytes.

ALTER TABLE accounts RENAME TO old_accounts;
ALTER TABLE invoices RENAME TO old_invoices;
ALTER TABLE holds RENAME TO old_holds;
ALTER TABLE postings RENAME TO old_postings;
ALTER TABLE entries RENAME TO old_entries;
ALTER TABLE master_keys RENAME TO old_master_keys;
DROP INDEX open_holds_by_expiry;
DROP INDEX one_credit_per_invoice;
DROP INDEX entries_by_account;
DROP TRIGGER entries_are_never_changed;
DROP TRIGGER entries_are_never_deleted;

-- The sums repeat what entries, open holds, tranches and postings say; `tollwayd audit`
-- recomputes all of them. A row exists once something was credited.
CREATE TABLE accounts (
    account        BLOB    NOT NULL PRIMARY KEY CHECK (length(account) = 32),
    balance_msat   INTEGER NOT NULL CHECK (balance_msat BETWEEN 0 AND 9007199254740991),
    held_msat      INTEGER NOT NULL CHECK (held_msat BETWEEN 0 AND balance_msat),
    tranched_msat  INTEGER NOT NULL CHECK (tranched_msat BETWEEN 0 AND balance_msat),
    debt_msat      INTEGER NOT NULL CHECK (debt_msat BETWEEN 0 AND 9007199254740991),
    charged_msat   INTEGER NOT NULL CHECK (charged_msat BETWEEN 0 AND 9007199254740991),
    refunded_msat  INTEGER NOT NULL CHECK (refunded_msat BETWEEN 0 AND charged_msat),
    entries        INTEGER NOT NULL CHECK (entries >= 0),
    opened_at_ms   INTEGER NOT NULL,
    revoked_at_ms  INTEGER
) STRICT, WITHOUT ROWID;

-- A settled invoice is never deleted: it is the proof that its payment was credited.
CREATE TABLE invoices (
    payment_hash   BLOB    NOT NULL PRIMARY KEY CHECK (length(payment_hash) = 32),
    account        BLOB    NOT NULL CHECK (length(account) = 32),
    amount_msat    INTEGER NOT NULL CHECK (amount_msat BETWEEN 1 AND 9007199254740991),
    credit_msat    INTEGER NOT NULL CHECK (credit_msat BETWEEN amount_msat AND 9007199254740991),
    seed_msat      INTEGER NOT NULL CHECK (seed_msat BETWEEN 0 AND 9007199254740991),
    credit_ttl_ms  INTEGER CHECK (credit_ttl_ms > 0),
    route          TEXT    NOT NULL,
    bolt11         TEXT    NOT NULL,
    client         BLOB    CHECK (length(client) = 32),
    offer          BLOB    CHECK (length(offer) = 32),
    created_at_ms  INTEGER NOT NULL,
    expires_at_ms  INTEGER NOT NULL,
    settled_at_ms  INTEGER,
    received_msat  INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX open_invoices_by_offer ON invoices (offer)
    WHERE settled_at_ms IS NULL AND offer IS NOT NULL;
CREATE INDEX open_invoices_by_client ON invoices (client, expires_at_ms)
    WHERE settled_at_ms IS NULL AND client IS NOT NULL;
CREATE INDEX open_invoices_by_expiry ON invoices (expires_at_ms) WHERE settled_at_ms IS NULL;
CREATE INDEX top_ups_by_account ON invoices (account) WHERE account <> payment_hash;

-- Ids come from the filter and are ordered by time, so the table grows at one end.
CREATE TABLE holds (
    id                      BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    account                 BLOB    NOT NULL REFERENCES accounts (account),
    payment_hash            BLOB    NOT NULL CHECK (length(payment_hash) = 32),
    min_msat                INTEGER NOT NULL CHECK (min_msat BETWEEN 0 AND asked_msat),
    asked_msat              INTEGER NOT NULL CHECK (asked_msat BETWEEN 1 AND 9007199254740991),
    granted_msat            INTEGER NOT NULL CHECK (granted_msat BETWEEN 1 AND asked_msat),
    amount_msat             INTEGER NOT NULL
        CHECK (amount_msat BETWEEN granted_msat AND 9007199254740991),
    posted_msat             INTEGER NOT NULL CHECK (posted_msat BETWEEN 0 AND amount_msat),
    ttl_ms                  INTEGER NOT NULL CHECK (ttl_ms > 0),
    route                   TEXT    NOT NULL,
    state                   TEXT    NOT NULL CHECK (state IN ('open', 'released', 'expired')),
    opened_at_ms            INTEGER NOT NULL,
    expires_at_ms           INTEGER NOT NULL,
    extension_seq           INTEGER CHECK (extension_seq BETWEEN 0 AND 4294967295),
    extension_msat          INTEGER,
    extension_ttl_ms        INTEGER,
    extension_granted_msat  INTEGER,
    once_key                BLOB    CHECK (length(once_key) = 32)
) STRICT, WITHOUT ROWID;

-- The sweeper looks for the open hold that expires first.
CREATE INDEX open_holds_by_expiry ON holds (expires_at_ms) WHERE state = 'open';

CREATE TABLE postings (
    hold_id       BLOB    NOT NULL REFERENCES holds (id),
    seq           INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    account       BLOB    NOT NULL CHECK (length(account) = 32),
    amount_msat   INTEGER NOT NULL CHECK (amount_msat BETWEEN 0 AND 9007199254740991),
    charged_msat  INTEGER NOT NULL CHECK (charged_msat BETWEEN 0 AND amount_msat),
    debt_msat     INTEGER NOT NULL CHECK (debt_msat BETWEEN 0 AND amount_msat),
    route         TEXT    NOT NULL,
    release       INTEGER NOT NULL CHECK (release IN (0, 1)),
    over_run      TEXT    NOT NULL,
    posted_at_ms  INTEGER NOT NULL,
    PRIMARY KEY (hold_id, seq)
) STRICT, WITHOUT ROWID;

-- The journal. Append-only; the entries of one account lie together and are numbered from 1.
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
        OR (kind = 'charge' AND amount_msat < 0 AND hold_id IS NOT NULL AND seq IS NOT NULL)
        OR (kind IN ('repayment', 'expiry') AND amount_msat < 0)
        OR (kind IN ('refund', 'grant') AND amount_msat > 0 AND action IS NOT NULL)
    )
) STRICT, WITHOUT ROWID;

-- One payment credits once, whatever path reports it first.
CREATE UNIQUE INDEX one_credit_per_invoice ON entries (payment_hash) WHERE kind = 'credit';

-- Credit that expires, numbered as the entry that brought it.
CREATE TABLE tranches (
    account         BLOB    NOT NULL REFERENCES accounts (account),
    n               INTEGER NOT NULL,
    remaining_msat  INTEGER NOT NULL CHECK (remaining_msat BETWEEN 0 AND 9007199254740991),
    expires_at_ms   INTEGER NOT NULL,
    due_at_ms       INTEGER NOT NULL,
    PRIMARY KEY (account, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX open_tranches_by_due ON tranches (due_at_ms) WHERE remaining_msat > 0;

-- Requests with an idempotency key.
CREATE TABLE once (
    account        BLOB    NOT NULL CHECK (length(account) = 32),
    key            BLOB    NOT NULL CHECK (length(key) = 32),
    fingerprint    BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    hold_id        BLOB    NOT NULL REFERENCES holds (id),
    -- JSON with a body of at most 16 KiB in base64.
    response       BLOB    CHECK (length(response) <= 24576),
    expires_at_ms  INTEGER NOT NULL,
    PRIMARY KEY (account, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX once_by_expiry ON once (expires_at_ms);

-- Free tiers. A client is a keyed hash; the secrets of past days are deleted.
CREATE TABLE allowances (
    client      BLOB    NOT NULL PRIMARY KEY CHECK (length(client) = 32),
    used        INTEGER NOT NULL CHECK (used >= 0),
    ends_at_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX allowances_by_end ON allowances (ends_at_ms);

CREATE TABLE day_secrets (
    day     INTEGER PRIMARY KEY,
    secret  BLOB    NOT NULL CHECK (length(secret) = 32)
) STRICT;

-- The key with the highest id mints; all that are not retired verify.
CREATE TABLE master_keys (
    id             INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 4294967295),
    secret         BLOB    NOT NULL CHECK (length(secret) = 32),
    created_at_ms  INTEGER NOT NULL,
    retired_at_ms  INTEGER
) STRICT;

-- What operators did. Append-only.
CREATE TABLE actions (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind         TEXT    NOT NULL,
    actor        TEXT    NOT NULL,
    reason       TEXT    NOT NULL,
    subject      BLOB,
    account      BLOB,
    amount_msat  INTEGER,
    key_id       INTEGER,
    at_ms        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX actions_by_time ON actions (at_ms);

-- How far the followers of the node's events have come.
CREATE TABLE cursors (
    name      TEXT    NOT NULL PRIMARY KEY,
    position  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO accounts
SELECT a.payment_hash, a.balance_msat, a.held_msat, 0, 0,
       coalesce((SELECT -sum(e.amount_msat) FROM old_entries e
                 WHERE e.account_id = a.id AND e.kind = 'charge'), 0),
       0, (SELECT count(*) FROM old_entries e WHERE e.account_id = a.id), a.opened_at_ms, NULL
FROM old_accounts a
WHERE EXISTS (SELECT 1 FROM old_entries e WHERE e.account_id = a.id);

INSERT INTO invoices
SELECT i.payment_hash, a.payment_hash, i.amount_msat, i.amount_msat, 0, NULL, i.route, i.bolt11,
       NULL, NULL, i.created_at_ms, i.expires_at_ms, i.settled_at_ms, NULL
FROM old_invoices i JOIN old_accounts a ON a.id = i.account_id;

INSERT INTO holds
SELECT h.id, a.payment_hash, h.payment_hash, h.amount_msat, h.amount_msat, h.amount_msat,
       h.amount_msat, h.posted_msat, h.ttl_ms, h.route, h.state, h.opened_at_ms, h.expires_at_ms,
       NULL, NULL, NULL, NULL, NULL
FROM old_holds h JOIN old_accounts a ON a.id = h.account_id;

INSERT INTO postings
SELECT p.hold_id, p.seq, h.account, p.amount_msat, p.amount_msat, 0, p.route, p.release,
       'cap', p.posted_at_ms
FROM old_postings p JOIN holds h ON h.id = p.hold_id;

INSERT INTO entries
SELECT a.payment_hash, row_number() OVER (PARTITION BY e.account_id ORDER BY e.id), e.kind,
       e.amount_msat, e.payment_hash, e.hold_id, e.seq, coalesce(i.route, p.route), NULL, e.at_ms
FROM old_entries e JOIN old_accounts a ON a.id = e.account_id
LEFT JOIN old_invoices i ON i.payment_hash = e.payment_hash
LEFT JOIN old_postings p ON p.hold_id = e.hold_id AND p.seq = e.seq;

INSERT INTO master_keys SELECT id, secret, created_at_ms, NULL FROM old_master_keys;

DROP TABLE old_entries;
DROP TABLE old_postings;
DROP TABLE old_holds;
DROP TABLE old_invoices;
DROP TABLE old_accounts;
DROP TABLE old_master_keys;

CREATE TRIGGER entries_are_never_changed BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER actions_are_never_changed BEFORE UPDATE ON actions
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER actions_are_never_deleted BEFORE DELETE ON actions
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
