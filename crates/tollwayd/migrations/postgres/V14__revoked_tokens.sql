-- Since when a token is good for nothing, whatever its account has left.
ALTER TABLE invoices ADD COLUMN revoked_at_ms bigint;
CREATE INDEX invoices_revoked ON invoices (revoked_at_ms) WHERE revoked_at_ms IS NOT NULL;
