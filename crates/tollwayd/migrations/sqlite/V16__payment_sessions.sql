-- What was paid into sessions of the scheme Payment: a row for each payment, the first of a session
-- under its name.
CREATE TABLE deposits (
    payment_hash    BLOB    NOT NULL PRIMARY KEY CHECK (length(payment_hash) = 32),
    session         BLOB    NOT NULL CHECK (length(session) = 32),
    amount_msat     INTEGER NOT NULL CHECK (amount_msat > 0),
    deposited_msat  INTEGER NOT NULL CHECK (deposited_msat >= 0),
    realm           TEXT    NOT NULL,
    return_invoice  TEXT,
    closed_at_ms    INTEGER,
    returned_msat   INTEGER CHECK ((returned_msat IS NULL) = (closed_at_ms IS NULL)),
    created_at_ms   INTEGER NOT NULL
) STRICT;

-- Credit moves to the session that a payment tops up, and back to who paid it. The text of the table
-- is edited in place, as in V6: nothing that is stored changes.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql,
    'OR (kind = ''session'' AND amount_msat < 0 AND payment_hash IS NOT NULL)',
    'OR ((kind = ''session'' AND amount_msat < 0 OR kind = ''moved'') AND payment_hash IS NOT NULL)')
WHERE type = 'table' AND name = 'entries';
PRAGMA writable_schema = RESET;
