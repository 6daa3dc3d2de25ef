-- Payments that a facilitator settles: reserved for one request, settled at most once.
CREATE TABLE transfers (
    -- A hash of all that makes it the same payment.
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    hold_id       BLOB    NOT NULL,
    state         TEXT    NOT NULL,
    units         TEXT    NOT NULL,
    payer         TEXT    NOT NULL,
    price_msat    INTEGER NOT NULL CHECK (price_msat > 0),
    route         TEXT    NOT NULL,
    until_ms      INTEGER NOT NULL,
    -- How often the facilitator was asked to settle it.
    asked         INTEGER NOT NULL CHECK (asked >= 0),
    txid          TEXT   ,
    created_at_ms INTEGER NOT NULL,
    settled_at_ms INTEGER CHECK ((settled_at_ms IS NULL) = (state <> 'settled'))
) STRICT, WITHOUT ROWID;
CREATE INDEX transfers_not_settled ON transfers (until_ms) WHERE state <> 'settled';
