-- Version 1. Ids are 12 bytes, times milliseconds since 1970.

CREATE TABLE users (
    id           BLOB PRIMARY KEY,
    username     TEXT NOT NULL,
    username_key TEXT NOT NULL UNIQUE, -- in lower case
    email        TEXT NOT NULL,
    email_key    TEXT NOT NULL UNIQUE, -- in lower case
    password     TEXT NOT NULL,
    avatar       TEXT,
    status       TEXT NOT NULL,
    last_seen    INTEGER,
    created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE conversations (
    id           BLOB PRIMARY KEY,
    kind         TEXT NOT NULL,
    title        TEXT,
    pair         BLOB UNIQUE,          -- of a private one: both ids, the lower one first
    last_seq     INTEGER NOT NULL,
    last_ordinal INTEGER NOT NULL,
    last_message BLOB,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    conversation  BLOB NOT NULL REFERENCES conversations (id),
    user          BLOB NOT NULL,
    spans         TEXT NOT NULL,       -- first-last,first- : what they may see
    open          INTEGER NOT NULL,    -- 1 while they are a member
    read_seq      INTEGER NOT NULL,
    read_ordinal  INTEGER NOT NULL,    -- the ordinal of message read_seq
    delivered_seq INTEGER NOT NULL,
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_user ON members (user, conversation) WHERE open = 1;
CREATE INDEX members_by_read ON members (conversation, read_seq);
CREATE INDEX members_by_delivered ON members (conversation, delivered_seq);

-- With rowids, because rows then go to the end of the table whatever conversation they belong to:
-- a group of messages dirties few pages.
CREATE TABLE messages (
    id            BLOB NOT NULL UNIQUE,
    conversation  BLOB NOT NULL REFERENCES conversations (id),
    seq           INTEGER NOT NULL,
    ordinal       INTEGER NOT NULL,
    sender        BLOB NOT NULL,
    content       TEXT NOT NULL,
    kind          TEXT NOT NULL,
    event         TEXT,                -- JSON
    attachments   TEXT,                -- JSON
    reply_to      BLOB,
    client_msg_id TEXT,
    edited        INTEGER NOT NULL DEFAULT 0,
    deleted       INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX messages_by_seq ON messages (conversation, seq);
CREATE UNIQUE INDEX messages_by_client_id ON messages (conversation, sender, client_msg_id)
    WHERE client_msg_id IS NOT NULL;
-- Own and deleted messages are counted here, never in the table: that is why the columns of the
-- conditions are among the keys.
CREATE INDEX messages_by_sender ON messages (conversation, sender, seq, kind)
    WHERE kind <> 'system';
CREATE INDEX messages_deleted ON messages (conversation, seq, sender, kind, deleted)
    WHERE deleted = 1 AND kind <> 'system';

CREATE TABLE refresh_families (
    family     BLOB PRIMARY KEY,
    user       BLOB NOT NULL,
    revoked    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL        -- of its youngest token
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_families_by_end ON refresh_families (expires_at);

CREATE TABLE refresh_tokens (
    hash       BLOB PRIMARY KEY,
    family     BLOB NOT NULL,
    used       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires_at);

CREATE TABLE probe (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    checked_at INTEGER NOT NULL
) STRICT;
