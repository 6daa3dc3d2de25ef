-- Certificates that were used to buy, until they expire.
CREATE TABLE certificates (
    id            bytea   NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    payment_hash  bytea   NOT NULL CHECK (length(payment_hash) = 32),
    expires_at_ms bigint  NOT NULL
);
CREATE INDEX certificates_by_end ON certificates (expires_at_ms);
