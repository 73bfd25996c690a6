-- A request is asked once, whatever number of files bring it; an arrival is one of those files, and gets one result.
CREATE TABLE IF NOT EXISTS requests (
    key TEXT PRIMARY KEY,
    spec BLOB NOT NULL,
    options BLOB NOT NULL,
    digests TEXT NOT NULL,
    round INTEGER NOT NULL DEFAULT 0,
    job TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'failed')),
    result TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS arrivals (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL REFERENCES requests,
    round INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL,
    files TEXT NOT NULL,
    leaves INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'recorded', 'filed', 'again')),
    outcome TEXT NOT NULL DEFAULT '',
    line INTEGER UNIQUE,
    duplicate_of TEXT,
    facts TEXT NOT NULL DEFAULT '',
    target TEXT NOT NULL DEFAULT '',
    at_ms INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS arrivals_of ON arrivals (key, state);
CREATE INDEX IF NOT EXISTS arrivals_in ON arrivals (state);
CREATE INDEX IF NOT EXISTS arrivals_by_name ON arrivals (name);
CREATE INDEX IF NOT EXISTS arrivals_failed ON arrivals (outcome) WHERE outcome = 'failed';
