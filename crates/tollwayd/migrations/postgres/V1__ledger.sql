-- The ledger, with the tables of every store. Amounts are integer msat, times are Unix times in
-- ms, hashes are 32 bytes.
--
-- An account is named by the payment hash that opened it, and every row of an account carries
-- that name in its key, so that an engine can shard by account. `invoices` is the directory that
-- leads from a payment hash to an account. docs/adr/0008 has the one index that such an engine
-- may have to declare otherwise.

-- The sums repeat what entries, open holds, tranches and postings say; `tollwayd audit`
-- recomputes all of them. A row exists once something was credited.
CREATE TABLE accounts (
    account        bytea   PRIMARY KEY CHECK (length(account) = 32),
    balance_msat   bigint  NOT NULL CHECK (balance_msat BETWEEN 0 AND 9007199254740991),
    held_msat      bigint  NOT NULL CHECK (held_msat BETWEEN 0 AND balance_msat),
    tranched_msat  bigint  NOT NULL CHECK (tranched_msat BETWEEN 0 AND balance_msat),
    debt_msat      bigint  NOT NULL CHECK (debt_msat BETWEEN 0 AND 9007199254740991),
    charged_msat   bigint  NOT NULL CHECK (charged_msat BETWEEN 0 AND 9007199254740991),
    refunded_msat  bigint  NOT NULL CHECK (refunded_msat BETWEEN 0 AND charged_msat),
    entries        bigint  NOT NULL CHECK (entries >= 0),
    opened_at_ms   bigint  NOT NULL,
    revoked_at_ms  bigint
) WITH (fillfactor = 80);

-- A settled invoice is never deleted: it is the proof that its payment was credited.
CREATE TABLE invoices (
    payment_hash   bytea   PRIMARY KEY CHECK (length(payment_hash) = 32),
    account        bytea   NOT NULL CHECK (length(account) = 32),
    amount_msat    bigint  NOT NULL CHECK (amount_msat BETWEEN 1 AND 9007199254740991),
    credit_msat    bigint  NOT NULL CHECK (credit_msat BETWEEN amount_msat AND 9007199254740991),
    seed_msat      bigint  NOT NULL CHECK (seed_msat BETWEEN 0 AND 9007199254740991),
    credit_ttl_ms  bigint  CHECK (credit_ttl_ms > 0),
    route          text    NOT NULL,
    bolt11         text    NOT NULL,
    client         bytea   CHECK (length(client) = 32),
    offer          bytea   CHECK (length(offer) = 32),
    created_at_ms  bigint  NOT NULL,
    expires_at_ms  bigint  NOT NULL,
    settled_at_ms  bigint,
    received_msat  bigint
);

CREATE INDEX open_invoices_by_offer ON invoices (offer)
    WHERE settled_at_ms IS NULL AND offer IS NOT NULL;
CREATE INDEX open_invoices_by_client ON invoices (client, expires_at_ms)
    WHERE settled_at_ms IS NULL AND client IS NOT NULL;
CREATE INDEX open_invoices_by_expiry ON invoices (expires_at_ms) WHERE settled_at_ms IS NULL;
CREATE INDEX top_ups_by_account ON invoices (account) WHERE account <> payment_hash;

CREATE TABLE holds (
    id                      bytea   NOT NULL CHECK (length(id) = 16),
    account                 bytea   NOT NULL REFERENCES accounts (account),
    payment_hash            bytea   NOT NULL CHECK (length(payment_hash) = 32),
    min_msat                bigint  NOT NULL CHECK (min_msat BETWEEN 0 AND asked_msat),
    asked_msat              bigint  NOT NULL CHECK (asked_msat BETWEEN 1 AND 9007199254740991),
    granted_msat            bigint  NOT NULL CHECK (granted_msat BETWEEN 1 AND asked_msat),
    amount_msat             bigint  NOT NULL
        CHECK (amount_msat BETWEEN granted_msat AND 9007199254740991),
    posted_msat             bigint  NOT NULL CHECK (posted_msat BETWEEN 0 AND amount_msat),
    ttl_ms                  bigint  NOT NULL CHECK (ttl_ms > 0),
    route                   text    NOT NULL,
    state                   text    NOT NULL CHECK (state IN ('open', 'released', 'expired')),
    opened_at_ms            bigint  NOT NULL,
    expires_at_ms           bigint  NOT NULL,
    extension_seq           bigint  CHECK (extension_seq BETWEEN 0 AND 4294967295),
    extension_msat          bigint,
    extension_ttl_ms        bigint,
    extension_granted_msat  bigint,
    once_key                bytea   CHECK (length(once_key) = 32),
    PRIMARY KEY (account, id)
);

-- A posting names its hold by id alone.
CREATE UNIQUE INDEX holds_by_id ON holds (id);
CREATE INDEX open_holds_by_account ON holds (account, expires_at_ms) WHERE state = 'open';
CREATE INDEX open_holds_by_expiry ON holds (expires_at_ms) WHERE state = 'open';

