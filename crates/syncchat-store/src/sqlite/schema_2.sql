-- Version 2: files.

CREATE TABLE files (
    id           BLOB PRIMARY KEY,
    owner        BLOB NOT NULL,
    name         TEXT NOT NULL,
    size         INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    due_at       INTEGER,              -- when to look whether anything shows it
    doomed       INTEGER NOT NULL DEFAULT 0,
    version      INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX files_due ON files (due_at) WHERE due_at IS NOT NULL;

-- Messages that show a file, or may.
CREATE TABLE file_claims (
    file    BLOB NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    message BLOB NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (file, message)
) STRICT, WITHOUT ROWID;
