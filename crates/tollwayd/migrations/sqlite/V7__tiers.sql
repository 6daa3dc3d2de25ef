-- What kind of customer an account belongs to; empty for none.
ALTER TABLE accounts ADD COLUMN tier TEXT NOT NULL DEFAULT '';
-- The tier that an operator gave.
ALTER TABLE actions ADD COLUMN tier TEXT;
