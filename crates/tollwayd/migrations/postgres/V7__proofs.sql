-- What is asked of those who spend what an invoice bought.
ALTER TABLE invoices ADD COLUMN proof text NOT NULL DEFAULT 'preimage'
    CHECK (proof IN ('preimage', 'lookup', 'hash'));
