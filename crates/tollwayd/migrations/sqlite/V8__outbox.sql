-- What others outside are to get: written in the transaction that it is about, and sent afterwards.
CREATE TABLE outbox (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind          TEXT    NOT NULL,
    -- The name of the receiver in the configuration.
    target        TEXT    NOT NULL,
    account       BLOB    NOT NULL CHECK (length(account) = 32),
    payment_hash  BLOB    NOT NULL CHECK (length(payment_hash) = 32),
    body          TEXT    NOT NULL,
    -- What the sender has decided and must not decide again.
    note          TEXT,
    state         TEXT    NOT NULL CHECK (state = 'open' OR state = 'done' OR state = 'given_up'),
    attempts      INTEGER NOT NULL CHECK (attempts >= 0),
    -- While it is being sent, the time after which somebody else may try; at the end, that of the end.
    due_at_ms     INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_open ON outbox (kind, target, due_at_ms) WHERE state = 'open';
CREATE INDEX outbox_ended ON outbox (kind, due_at_ms) WHERE state <> 'open';
