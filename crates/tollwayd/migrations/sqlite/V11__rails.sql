-- On which rail a payment is spent; empty before its first grant.
ALTER TABLE invoices ADD COLUMN spent_by TEXT;
