-- Certificates that were used to buy, until they expire.
CREATE TABLE certificates (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    payment_hash  BLOB    NOT NULL CHECK (length(payment_hash) = 32),
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_by_end ON certificates (expires_at_ms);
