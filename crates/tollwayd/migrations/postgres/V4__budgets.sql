-- What tokens may spend in a window.
CREATE TABLE budgets (
    -- The token as it was when the budget was added.
    id            bytea   NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    account       bytea   NOT NULL,
    -- The budget that the token had before; its holds count there too.
    parent        bytea,
    limit_msat    bigint  NOT NULL CHECK (limit_msat >= 0),
    renews        text    NOT NULL,
    -- What its holds count for in the window: what they may still post, and what they posted.
    used_msat     bigint  NOT NULL CHECK (used_msat BETWEEN 0 AND limit_msat),
    began_at_ms   bigint  NOT NULL,
    ends_at_ms    bigint  NOT NULL CHECK (ends_at_ms >= began_at_ms),
    -- The last end of the windows in which its holds count, here and in its parents.
    needed_until_ms bigint  NOT NULL
);
CREATE INDEX budgets_by_end ON budgets (needed_until_ms);
CREATE INDEX budgets_by_parent ON budgets (parent) WHERE parent IS NOT NULL;

-- The innermost budget of the token that asked, and when the hold was counted there.
ALTER TABLE holds ADD COLUMN budget bytea;
ALTER TABLE holds ADD COLUMN budget_at_ms bigint CHECK ((budget_at_ms IS NULL) = (budget IS NULL));
CREATE INDEX open_holds_by_budget ON holds (budget) WHERE budget IS NOT NULL AND state = 'open';
