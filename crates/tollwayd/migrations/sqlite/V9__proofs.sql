-- What is asked of those who spend what an invoice bought. A list would be looked up in a temporary
-- table with every row that is written.
ALTER TABLE invoices ADD COLUMN proof TEXT NOT NULL DEFAULT 'preimage'
    CHECK (proof = 'preimage' OR proof = 'lookup' OR proof = 'hash');
