-- Payments that a facilitator settles: reserved for one request, settled at most once.
CREATE TABLE transfers (
    -- A hash of all that makes it the same payment.
    id            bytea   NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    hold_id       bytea   NOT NULL,
    state         text    NOT NULL,
    units         text    NOT NULL,
    payer         text    NOT NULL,
    price_msat    bigint  NOT NULL CHECK (price_msat > 0),
    route         text    NOT NULL,
    until_ms      bigint  NOT NULL,
    -- How often the facilitator was asked to settle it.
    asked         bigint  NOT NULL CHECK (asked >= 0),
    txid          text,
    created_at_ms bigint  NOT NULL,
    settled_at_ms bigint CHECK ((settled_at_ms IS NULL) = (state <> 'settled'))
);
CREATE INDEX transfers_not_settled ON transfers (until_ms) WHERE state <> 'settled';
