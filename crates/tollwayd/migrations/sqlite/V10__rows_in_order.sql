-- Accounts and invoices lie in the order in which they came, with an index of their own on their
-- random names. Ordered by name, every account that a transaction touches is on a page of its
-- own, and an invoice's text fills the inner pages of its tree. Foreign keys are not enforced
-- while the schema is brought up to date; what it leaves is checked afterwards.

CREATE TABLE new_accounts (
    account        BLOB    NOT NULL PRIMARY KEY CHECK (length(account) = 32),
    balance_msat   INTEGER NOT NULL CHECK (balance_msat BETWEEN 0 AND 9007199254740991),
    held_msat      INTEGER NOT NULL CHECK (held_msat BETWEEN 0 AND balance_msat),
    tranched_msat  INTEGER NOT NULL CHECK (tranched_msat BETWEEN 0 AND balance_msat),
    debt_msat      INTEGER NOT NULL CHECK (debt_msat BETWEEN 0 AND 9007199254740991),
    charged_msat   INTEGER NOT NULL CHECK (charged_msat BETWEEN 0 AND 9007199254740991),
    refunded_msat  INTEGER NOT NULL CHECK (refunded_msat BETWEEN 0 AND charged_msat),
    entries        INTEGER NOT NULL CHECK (entries >= 0),
    opened_at_ms   INTEGER NOT NULL,
    revoked_at_ms  INTEGER,
    tier           TEXT    NOT NULL DEFAULT ''
) STRICT;

INSERT INTO new_accounts
    (account, balance_msat, held_msat, tranched_msat, debt_msat, charged_msat, refunded_msat,
     entries, opened_at_ms, revoked_at_ms, tier)
SELECT account, balance_msat, held_msat, tranched_msat, debt_msat, charged_msat, refunded_msat,
       entries, opened_at_ms, revoked_at_ms, tier
FROM accounts ORDER BY opened_at_ms;

DROP TABLE accounts;
ALTER TABLE new_accounts RENAME TO accounts;
CREATE INDEX revoked_accounts ON accounts (revoked_at_ms) WHERE revoked_at_ms IS NOT NULL;

CREATE TABLE new_invoices (
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
    received_msat  INTEGER,
    buys           TEXT    NOT NULL DEFAULT 'credit' CHECK (buys IN ('credit', 'session')),
    -- A list would be looked up in a temporary table with every row that is written.
    proof          TEXT    NOT NULL DEFAULT 'preimage'
        CHECK (proof = 'preimage' OR proof = 'lookup' OR proof = 'hash')
) STRICT;

INSERT INTO new_invoices
    (payment_hash, account, amount_msat, credit_msat, seed_msat, credit_ttl_ms, route, bolt11,
     client, offer, created_at_ms, expires_at_ms, settled_at_ms, received_msat, buys, proof)
SELECT payment_hash, account, amount_msat, credit_msat, seed_msat, credit_ttl_ms, route, bolt11,
       client, offer, created_at_ms, expires_at_ms, settled_at_ms, received_msat, buys, proof
FROM invoices ORDER BY created_at_ms;

DROP TABLE invoices;
ALTER TABLE new_invoices RENAME TO invoices;
CREATE INDEX open_invoices_by_offer ON invoices (offer)
    WHERE settled_at_ms IS NULL AND offer IS NOT NULL;
CREATE INDEX open_invoices_by_client ON invoices (client, expires_at_ms)
    WHERE settled_at_ms IS NULL AND client IS NOT NULL;
CREATE INDEX open_invoices_by_expiry ON invoices (expires_at_ms) WHERE settled_at_ms IS NULL;
CREATE INDEX top_ups_by_account ON invoices (account) WHERE account <> payment_hash;
CREATE INDEX settled_invoices_by_time ON invoices (settled_at_ms, payment_hash)
    WHERE settled_at_ms IS NOT NULL;
