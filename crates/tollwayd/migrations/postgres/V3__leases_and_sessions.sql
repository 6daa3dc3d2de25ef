-- What leases and sessions need.

-- The least that the last extension asked for; nothing where that was all of it.
ALTER TABLE holds ADD COLUMN extension_min_msat bigint;
-- What the hold gave up for others of its account.
ALTER TABLE holds ADD COLUMN taken_back_msat bigint NOT NULL DEFAULT 0
    CHECK (taken_back_msat BETWEEN 0 AND amount_msat - posted_msat);

ALTER TABLE invoices ADD COLUMN buys text NOT NULL DEFAULT 'credit'
    CHECK (buys IN ('credit', 'session'));

-- A lease posts for many requests at once.
ALTER TABLE postings ADD COLUMN requests bigint NOT NULL DEFAULT 1
    CHECK (requests BETWEEN 1 AND 4294967295);
INSERT INTO totals (slot, route, kind, times, amount_msat)
SELECT 0, route, 'request', count(*), 0 FROM postings
WHERE charged_msat > 0 OR debt_msat > 0 GROUP BY route;

-- Every gate asks for the newest revocations, every few seconds.
CREATE INDEX revoked_accounts ON accounts (revoked_at_ms) WHERE revoked_at_ms IS NOT NULL;

-- The journal has a kind more.
ALTER TABLE entries DROP CONSTRAINT entries_check;
ALTER TABLE entries ADD CONSTRAINT entries_check CHECK (
    (kind IN ('credit', 'bonus', 'seed') AND amount_msat > 0 AND payment_hash IS NOT NULL)
    OR (kind = 'session' AND amount_msat < 0 AND payment_hash IS NOT NULL)
    OR (kind = 'charge' AND amount_msat < 0 AND hold_id IS NOT NULL AND seq IS NOT NULL)
    OR (kind IN ('repayment', 'expiry') AND amount_msat < 0)
    OR (kind IN ('refund', 'grant') AND amount_msat > 0 AND action IS NOT NULL)
);
