-- What others outside are to get: written in the transaction that it is about, and sent afterwards.
CREATE TABLE outbox (
    id            bytea   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind          text    NOT NULL,
    -- The name of the receiver in the configuration.
    target        text    NOT NULL,
    account       bytea   NOT NULL CHECK (length(account) = 32),
    payment_hash  bytea   NOT NULL CHECK (length(payment_hash) = 32),
    body          text    NOT NULL,
    -- What the sender has decided and must not decide again.
    note          text,
    state         text    NOT NULL CHECK (state IN ('open', 'done', 'given_up')),
    attempts      bigint  NOT NULL CHECK (attempts >= 0),
    -- While it is being sent, the time after which somebody else may try; at the end, that of the end.
    due_at_ms     bigint  NOT NULL,
    created_at_ms bigint  NOT NULL
);
CREATE INDEX outbox_open ON outbox (kind, target, due_at_ms) WHERE state = 'open';
CREATE INDEX outbox_ended ON outbox (kind, due_at_ms) WHERE state <> 'open';
