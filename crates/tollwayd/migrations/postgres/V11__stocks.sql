-- How much is taken of what there is only so much of: coupons, and calls of a route.
CREATE TABLE stocks (
    id            bytea   NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    name          text    NOT NULL,
    used          bigint  NOT NULL CHECK (used >= 0),
    began_at_ms   bigint  NOT NULL,
    ends_at_ms    bigint  NOT NULL CHECK (ends_at_ms >= began_at_ms)
);

-- The stock of the coupon that an invoice was sold with, and of the call that a hold is for.
ALTER TABLE invoices ADD COLUMN coupon bytea;
CREATE INDEX invoices_by_coupon ON invoices (coupon, account) WHERE coupon IS NOT NULL;
ALTER TABLE holds ADD COLUMN stock bytea;
CREATE INDEX holds_by_stock ON holds (stock, opened_at_ms) WHERE stock IS NOT NULL;

-- An invoice that is deleted unpaid gives its use of the coupon back.
CREATE FUNCTION coupon_comes_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE stocks SET used = used - 1 WHERE id = old.coupon;
    RETURN NULL;
END
$$;
CREATE TRIGGER coupon_comes_back AFTER DELETE ON invoices
    FOR EACH ROW WHEN (old.coupon IS NOT NULL) EXECUTE FUNCTION coupon_comes_back();
