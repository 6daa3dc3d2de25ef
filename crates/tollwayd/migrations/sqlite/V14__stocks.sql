-- How much is taken of what there is only so much of: coupons, and calls of a route.
CREATE TABLE stocks (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    name          TEXT    NOT NULL,
    used          INTEGER NOT NULL CHECK (used >= 0),
    began_at_ms   INTEGER NOT NULL,
    ends_at_ms    INTEGER NOT NULL CHECK (ends_at_ms >= began_at_ms)
) STRICT, WITHOUT ROWID;

-- The stock of the coupon that an invoice was sold with, and of the call that a hold is for.
ALTER TABLE invoices ADD COLUMN coupon BLOB;
CREATE INDEX invoices_by_coupon ON invoices (coupon, account) WHERE coupon IS NOT NULL;
ALTER TABLE holds ADD COLUMN stock BLOB;
CREATE INDEX holds_by_stock ON holds (stock, opened_at_ms) WHERE stock IS NOT NULL;

-- An invoice that is deleted unpaid gives its use of the coupon back.
CREATE TRIGGER coupon_comes_back AFTER DELETE ON invoices WHEN old.coupon IS NOT NULL
BEGIN
    UPDATE stocks SET used = used - 1 WHERE id = old.coupon;
END;
