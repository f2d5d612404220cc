BEGIN TRANSACTION;
CREATE TABLE alerts (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    key TEXT,
    record_number INTEGER,
    p_value REAL,
    scored_at INTEGER NOT NULL,
    line TEXT NOT NULL
);
INSERT INTO "alerts" VALUES(1,'kdd/k.csv:1',NULL,1,0.001,1767225600000000,'{"format":1,"event_id":"kdd/k.csv:1","key":null,"scored_at":"2026-01-01T00:00:00.000Z","p_value":0.001,"record":{"bytes":1,"text":"ü\u001b[31m"}}');
CREATE TABLE checkpoint (name TEXT PRIMARY KEY, value BLOB NOT NULL);
INSERT INTO "checkpoint" VALUES('engine','{"records":1}');
INSERT INTO "checkpoint" VALUES('head',X'01');
CREATE TABLE heartbeat (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    pid INTEGER NOT NULL,
    state TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    counters TEXT NOT NULL
);
INSERT INTO "heartbeat" VALUES(1,42,'scoring',1767225600000000,'{"in":2}');
CREATE TABLE label_log (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    label_id INTEGER NOT NULL REFERENCES labels(id),
    event_id TEXT NOT NULL,
    verdict TEXT NOT NULL,
    record_number INTEGER NOT NULL
);
INSERT INTO "label_log" VALUES(1,1,'kdd/k.csv:1','anomaly',2);
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
INSERT INTO "labels" VALUES(1,'kdd/k.csv:1','anomaly','ann',1767222000000000,1767222000000000,'scan','{"bytes":1}',1,1);
INSERT INTO "labels" VALUES(2,'kdd/k.csv:9','normal','',1767225600000000,1767225600000000,'',NULL,NULL,NULL);
CREATE TABLE outbox (outlet TEXT PRIMARY KEY, n INTEGER NOT NULL, mark TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "outbox" VALUES('file',1,'{"size":3}');
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
INSERT INTO "pool" VALUES(1,'kdd/k.csv:1',NULL,'alert',1,1.5,0.25,NULL,'SF','[{"field":"bytes","value":1,"share":0.5}]','{"bytes":1}',1);
CREATE TABLE pool_size (kind TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "pool_size" VALUES('alert',0);
CREATE TABLE positions (partition TEXT PRIMARY KEY, cursor TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "positions" VALUES('k.csv','{"line":2}');
CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), records INTEGER NOT NULL);
INSERT INTO "progress" VALUES(1,2);
CREATE TABLE rejected (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    reason TEXT NOT NULL,
    arrived_at INTEGER NOT NULL,
    line TEXT NOT NULL
);
INSERT INTO "rejected" VALUES(1,'empty',1767225600000000,'{"position":"k.csv:1","reason":"empty","bytes_base64":""}');
INSERT INTO "rejected" VALUES(2,'empty',1767225600000000,'{"position":"k.csv:2","reason":"empty","bytes_base64":""}');
CREATE TABLE requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    command TEXT NOT NULL,
    number INTEGER,
    asked_at INTEGER NOT NULL
);
INSERT INTO "requests" VALUES(1,'promote',1,1767225600000000);
CREATE TABLE versions (
    number INTEGER PRIMARY KEY,
    status TEXT NOT NULL,
    created_record INTEGER,
    created_at INTEGER NOT NULL,
    parent INTEGER,
    numbers TEXT NOT NULL,
    kept INTEGER NOT NULL DEFAULT 1
);
INSERT INTO "versions" VALUES(1,'active',NULL,1767225600000000,NULL,'{}',1);
CREATE INDEX alerts_key ON alerts(key) WHERE key IS NOT NULL;
CREATE INDEX rejected_reason ON rejected(reason);
CREATE INDEX pool_key ON pool(key) WHERE key IS NOT NULL;
CREATE INDEX pool_oldest ON pool(kind, n) WHERE labeled = 0;
CREATE TRIGGER pool_in AFTER INSERT ON pool WHEN new.labeled = 0 BEGIN
    INSERT INTO pool_size VALUES (new.kind, 1) ON CONFLICT (kind) DO UPDATE SET rows = rows + 1;
END;
CREATE TRIGGER pool_out AFTER DELETE ON pool WHEN old.labeled = 0 BEGIN
    UPDATE pool_size SET rows = rows - 1 WHERE kind = old.kind;
END;
CREATE TRIGGER pool_labeled AFTER UPDATE OF labeled ON pool WHEN new.labeled <> old.labeled BEGIN
    UPDATE pool_size SET rows = rows + (CASE new.labeled WHEN 0 THEN 1 ELSE -1 END) WHERE kind = new.kind;
END;
CREATE INDEX labels_latest ON labels(event_id, counts_from, id);
CREATE INDEX labels_waiting ON labels(id) WHERE ready IS NULL;
CREATE INDEX label_log_event ON label_log(event_id, n);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('alerts',1);
INSERT INTO "sqlite_sequence" VALUES('rejected',2);
INSERT INTO "sqlite_sequence" VALUES('pool',1);
INSERT INTO "sqlite_sequence" VALUES('labels',2);
INSERT INTO "sqlite_sequence" VALUES('label_log',1);
INSERT INTO "sqlite_sequence" VALUES('requests',1);
COMMIT;