CREATE TABLE postings (
    hold_id       bytea   NOT NULL,
    seq           bigint  NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    account       bytea   NOT NULL,
    amount_msat   bigint  NOT NULL CHECK (amount_msat BETWEEN 0 AND 9007199254740991),
    charged_msat  bigint  NOT NULL CHECK (charged_msat BETWEEN 0 AND amount_msat),
    debt_msat     bigint  NOT NULL CHECK (debt_msat BETWEEN 0 AND amount_msat),
    route         text    NOT NULL,
    release       bigint  NOT NULL CHECK (release IN (0, 1)),
    over_run      text    NOT NULL,
    posted_at_ms  bigint  NOT NULL,
    PRIMARY KEY (account, hold_id, seq),
    FOREIGN KEY (account, hold_id) REFERENCES holds (account, id)
);

-- The journal. Append-only; the entries of one account are numbered from 1.
CREATE TABLE entries (
    account       bytea   NOT NULL REFERENCES accounts (account),
    n             bigint  NOT NULL CHECK (n >= 1),
    kind          text    NOT NULL,
    -- Positive for what came in.
    amount_msat   bigint  NOT NULL,
    payment_hash  bytea,
    hold_id       bytea,
    seq           bigint,
    route         text,
    action        bytea,
    at_ms         bigint  NOT NULL,
    PRIMARY KEY (account, n),
    CHECK (
        (kind IN ('credit', 'bonus', 'seed') AND amount_msat > 0 AND payment_hash IS NOT NULL)
        OR (kind = 'charge' AND amount_msat < 0 AND hold_id IS NOT NULL AND seq IS NOT NULL)
        OR (kind IN ('repayment', 'expiry') AND amount_msat < 0)
        OR (kind IN ('refund', 'grant') AND amount_msat > 0 AND action IS NOT NULL)
    )
);

-- One payment credits once, whatever path reports it first.
CREATE UNIQUE INDEX one_credit_per_invoice ON entries (account, payment_hash)
    WHERE kind = 'credit';

-- Credit that expires, numbered as the entry that brought it.
CREATE TABLE tranches (
    account         bytea   NOT NULL REFERENCES accounts (account),
    n               bigint  NOT NULL,
    remaining_msat  bigint  NOT NULL CHECK (remaining_msat BETWEEN 0 AND 9007199254740991),
    expires_at_ms   bigint  NOT NULL,
    due_at_ms       bigint  NOT NULL,
    PRIMARY KEY (account, n)
);

CREATE INDEX open_tranches_by_due ON tranches (due_at_ms) WHERE remaining_msat > 0;

-- Requests with an idempotency key.
CREATE TABLE once (
    account        bytea   NOT NULL CHECK (length(account) = 32),
    key            bytea   NOT NULL CHECK (length(key) = 32),
    fingerprint    bytea   NOT NULL CHECK (length(fingerprint) = 32),
    hold_id        bytea   NOT NULL,
    -- JSON with a body of at most 16 KiB in base64.
    response       bytea   CHECK (length(response) <= 24576),
    expires_at_ms  bigint  NOT NULL,
    PRIMARY KEY (account, key)
);

CREATE INDEX once_by_expiry ON once (expires_at_ms);

-- Free tiers. A client is a keyed hash; the secrets of past days are deleted.
CREATE TABLE allowances (
    client      bytea   PRIMARY KEY CHECK (length(client) = 32),
    used        bigint  NOT NULL CHECK (used >= 0),
    ends_at_ms  bigint  NOT NULL
);

CREATE INDEX allowances_by_end ON allowances (ends_at_ms);

CREATE TABLE day_secrets (
    day     bigint  PRIMARY KEY,
    secret  bytea   NOT NULL CHECK (length(secret) = 32)
);

-- The key with the highest id mints; all that are not retired verify.
CREATE TABLE master_keys (
    id             bigint  PRIMARY KEY CHECK (id BETWEEN 1 AND 4294967295),
    secret         bytea   NOT NULL CHECK (length(secret) = 32),
    created_at_ms  bigint  NOT NULL,
    retired_at_ms  bigint
);

-- What operators did. Append-only.
CREATE TABLE actions (
    id           bytea   PRIMARY KEY CHECK (length(id) = 16),
    kind         text    NOT NULL,
    actor        text    NOT NULL,
    reason       text    NOT NULL,
    subject      bytea,
    account      bytea,
    amount_msat  bigint,
    key_id       bigint,
    at_ms        bigint  NOT NULL
);

CREATE INDEX actions_by_time ON actions (at_ms);

-- How far the followers of the node's events have come.
CREATE TABLE cursors (
    name      text    PRIMARY KEY,
    position  bigint  NOT NULL
);

-- The simulated node's secret: preimages and its signing key are derived from it.
CREATE TABLE node_secret (
    id      bigint  PRIMARY KEY CHECK (id = 1),
    secret  bytea   NOT NULL CHECK (length(secret) = 32)
);

-- Written by the readiness probe after a failed commit, to learn whether the store is back.
CREATE TABLE probe (
    id     bigint  PRIMARY KEY CHECK (id = 1),
    at_ms  bigint  NOT NULL
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$;
CREATE TRIGGER entries_are_never_changed BEFORE UPDATE OR DELETE ON entries
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER actions_are_never_changed BEFORE UPDATE OR DELETE ON actions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
