-- Version 6: versions of what changes.

ALTER TABLE messages ADD COLUMN rev INTEGER NOT NULL DEFAULT 1;         -- the number of its last change
ALTER TABLE conversations ADD COLUMN rev INTEGER NOT NULL DEFAULT 1;    -- of title and members
ALTER TABLE conversations ADD COLUMN change_seq INTEGER NOT NULL DEFAULT 1; -- the highest rev of its messages

-- What was changed lately. Most messages are not in it.
CREATE INDEX messages_by_rev ON messages (conversation, rev) WHERE rev > 1;
