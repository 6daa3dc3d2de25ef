-- What was paid into sessions of the scheme Payment: a row for each payment, the first of a session
-- under its name.
CREATE TABLE deposits (
    payment_hash    bytea   NOT NULL PRIMARY KEY CHECK (length(payment_hash) = 32),
    session         bytea   NOT NULL CHECK (length(session) = 32),
    amount_msat     bigint  NOT NULL CHECK (amount_msat > 0),
    deposited_msat  bigint  NOT NULL CHECK (deposited_msat >= 0),
    realm           text    NOT NULL,
    return_invoice  text,
    closed_at_ms    bigint,
    returned_msat   bigint  CHECK ((returned_msat IS NULL) = (closed_at_ms IS NULL)),
    created_at_ms   bigint  NOT NULL
);

-- Credit moves to the session that a payment tops up, and back to who paid it.
ALTER TABLE entries DROP CONSTRAINT entries_check;
ALTER TABLE entries ADD CONSTRAINT entries_check CHECK (
    (kind IN ('credit', 'bonus', 'seed') AND amount_msat > 0 AND payment_hash IS NOT NULL)
    OR (kind = 'session' AND amount_msat < 0 AND payment_hash IS NOT NULL)
    OR (kind = 'charge' AND amount_msat < 0 AND hold_id IS NOT NULL AND seq IS NOT NULL)
    OR (kind IN ('repayment', 'expiry') AND amount_msat < 0)
    OR (kind IN ('refund', 'grant') AND amount_msat > 0 AND action IS NOT NULL)
    OR (kind = 'moved' AND payment_hash IS NOT NULL)
);
