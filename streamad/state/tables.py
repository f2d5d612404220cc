"""The embedded store's tables, as format 1 has them, and what was added since."""

from __future__ import annotations

TABLES = """
CREATE TABLE alerts (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    key TEXT,
    record_number INTEGER,
    p_value REAL,
    scored_at INTEGER NOT NULL,
    line TEXT NOT NULL
);
CREATE INDEX alerts_key ON alerts(key) WHERE key IS NOT NULL;

CREATE TABLE rejected (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    reason TEXT NOT NULL,
    arrived_at INTEGER NOT NULL,
    line TEXT NOT NULL
);
-- Also what counting the rows reads: the rows themselves hold up to 4 KiB of payload each.
CREATE INDEX rejected_reason ON rejected(reason);

CREATE TABLE pool (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    key TEXT,
    kind TEXT NOT NULL,
    record_number INTEGER,
    score REAL,
    p_value REAL,
    probability REAL,
    signature TEXT NOT NULL,
    reasons TEXT NOT NULL,
    record TEXT NOT NULL,
    labeled INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX pool_key ON pool(key) WHERE key IS NOT NULL;
CREATE INDEX pool_oldest ON pool(kind, n) WHERE labeled = 0;

-- How many rows of each kind are unlabeled, kept by triggers so that no commit has to count.
CREATE TABLE pool_size (kind TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER pool_in AFTER INSERT ON pool WHEN new.labeled = 0 BEGIN
    INSERT INTO pool_size VALUES (new.kind, 1) ON CONFLICT (kind) DO UPDATE SET rows = rows + 1;
END;
CREATE TRIGGER pool_out AFTER DELETE ON pool WHEN old.labeled = 0 BEGIN
    UPDATE pool_size SET rows = rows - 1 WHERE kind = old.kind;
END;
CREATE TRIGGER pool_labeled AFTER UPDATE OF labeled ON pool WHEN new.labeled <> old.labeled BEGIN
    UPDATE pool_size SET rows = rows + (CASE new.labeled WHEN 0 THEN 1 ELSE -1 END) WHERE kind = new.kind;
END;

-- ready: the order in which labels became applicable; NULL while one waits for its record.
CREATE TABLE labels (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    verdict TEXT NOT NULL,
    analyst TEXT NOT NULL,
    labeled_at INTEGER NOT NULL,
    counts_from INTEGER NOT NULL,
    note TEXT NOT NULL,
    record TEXT,
    record_number INTEGER,
    ready INTEGER UNIQUE,
    UNIQUE (event_id, verdict, analyst, labeled_at)
);
CREATE INDEX labels_latest ON labels(event_id, counts_from, id);
CREATE INDEX labels_waiting ON labels(id) WHERE ready IS NULL;

CREATE TABLE label_log (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    label_id INTEGER NOT NULL REFERENCES labels(id),
    event_id TEXT NOT NULL,
    verdict TEXT NOT NULL,
    record_number INTEGER NOT NULL
);
CREATE INDEX label_log_event ON label_log(event_id, n);

CREATE TABLE versions (
    number INTEGER PRIMARY KEY,
    status TEXT NOT NULL,
    created_record INTEGER,
    created_at INTEGER NOT NULL,
    parent INTEGER,
    numbers TEXT NOT NULL,
    kept INTEGER NOT NULL DEFAULT 1
);

CREATE TABLE requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    command TEXT NOT NULL,
    number INTEGER,
    asked_at INTEGER NOT NULL
);

CREATE TABLE positions (partition TEXT PRIMARY KEY, cursor TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE checkpoint (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), records INTEGER NOT NULL);
CREATE TABLE heartbeat (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    pid INTEGER NOT NULL,
    state TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    counters TEXT NOT NULL
);
CREATE TABLE outbox (outlet TEXT PRIMARY KEY, n INTEGER NOT NULL, mark TEXT NOT NULL) WITHOUT ROWID;
"""

ADDED = {
    "mutes": """
-- The first alert's id of the burst that an alert belongs to, whether it is not the first itself, and the mute that
-- keeps it from being sent.
ALTER TABLE alerts ADD COLUMN burst TEXT;
ALTER TABLE alerts ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alerts ADD COLUMN muted TEXT;
CREATE INDEX alerts_burst ON alerts(burst, repeats);
CREATE INDEX alerts_first ON alerts(n) WHERE repeats = 0 AND muted IS NULL;
CREATE INDEX alerts_muted ON alerts(muted) WHERE muted IS NOT NULL;

-- Times as people see them, RFC 3339 in UTC with milliseconds, which sort as they follow each other.
CREATE TABLE mutes (
    id TEXT PRIMARY KEY,
    condition TEXT NOT NULL,
    analyst TEXT NOT NULL,
    why TEXT NOT NULL,
    since TEXT NOT NULL,
    until TEXT NOT NULL,
    ended_at TEXT,
    ended_by TEXT NOT NULL
) WITHOUT ROWID;
""",
    "pins": """
-- The versions whose files stay, and whose place no training takes while one of them scores.
CREATE TABLE pins (version INTEGER PRIMARY KEY);
""",
}
"""By the table that shows that it is there, oldest first. An older streamad leaves it alone and works beside it, so that the
format is the same."""
