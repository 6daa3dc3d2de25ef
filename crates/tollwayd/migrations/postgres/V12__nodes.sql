-- The name of the node that made an invoice, where there are several.
ALTER TABLE invoices ADD COLUMN node text;
