-- What kind of customer an account belongs to; empty for none.
ALTER TABLE accounts ADD COLUMN tier text NOT NULL DEFAULT '';
-- The tier that an operator gave.
ALTER TABLE actions ADD COLUMN tier text;
