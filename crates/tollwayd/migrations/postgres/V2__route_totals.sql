-- What happened how often, and what it moved, by route: so that nobody has to read the journal
-- for a sum. `tollwayd audit` recomputes the rows from what they count. Writers add to rows of a
-- slot of their own; only the sum over all slots means something.
CREATE TABLE totals (
    slot         bigint  NOT NULL CHECK (slot >= 0),
    -- Empty for what belongs to no route.
    route        text    NOT NULL,
    -- The kind of an entry, or account, challenge, debt, free, payer, void.
    kind         text    NOT NULL,
    times        bigint  NOT NULL CHECK (times >= 0),
    amount_msat  bigint  NOT NULL,
    PRIMARY KEY (slot, route, kind)
) WITH (fillfactor = 50);

INSERT INTO totals
SELECT 0, coalesce(route, ''), kind, count(*), sum(amount_msat) FROM entries GROUP BY 2, 3;
INSERT INTO totals SELECT 0, '', 'account', count(*), 0 FROM accounts;
INSERT INTO totals SELECT 0, '', 'payer', count(*), 0 FROM accounts WHERE charged_msat > 0;
-- Unpaid invoices that were deleted before are not counted.
INSERT INTO totals SELECT 0, route, 'challenge', count(*), 0 FROM invoices GROUP BY route;
INSERT INTO totals
SELECT 0, route, 'void', count(*), 0 FROM holds
WHERE state = 'released' AND posted_msat = 0 GROUP BY route;
INSERT INTO totals
SELECT 0, route, 'debt', count(*), sum(debt_msat) FROM postings
WHERE debt_msat > 0 GROUP BY route;

-- The newest payments, without reading all of them.
CREATE INDEX settled_invoices_by_time ON invoices (settled_at_ms, payment_hash)
    WHERE settled_at_ms IS NOT NULL;
