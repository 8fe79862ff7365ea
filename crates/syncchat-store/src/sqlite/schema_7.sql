-- Version 7: what was made under an idempotency key is found by it.

ALTER TABLE conversations ADD COLUMN creator BLOB;     -- where there is a key
ALTER TABLE conversations ADD COLUMN request_key TEXT; -- unique for the creator
ALTER TABLE conversations ADD COLUMN asked BLOB;       -- the digest of what was asked for
CREATE UNIQUE INDEX conversations_by_request ON conversations (creator, request_key)
    WHERE request_key IS NOT NULL;

ALTER TABLE files ADD COLUMN request_key TEXT;         -- unique for the owner; none once given up
CREATE UNIQUE INDEX files_by_request ON files (owner, request_key) WHERE request_key IS NOT NULL;

-- Of messages with a client_msg_id that were edited: the digest of what they were sent as.
ALTER TABLE messages ADD COLUMN sent BLOB;
